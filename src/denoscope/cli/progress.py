"""How a recording goes, told on the terminal: a bar with rate and remaining time, and true figures."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes
from denoscope.hooks.compiled import Compilation
from denoscope.storage.formats import FORMATS, local_store
from denoscope.storage.plan import Plan
from denoscope.storage.space import free_bytes

IN_A_FILE = 10.0
"""Seconds between two states of a bar where they are kept rather than shown."""


def peak_memory() -> str:
    """The most memory this process has held so far, and the most its CUDA device has."""
    held = format_bytes(memory.peak_bytes())
    if not torch.cuda.is_available():
        return held
    return f"{held}, on the device {format_bytes(torch.cuda.max_memory_allocated())}"


def describe(plan: Plan, out: Path | None) -> str:
    """What a recording will do and take, before it starts."""
    lines = [f"{len(plan.samples)} samples, {plan.steps} steps → {out or 'memory'}"]
    for array in plan.arrays:
        size = format_bytes(array.count * array.entry_bytes * len(plan.samples))
        lines.append(
            f"  {array.name}: {list(array.shape)} {array.dtype} for each sample, {size} for all"
            + (f"; {array.note}" if array.note else "")
        )
    for item in plan.attrs["fingerprint"].get("interventions", ()):
        told = f"  written: {item.get('do', item.get('function'))} at {', '.join(item['at'])}"
        lines.append(told + _in_which(item.get("samples"), plan.samples))
    flight = min(len(plan.samples), plan.in_flight)
    lines.append(
        f"  at least {format_bytes(plan.held_bytes)} in memory beside the network: one step of {flight} samples in flight"
    )
    if out is not None:
        store = local_store(out, plan.format)
        room, free = FORMATS[plan.format].needed_bytes(store, plan, None), free_bytes(store)
        lines.append(f"  {format_bytes(room)} on disk in total; {format_bytes(free or 0)} are free")
    return "\n".join(lines)


def _in_which(named: Sequence[str] | None, samples: Sequence[str]) -> str:
    """In how many of the samples something is written, where it is for those named alone."""
    if named is None:
        return ""
    found = [name for name in named if name in samples]
    if not found:
        return f": nowhere, since no sample is named {' or '.join(named)} (the first is {samples[0]})"
    return f" in {len(found)} of {len(samples)} samples"


def _bar(what: str, total: int, unit: str, **options: float) -> tqdm:
    """A bar that moves on a terminal, and in a file, which keeps every state of it, says something now and then."""
    often = 0.1 if sys.stderr.isatty() else IN_A_FILE
    return tqdm(desc=what, total=total, unit=unit, dynamic_ncols=True, mininterval=often, **options)


class Console:
    """The plan, a bar over all denoising steps of all samples, and a line for each batch and the whole."""

    def begin(self, plan: Plan, out: Path | None, finished: int) -> None:
        self.samples, self.bytes = len(plan.samples) - finished, plan.total_bytes
        self.done, self.began, self.compiling = 0, time.perf_counter(), 0.0
        print(describe(plan, out), file=sys.stderr)
        if finished:
            print(f"  {finished} samples are finished already and match their checksums", file=sys.stderr)
        self.bar = _bar("denoising", self.samples * plan.steps, "step", smoothing=0.1)

    def compiled(self, compilation: Compilation, calls: int) -> None:
        self.compiling = compilation.seconds
        self.bar.write(compilation.summary(calls), sys.stderr)

    def skipped(self, layer: str, step: int) -> None:
        self.bar.write(
            f"warning: layer {layer} was not called as often as planned in step {step}; it is NaN there",
            sys.stderr,
        )

    def advance(self, samples: int) -> None:
        self.bar.update(samples)

    def unit_done(self, samples: int, seconds: float) -> None:
        first = self.done == 0
        self.done += samples
        left = (self.samples - self.done) * (seconds - self.compiling) / samples
        self.bar.write(
            f"{self.done}/{self.samples} samples: {samples} in {seconds:.2f} s ({samples / seconds:.2f} samples/s), "
            f"peak memory {peak_memory()}" + (f", about {left:.0f} s to go" if first and left else ""),
            sys.stderr,
        )

    def end(self, nonfinite: Mapping[str, int]) -> None:
        self.bar.close()
        seconds = time.perf_counter() - self.began
        print(
            f"{self.done} samples in {seconds:.2f} s, peak memory {peak_memory()}",
            file=sys.stderr,
        )
        if nonfinite:
            name, step = next(iter(nonfinite.items()))
            print(
                f"warning: {len(nonfinite)} samples became NaN or Inf, the first {name} in step {step}; they are "
                "marked in the recording",
                file=sys.stderr,
            )


class Counter:
    """A bar over pieces of work that are told as (finished, at most), until its block ends.

    >>> with Counter("patching") as counter:
    ...     patch(denoiser, a, b, checkpoint=Checkpoint(progress=counter))
    """

    def __init__(self, what: str, *, unit: str = "cell"):
        self.what, self.unit = what, unit
        self.bar: tqdm | None = None

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, finished: int, total: int) -> None:
        if self.bar is None:
            self.bar = _bar(self.what, total, self.unit)
        self.bar.update(finished - self.bar.n)

    def close(self) -> None:
        """Leave the bar where it is: work can be done before all there could be is."""
        if self.bar is not None:
            self.bar.close()
