"""A million samples on 64 GPUs, simulated: how long, how many bytes, files and requests, and which limit is met first.

    python -m benchmarks.simulation
    python -m benchmarks.simulation --only latents --workers 256 --store_mb 20000

prints the figures that go in and what follows from them. Nothing is computed by a network: units wait, as events in a
queue. Sizes follow from the layout of a store, and are compared with a real recording in the tests.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from denoscope.cluster.hand_out import AHEAD
from denoscope.storage.stores.object_store import ObjectStore
from denoscope.storage.zarr.layout import SHARD_BYTES

NUMBER_BYTES = 12
"""Bytes of a checksum in a mark, with its comma."""
NAME_BYTES = len('"sample_0000000", ')
PAGE = 1000
"""Keys in one answer of a bucket's listing."""


@dataclass(frozen=True)
class Array:
    """What one array stores of a sample: `count` entries."""

    name: str
    count: int
    entry_bytes: int

    def entries_in_shard(self, lanes: int) -> int:
        return max(1, min(self.count, SHARD_BYTES // (lanes * self.entry_bytes)))

    def shards(self, lanes: int) -> int:
        return math.ceil(self.count / self.entries_in_shard(lanes))


@dataclass(frozen=True)
class Case:
    """A recording. `calls` are those of the network in a step, of `lanes` rows or, with guidance, twice as many."""

    about: str
    steps: int
    arrays: tuple[Array, ...]
    call_ms: float
    """The time of one call of the network, with what recording adds to it."""
    lanes: int = 8
    groups_at_once: int = 1
    calls: int = 1

    @property
    def unit_samples(self) -> int:
        return self.lanes * self.groups_at_once

    @property
    def unit_seconds(self) -> float:
        """The seconds of the network in one unit."""
        return self.groups_at_once * self.steps * self.calls * self.call_ms / 1000

    @property
    def sample_bytes(self) -> int:
        return sum(array.count * array.entry_bytes for array in self.arrays)

    @property
    def group_shards(self) -> int:
        return sum(array.shards(self.lanes) for array in self.arrays)

    @property
    def group_objects(self) -> int:
        """The shards, two chunks of flags and the mark: as many files on a disk, and as many requests to a bucket."""
        return self.group_shards + 3

    @property
    def group_positions(self) -> int:
        """The places for chunks in the shards, some of which are empty at the end of an array."""
        lanes = self.lanes
        return sum(array.shards(lanes) * array.entries_in_shard(lanes) * lanes for array in self.arrays)

    @property
    def group_bytes(self) -> int:
        """The bytes of the shards and of the flags of a full group; each shard has an index."""
        flags = self.lanes + self.lanes * (self.steps + 1)
        return self.lanes * self.sample_bytes + 16 * self.group_positions + 4 * self.group_shards + flags

    @property
    def mark_bytes(self) -> int:
        """About the bytes of a mark: a checksum for each entry of each sample, and null for each empty place."""
        entries = self.lanes * sum(array.count for array in self.arrays)
        keys = sum(array.shards(self.lanes) * (len(array.name) + 20) for array in self.arrays)
        empty = len("null, ") * (self.group_positions - entries)
        return NUMBER_BYTES * entries + empty + keys + NAME_BYTES * self.lanes + 90


CASES = {
    "mnist": Case(
        "mnist with three layers",
        50,
        (
            Array("sequence", 51, 28 * 28 * 4),
            Array("conv_in", 50, 32 * 28 * 28 * 4),
            Array("mid_block", 50, 96 * 7 * 7 * 4),
            Array("conv_out", 50, 28 * 28 * 4),
        ),
        call_ms=33,  # measured with recording on two cores, benchmarks/README.md; assumed for a GPU
    ),
    "latents": Case(
        "latents of 4 × 64 × 64, guided, five layers in float16",
        50,
        (
            Array("sequence", 51, 4 * 64 * 64 * 4),
            *(
                Array(name, 50, 2 * size * 2)  # two branches, two bytes
                for name, size in (
                    ("conv_in", 320 * 64 * 64),
                    ("down_blocks.1", 640 * 16 * 16),
                    ("mid_block", 1280 * 8 * 8),
                    ("up_blocks.1", 1280 * 32 * 32),
                    ("conv_out", 4 * 64 * 64),
                )
            ),
        ),
        call_ms=120,  # assumed
    ),
    "sequences": Case(
        "the same latents: the sequence, and one number a step",
        50,
        (Array("sequence", 51, 4 * 64 * 64 * 4), Array("conv_out", 50, 4)),
        call_ms=110,  # assumed
    ),
}


@dataclass(frozen=True)
class Options:
    """The figures that go in."""

    only: str = ""
    """One of the examples: mnist, latents or sequences."""
    samples: int = 1_000_000
    workers: int = 64
    unit_ms: float = 5.0
    """The time of the process that hands out units, for each unit."""
    store_mb: float = 5000.0
    """What the shared file system or the bucket takes in a second, in MB, from all workers together."""
    worker_mb: float = 200.0
    """What one worker can send in a second, in MB."""
    requests: float = 3500.0
    """Requests that the store takes in a second: those of S3 for one prefix."""
    request_ms: float = 30.0
    """How long one request takes beside its bytes."""
    deaths: float = 0.02
    """Deaths of a worker in an hour."""
    back: float = 120.0
    """Seconds until another worker has taken the place of a dead one, and has loaded the model."""
    jitter: float = 0.05
    """The spread of the time of units, as a share."""
    seed: int = 0


@dataclass
class Outcome:
    """What a simulation found; seconds that the handing-out process and the store were busy."""

    seconds: float = 0.0
    handing: float = 0.0
    storing: float = 0.0
    deaths: int = 0
    done: int = 0


class Simulation:
    """Units on their way through one process that hands them out, workers, and one store that all share."""

    def __init__(self, case: Case, options: Options):
        self.options, self.found = options, Outcome()
        self.units = math.ceil(options.samples / case.unit_samples)
        self.compute = case.unit_seconds
        size, requests = case.groups_at_once * case.group_bytes, case.groups_at_once * case.group_objects
        self.own_write = size / (1e6 * options.worker_mb) + requests * options.request_ms / 1000
        self.shared_write = max(size / (1e6 * options.store_mb), requests / options.requests)
        self._random = np.random.default_rng(options.seed)
        self._pending = self.units
        self._waiting = [0] * options.workers
        self._is_up, self._is_busy = [True] * options.workers, [False] * options.workers
        self._idle: set[int] = set()
        self._events: list[tuple[float, int, str, int]] = []
        self._number = 0
        self._handing_free = self._store_free = 0.0

    def run(self) -> Outcome:
        for worker in range(self.options.workers):
            self._back(0.0, worker)
        while self.found.done < self.units:
            now, _, what, worker = heapq.heappop(self._events)
            getattr(self, f"_{what}")(now, worker)
            while self._pending and self._idle:
                self._hand(now, self._idle.pop())
        self.found.seconds = now
        return self.found

    def _later(self, when: float, what: str, worker: int) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, what, worker))

    def _hand(self, now: float, worker: int) -> None:
        """The handing-out process deals with one unit after the other."""
        if not self._pending:
            return
        self._pending -= 1
        seconds = self.options.unit_ms / 1000
        self.found.handing += seconds
        self._handing_free = max(now, self._handing_free) + seconds
        self._later(self._handing_free, "given", worker)

    def _given(self, now: float, worker: int) -> None:
        if not self._is_up[worker]:
            self._pending += 1
            return
        self._idle.discard(worker)
        self._waiting[worker] += 1
        if not self._is_busy[worker]:
            self._start(now, worker)

    def _start(self, now: float, worker: int) -> None:
        self._waiting[worker] -= 1
        self._is_busy[worker] = True
        seconds = self.compute * max(0.1, 1 + self.options.jitter * self._random.standard_normal())
        rate = self.options.deaths / 3600
        dies = self._random.exponential(1 / rate) if rate else math.inf
        self._later(now + min(seconds, dies), "died" if dies < seconds else "computed", worker)

    def _computed(self, now: float, worker: int) -> None:
        self.found.storing += self.shared_write
        self._store_free = max(now, self._store_free) + self.shared_write
        self._later(max(self._store_free, now + self.own_write), "ended", worker)

    def _ended(self, now: float, worker: int) -> None:
        self.found.done += 1
        self._is_busy[worker] = False
        self._hand(now, worker)
        if self._waiting[worker]:
            self._start(now, worker)
        elif not self._pending:
            self._idle.add(worker)

    def _died(self, now: float, worker: int) -> None:
        self.found.deaths += 1
        self._pending += 1 + self._waiting[worker]
        self._waiting[worker] = 0
        self._is_up[worker] = self._is_busy[worker] = False
        self._later(now + self.options.back, "back", worker)

    def _back(self, now: float, worker: int) -> None:
        self._is_up[worker] = True
        for _ in range(AHEAD):
            self._hand(now, worker)
        if not self._pending:
            self._idle.add(worker)


