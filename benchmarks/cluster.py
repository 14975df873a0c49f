"""What sharing a recording between workers costs: their speed together, the time around each unit, and a million units.

    python -m benchmarks.cluster

needs two free cores, and takes about a quarter of an hour. It prints one line for each bar. Starting workers, loading
models and preparing runs are excluded; each worker computes with one thread.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import denoscope as ds
from benchmarks import measure
from benchmarks.bar import Bar
from benchmarks.ways import LAYERS
from denoscope.cli.from_settings import IMPORTED
from denoscope.cluster.connection import connected
from denoscope.cluster.crew import crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.unit import Unit
from denoscope.foundation.threads import threads_set_to
from denoscope.recording.progress import NoProgress

if TYPE_CHECKING:
    from distributed import Client

    from denoscope.cluster.worker import Beat
    from denoscope.storage.places import Place
    from denoscope.storage.plan import Plan

EFFICIENCY = 0.9
"""The least efficiency of two workers: the time of one ÷ twice the time of two."""
AROUND_MS = 5.0
"""The most milliseconds of a worker around each unit."""
MEMORY_GB = 1.0
"""The most memory of the process that plans and hands out a million units."""
WARM_UP = 30
"""Units before those that are timed, in which workers import what they need."""
CALLS = {"digits": 1000, "mnist": 300}
"""How often the network alone is called."""


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    digits: int = 768
    """Samples of `digits` over 50 steps; 0 leaves this model out."""
    mnist: int = 96
    """Samples of `mnist` over 50 steps with three layers; 0 leaves this model out."""
    units: int = 1000
    """Units around which the time is measured; 0 leaves it out."""
    planned: int = 1_000_000
    """Units of which the memory is measured; 0 leaves it out."""
    steps: int = 50
    repeats: int = 3


class Stopwatch(NoProgress):
    """The seconds from the first unit to the last, and those inside of the units."""

    def __init__(self) -> None:
        self.began = self.seconds = self.inside = 0.0

    def begin(self, plan: Plan, out: Place | None, finished: int) -> None:  # noqa: ARG002
        self.began = time.perf_counter()

    def unit_done(self, samples: int, seconds: float) -> None:  # noqa: ARG002
        self.inside += seconds

    def end(self, nonfinite: Mapping[str, int]) -> None:  # noqa: ARG002
        self.seconds = time.perf_counter() - self.began


@dataclass(frozen=True)
class Workers:
    """Clusters of one worker and of two, and a folder for what they write."""

    one: Client
    two: Client
    folder: Path

    @classmethod
    def started(cls, stack: ExitStack) -> Workers:
        """Start them; they end with the stack."""
        one, two = (
            stack.enter_context(connected(source, preload=IMPORTED)) for source in ("local:1", "local:2")
        )
        two.wait_for_workers(2)
        return cls(one, two, Path(stack.enter_context(tempfile.TemporaryDirectory())))

    def record(self, client: Client, model: str, samples: int, **options: Any) -> Stopwatch:
        """Record by the workers of a client, and remove the recording."""
        denoiser, watch = ds.load(model, device="cpu"), Stopwatch()
        x, out = ds.noise.random(samples, denoiser.shape, seed=0), self.folder / "run.zarr"
        ds.record(denoiser, x, out, cluster=client, progress=watch, **options)
        shutil.rmtree(out)
        return watch


def bars(options: Options) -> Iterator[Bar]:
    with ExitStack() as stack:
        stack.enter_context(threads_set_to(1))
        workers = Workers.started(stack)
        yield from efficiency_bars(workers, options)
        if options.units:
            yield from unit_bars(workers, options)
    if options.planned:
        yield from memory_bars(options.planned)


def efficiency_bars(workers: Workers, options: Options) -> Iterator[Bar]:
    """Twice the time of two workers ÷ the time of one, for each model; in turns."""
    for model, samples, layers in (
        ("digits", options.digits, ("conv_in", "conv_out")),
        ("mnist", options.mnist, LAYERS),
    ):
        if not samples:
            continue
        rounds, calls = [], []
        for number in range(options.repeats):
            seconds = [
                workers.record(client, model, samples, steps=options.steps, layers=layers).seconds
                for client in (workers.one, workers.two)
            ]
            print(
                f"{model}, round {number + 1}: {seconds[0]:.2f} s and {seconds[1]:.2f} s, efficiency "
                f"{seconds[0] / (2 * seconds[1]):.3f}",
                file=sys.stderr,
            )
            rounds.append(seconds)
            calls.append([network_seconds(client, model) for client in (workers.one, workers.two)])
        one, two = (median(column) for column in zip(*rounds, strict=True))
        name = (
            f"{model}: 2 × {two:.1f} s of two workers ÷ {one:.1f} s of one (efficiency {one / (2 * two):.3f})"
        )
        yield Bar(name, 2 * two / one, 1 / EFFICIENCY)
        one, two = (median(column) for column in zip(*calls, strict=True))
        name = f"  its network alone, as often in two workers as in one: {two:.1f} s ÷ {one:.1f} s"
        yield Bar(name, two / one, float("inf"))


def network_seconds(client: Client, model: str) -> float:
    """The seconds in which each worker of a client calls a network so often that one of them takes a while."""
    tasks = [
        client.submit(call_network, model, workers=[address], pure=False)
        for address in client.scheduler_info()["workers"]
    ]
    return max(client.gather(tasks))


def call_network(model: str) -> float:
    """The seconds of some calls of a network with eight rows, in a worker, by one thread."""
    import torch

    denoiser = ds.load(model, device="cpu")
    x, timestep = torch.zeros(8, *denoiser.shape), torch.tensor(500)
    with torch.inference_mode(), threads_set_to(1):
        denoiser.network(x, timestep)
        began = time.perf_counter()
        for _ in range(CALLS[model]):
            denoiser.network(x, timestep)
    return time.perf_counter() - began


def unit_bars(workers: Workers, options: Options) -> Iterator[Bar]:
    """The time of workers around units that do nothing, and around the smallest recordings."""
    tiny = {"steps": 1, "extract_states": False, "lanes": 1, "batch_size": 1}
    for client in (workers.one, workers.two):
        nothing(client, WARM_UP)
    workers.record(workers.two, "digits", WARM_UP, **tiny)
    alone, together, recorded, plain = [], [], [], []
    for _ in range(options.repeats):
        plain.append(plain_tasks(workers.one, options.units))
        alone.append(nothing(workers.one, options.units))
        together.append(nothing(workers.two, options.units))
        recorded.append(workers.record(workers.two, "digits", options.units, **tiny))
    per_unit = 1000 / options.units
    handing, inside = median(together) * per_unit, median(watch.inside for watch in recorded) * per_unit
    around = median(2 * watch.seconds - watch.inside for watch in recorded) * per_unit
    yield Bar("around a unit that does nothing, by one worker, ms", median(alone) * per_unit, AROUND_MS)
    yield Bar("  the same with nothing but Dask's submit, ms", median(plain) * per_unit, float("inf"))
    yield Bar(f"the same by two workers, every {handing:.2f} ms one, ms", 2 * handing, AROUND_MS)
    yield Bar(f"around a recording of {inside:.1f} ms by two workers, ms", around, AROUND_MS)


@dataclass(frozen=True)
class Nothing:
    """A run whose units do nothing."""

    def prepare(self) -> Nothing:
        return self

    @property
    def description(self) -> Mapping[str, Any]:
        return {"kind": "nothing"}

    def do(self, content: Any, beat: Beat) -> None: ...


def nothing(client: Client, count: int) -> float:
    """The seconds of handing out units that do nothing."""
    units = (Unit(f"unit {number}", number) for number in range(count))
    with crew(client, Nothing()) as workers:
        accepted = list(workers.descriptions().values())
        began = time.perf_counter()
        done = sum(1 for _ in HandOut(workers, units, accepted, kept="").outcomes())
        assert done == count
        return time.perf_counter() - began


def plain_tasks(client: Client, count: int) -> float:
    """The seconds of tasks of Dask that do nothing, two of them at a time in the worker, as many as units are handed out."""
    from distributed import as_completed

    began, numbers = time.perf_counter(), iter(range(count))
    ahead = [client.submit(int, number, pure=False) for number in itertools.islice(numbers, 2)]
    done = as_completed(ahead, loop=client.loop)
    for _ in done:
        for number in itertools.islice(numbers, 1):
            done.add(client.submit(int, number, pure=False))
    return time.perf_counter() - began


def memory_bars(units: int) -> Iterator[Bar]:
    """The memory of a process that plans units and hands out some of them, and of its worker."""
    found = json.loads(measure.run([sys.executable, "-m", "benchmarks.planned", str(units)]).splitlines()[-1])
    label = f"{found['planned']:,} planned units, {found['done']} of them done"
    yield Bar(f"{label}: peak memory of their process, GB", found["peak"] / 1e9, MEMORY_GB)
    yield Bar("  peak memory of a worker, GB", found["worker_peak"] / 1e9, float("inf"))
    yield Bar("  seconds until the first unit", found["seconds"], float("inf"))


def main(options: Options) -> None:
    print(f"{'bar':<66}{'found':>10}{'allowed':>10}")
    for bar in bars(options):
        print(bar, flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
