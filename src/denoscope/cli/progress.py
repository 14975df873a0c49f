"""The progress of a command: a bar on a terminal, otherwise one line a minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from tqdm import tqdm

from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.hooks.compiled import Compilation
from denoscope.storage.formats import FORMATS, store_of
from denoscope.storage.places import Place
from denoscope.storage.plan import Plan
from denoscope.storage.space import free_bytes

LOGGER = logging.getLogger(__name__)
LINE_SECONDS = 60.0
"""Seconds between two lines of progress where there is no terminal."""
OF_AT_MOST = "{desc}: {n_fmt}{unit}s of at most MOST [{elapsed}<{remaining} at most, {rate_fmt}]"
"""The form of progress of which a bound is known, but not the total: without a bar and a share, which it would never fill."""


class Meter(Protocol):
    """Counts finished pieces of work and shows how many there are."""

    n: int
    total: float | None
    bar_format: str | None

    def update(self, n: int) -> object: ...
    def close(self) -> object: ...


def meter(what: str, total: int | None, unit: str, *, most: int | None = None, finished: int = 0) -> Meter:
    """A bar on a terminal, lines elsewhere; nothing is shown if messages of level INFO are not.

    Args:
        most: a bound of an unknown total, from which the longest remaining time follows.
        finished: the pieces that are finished when the clock starts; they do not count for the pace.
    """
    unit = f" {unit}"  # tqdm writes it directly behind a number
    form = None
    if total is None and most is not None:
        total, form = most, OF_AT_MOST.replace("MOST", f"{most:,d}")
    if sys.stderr.isatty():
        hidden = not LOGGER.isEnabledFor(logging.INFO)
        return tqdm(
            desc=what,
            total=total,
            initial=finished,
            unit=unit,
            dynamic_ncols=True,
            smoothing=0.1,
            disable=hidden,
            bar_format=form,
        )
    return Lines(what, total, unit, finished, form)


class Lines:
    """Progress as messages, at most one a minute."""

    def __init__(self, what: str, total: int | None, unit: str, finished: int, bar_format: str | None):
        self.what, self.unit, self.bar_format, self.n = what, unit, bar_format, finished
        self.total: float | None = total
        self._initial = finished
        self._begun = self._shown = time.monotonic()

    def update(self, n: int) -> None:
        """Count finished pieces."""
        self.n += n
        now = time.monotonic()
        if now - self._shown >= LINE_SECONDS:
            self._shown = now
            elapsed = now - self._begun
            LOGGER.info(
                tqdm.format_meter(
                    self.n,
                    self.total,
                    elapsed,
                    initial=self._initial,
                    ncols=None if self.bar_format else 0,
                    prefix=self.what,
                    unit=self.unit,
                    bar_format=self.bar_format,
                )
            )

    def close(self) -> None:
        """Nothing has to be closed."""


class Counter:
    """Progress of a measure, which reports (finished, total), until the block ends.

    >>> with Counter("patching") as counter:
    ...     patch(denoiser, a, b, checkpoint=Checkpoint(progress=counter))

    Args:
        most: the most pieces that there can be, which is shown while the measure does not know their number.
    """

    def __init__(self, what: str, *, unit: str = "cell", most: int | None = None):
        self.what, self.unit, self.most = what, unit, most
        self.meter: Meter | None = None

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, finished: int, total: int | None) -> None:
        if self.meter is None:
            # The clock starts now, whether the work was resumed or its first pieces have just been finished.
            self.meter = meter(self.what, total, self.unit, most=self.most, finished=finished)
        if total is not None:
            self.meter.total, self.meter.bar_format = total, None
        self.meter.update(finished - self.meter.n)

    def close(self) -> None:
        """End the bar where it stands: a measure may need fewer iterations than its maximum."""
        if self.meter is not None:
            self.meter.close()


class Console:
    """Progress of a recording: its plan, a meter over all denoising steps of all samples, and a summary.

    Args:
        memory: what its workers take, for the plan; see `describe`.
    """

    def __init__(self, memory: Sequence[str] = ()):
        self.memory = memory

    def begin(self, plan: Plan, out: Place | None, finished: int) -> None:
        self.samples, self.done, self.begun = len(plan.samples) - finished, 0, time.perf_counter()
        LOGGER.info(describe(plan, out, self.memory))
        if finished:
            LOGGER.info(f"  {finished} samples are already finished and match their checksums")
        self.meter = meter("denoising", self.samples * plan.steps, "step")

    def compiled(self, compilation: Compilation, calls: int) -> None:
        LOGGER.info(compilation.summary(calls))

    def skipped(self, layer: str, step: int) -> None:
        LOGGER.warning(
            f"layer {layer} was not called as planned in step {step}; its states of this step are NaN"
        )

    def advance(self, samples: int) -> None:
        self.meter.update(samples)

    def unit_done(self, samples: int, seconds: float) -> None:
        self.done += samples
        LOGGER.debug(
            f"{self.done}/{self.samples} samples: {samples} in {seconds:.2f} s ({samples / seconds:.2f} samples/s), "
            f"peak memory {peak_memory()}"
        )

    def end(self, nonfinite: Mapping[str, int]) -> None:
        self.meter.close()
        seconds = time.perf_counter() - self.begun
        LOGGER.info(f"{self.done} samples in {seconds:.2f} s, peak memory {peak_memory()}")
        if nonfinite:
            name, step = next(iter(nonfinite.items()))
            LOGGER.warning(
                f"{len(nonfinite)} samples became NaN or Inf, the first {name} in step {step}; the recording marks them"
            )


def peak_memory() -> str:
    """The most memory that this process has used so far, and the most on its CUDA device."""
    used = format_bytes(memory.peak_bytes())
    if not torch.cuda.is_available():
        return used
    return f"{used}, on the device {format_bytes(torch.cuda.max_memory_allocated())}"


def describe(plan: Plan, out: Place | None, memory: Sequence[str] = ()) -> str:
    """The arrays of a recording with their sizes, its interventions, and the memory and disk space it needs.

    Args:
        memory: lines about the memory of workers, where this process does not record itself.
    """
    lines = [f"{len(plan.samples)} samples, {plan.steps} steps → {out or 'memory'}"]
    folders = plan.attrs["layer_folders"] if plan.format == "pt" else {}
    for array in plan.arrays:
        size = format_bytes(array.count * array.entry_bytes * len(plan.samples))
        lines.append(
            f"  {array.name}: {list(array.shape)} {array.dtype} for each sample, {size} for all"
            + (f", in {folders[array.name]}/" if array.name in folders else "")
            + (f"; {array.note}" if array.note else "")
        )
    for item in plan.attrs["fingerprint"].get("interventions", ()):
        kind, layers = item.get("do", item.get("function")), ", ".join(item["at"])
        lines.append(
            f"  intervention: {kind} at {layers}{_number_changed(item.get('samples'), plan.samples)}"
        )
    concurrent = min(len(plan.samples), plan.in_flight)
    own = f"  at least {format_bytes(plan.held_bytes)} of memory beside the network: one step of {concurrent} samples"
    lines += memory or [own]
    if out is not None:
        store = store_of(out, plan.format)
        needed, free = FORMATS[plan.format].writer.kind.needed_bytes(store, plan, None), free_bytes(store)
        where = "at the URL" if free is None else "on disk"
        left = "" if free is None else f"; {format_bytes(free)} are free"
        lines.append(f"  {format_bytes(needed)} {where} in total{left}")
    return "\n".join(lines)


def _number_changed(chosen: Sequence[str] | None, samples: Sequence[str]) -> str:
    """How many samples an intervention changes; empty if it changes all of them."""
    if chosen is None:
        return ""
    changed = [name for name in chosen if name in samples]
    if not changed:
        return f", in no sample: none has the name {' or '.join(chosen)} (the first is {samples[0]})"
    return f", in {len(changed)} of {len(samples)} samples"