def shares(case: Case, options: Options) -> dict[str, float]:
    """The share of each limit that one busy worker takes."""
    simulation = Simulation(case, options)
    seconds, groups = simulation.compute + simulation.own_write, case.groups_at_once
    return {
        "the process that hands out": options.unit_ms / 1000 / seconds,
        "the store's MB/s": groups * case.group_bytes / (1e6 * options.store_mb) / seconds,
        "the store's requests/s": groups * case.group_objects / options.requests / seconds,
    }


def report(case: Case, options: Options) -> Iterator[str]:
    """What a recording takes, one line for each figure."""
    simulation = Simulation(case, options)
    found, groups = simulation.run(), math.ceil(options.samples / case.lanes)
    data, marks = groups * case.group_bytes, groups * case.mark_bytes
    unit = f"{simulation.compute:.2f} s of the network and {simulation.own_write:.2f} s of writing"
    rate = found.done / found.seconds
    per_second = rate * case.groups_at_once
    limits = sorted(shares(case, options).items(), key=lambda item: -item[1])
    deaths = found.deaths
    yield f"{options.samples:,} samples of {case.about}, {case.steps} steps, {options.workers} workers"
    yield f"  network            {case.call_ms:g} ms a call of {case.lanes} samples; a unit of {case.unit_samples}: {unit}"
    yield f"  data               {data / 1e12:.3g} TB, {case.sample_bytes / 1e6:.3g} MB a sample"
    yield f"  files or objects   {groups * case.group_objects:,}, {case.group_objects} for each {case.lanes} samples"
    yield f"  marks              {groups:,} of {case.mark_bytes / 1e3:.3g} kB, {marks / 1e9:.3g} GB"
    yield f"  time               {found.seconds / 3600:.1f} h; {deaths} workers die, each of which loses up to {AHEAD} units"
    yield f"  handing out        {rate:.1f} units/s, {found.handing / found.seconds:.1%} of one process"
    yield f"  the store takes    {per_second * case.group_bytes / 1e6:,.0f} MB/s in {per_second * case.group_objects:,.0f} requests/s, {found.storing / found.seconds:.0%} of what it can"
    yield f"  to open it         {_opening(groups, options):,.0f} s: {groups:,} marks are read, {ObjectStore.at_once} at once"
    yield f"  --resume reads all {data / (1e6 * options.worker_mb) / 3600:,.0f} h by one process of {options.worker_mb:g} MB/s"
    (first, share), *others = limits
    further = "".join(f"; {name} at {1 / other:,.0f}" for name, other in others)
    yield f"  first limit        {first}, at {1 / share:,.0f} workers{further}"


def _opening(groups: int, options: Options) -> float:
    """The seconds of listing and reading all marks in a bucket."""
    return (groups / PAGE + groups / ObjectStore.at_once) * options.request_ms / 1000


def main(options: Options) -> None:
    chosen = {options.only: CASES[options.only]} if options.only else CASES
    figures = {
        name: value for name, value in vars(options).items() if name not in ("only", "samples", "workers")
    }
    print("figures: " + ", ".join(f"{name} {value:g}" for name, value in figures.items()), end="\n\n")
    for case in chosen.values():
        print("\n".join(report(case, options)), end="\n\n", flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
