"""A recording that is planned whole before it is begun: noises through the loop, past the taps, into a writer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from denoscope import interrupt, memory, provenance
from denoscope.compiled import Compilation, Compiled
from denoscope.config import InferenceConfig
from denoscope.denoiser import Denoiser
from denoscope.errors import UserError
from denoscope.layers import Layer
from denoscope.noise import NoiseSet
from denoscope.outbox import Outbox
from denoscope.sampling import Loop, Step, noise_level, steps_of
from denoscope.selection import Selection
from denoscope.storage.plan import IMAGE_DIMS, IMAGES, ArrayPlan, Plan, Unit, Writer
from denoscope.storage.pt_folder import PtWriter
from denoscope.storage.space import readable
from denoscope.storage.target import Existing, inside
from denoscope.storage.zarr_store import ZarrWriter
from denoscope.taps import tapped


class Progress(Protocol):
    """Somebody who is told how a recording goes."""

    def begin(self, plan: Plan, out: Path, finished: int) -> None: ...
    def compiled(self, compilation: Compilation, calls: int) -> None: ...
    def advance(self, samples: int) -> None: ...
    def unit_done(self, samples: int, seconds: float) -> None: ...
    def end(self, nonfinite: Mapping[str, int]) -> None: ...


@dataclass(frozen=True)
class Job:
    """A recording that is planned and can be run."""

    denoiser: Denoiser
    x: NoiseSet
    out: Path
    options: InferenceConfig
    loop: Loop
    plan: Plan
    selection: Selection

    @classmethod
    def prepared(
        cls, denoiser: Denoiser, x: NoiseSet, out: Path, options: InferenceConfig, noise_seed: int
    ) -> Job:
        """Plan everything; nothing is written yet."""
        if tuple(x.shape) != tuple(denoiser.shape):
            raise UserError(
                f"the noises have shape {list(x.shape)}; {denoiser.name} takes {list(denoiser.shape)}"
            )
        if options.resume and options.overwrite:
            raise UserError("resume and overwrite contradict each other; take one of them")
        loop = Loop(
            steps=options.num_steps,
            noise=options.noise,
            noise_seed=noise_seed,
            lanes=options.lanes,
            sampler_dtype=options.sampler_dtype,
            tf32=options.tf32,
        )
        selection = Selection(
            channels=options.channels,
            height=options.height,
            width=options.width,
            reduce=options.reduce,
            flatten=options.flatten,
            seed=noise_seed,
        )
        tapped_layers = denoiser.chosen_layers(options.layers) if options.extract_states else []
        plan = _plan(denoiser, x, tapped_layers, options, loop, selection, out)
        place = out
        if options.output_format == "zarr" and out.suffix != ".zarr":
            place = out / "recording.zarr"
            inside(out, [place])
        return cls(denoiser, x, place, options, loop, plan, selection)

    def run(self, progress: Progress | None = None) -> None:
        """Do what is not finished yet."""
        self._check_memory()
        with self._writer() as writer:
            finished = writer.finished
            pending = [group for group in self.plan.groups if group not in finished]
            nonfinite = {
                name: max(0, states[0] - 1)
                for mark in finished.values()
                for name, states in mark.nonfinite.items()
            }
            if progress:
                progress.begin(self.plan, self.out, sum(len(mark.samples) for mark in finished.values()))
            try:
                self._run(writer, pending, nonfinite, progress)
            finally:
                if progress:
                    progress.end(nonfinite)

    def run_into(self, writer: Writer) -> None:
        """Do all of it, for another writer than the plan's own."""
        self._run(writer, list(self.plan.groups), {}, None)

    def _check_memory(self) -> None:
        """Refuse more samples in flight than memory holds."""
        flight = min(len(self.plan.samples), self.plan.in_flight)
        needed, free = flight * self.plan.step_bytes, memory.free_bytes(self.denoiser.device)
        if needed > free:
            raise UserError(
                f"one step of the {flight} samples in flight takes {readable(needed)} of memory and "
                f"{readable(free)} are free; take a smaller --batch_size, fewer layers or less of each"
            )

    def _writer(self) -> AbstractContextManager[Writer]:
        existing: Existing = (
            "resume" if self.options.resume else "overwrite" if self.options.overwrite else "refuse"
        )
        if self.plan.format == "zarr":
            return ZarrWriter.opened(self.out, self.plan, existing)
        return PtWriter.opened(self.out, self.plan, existing)

    def _run(
        self, writer: Writer, pending: list[int], nonfinite: dict[str, int], progress: Progress | None
    ) -> None:
        """Denoise flight by flight; an interrupt waits for the flight that is on its way."""
        at_once = -(-self.options.batch_size // self.options.lanes)
        layers = [array.name for array in self.plan.arrays if array.name not in IMAGES]
        with (
            torch.inference_mode(),
            tapped(self.denoiser.network, layers, fast=self.options.fast) as network,
            interrupt.deferred() as stop,
        ):
            for first in range(0, len(pending), at_once):
                groups = pending[first : first + at_once]
                samples = [index for group in groups for index in self.plan.samples_of(group)]
                names = [self.plan.samples[index] for index in samples]
                began = time.perf_counter()
                with writer.unit(groups) as unit, Outbox(self.denoiser.device) as outbox:
                    for step in steps_of(self.denoiser, network, self.x.batch(samples), self.loop, names):
                        self._note(step, names, unit, outbox, nonfinite)
                        if progress:
                            progress.advance(len(samples))
                if progress and first == 0 and isinstance(network, Compiled) and network.compilation:
                    progress.compiled(network.compilation, len(pending) * self.plan.steps)
                if progress:
                    progress.unit_done(len(samples), time.perf_counter() - began)
                if stop.made and first + at_once < len(pending):
                    done = len(self.plan.samples) - sum(
                        len(self.plan.samples_of(group)) for group in pending[first + at_once :]
                    )
                    raise KeyboardInterrupt(
                        f"stopped with {done} of {len(self.plan.samples)} samples finished in {self.out}; "
                        "go on with --resume"
                    )

    def _note(
        self, step: Step, names: Sequence[str], unit: Unit, outbox: Outbox, nonfinite: dict[str, int]
    ) -> None:
        """Hand one step's results to the writer, and which samples they leave finite."""
        entries = self._entries(step)
        for name, rows in entries:
            outbox.send(rows, partial(unit.append, name))

        def flag(finite: torch.Tensor) -> None:
            unit.flag(~finite.numpy())
            self._report(
                step.index, [name for name, fine in zip(names, finite, strict=True) if not fine], nonfinite
            )

        if step.index == 0:
            outbox.send(_finite([step.x_before]), flag)
        outbox.send(_finite([step.x_after, *(rows for name, rows in entries if name not in IMAGES)]), flag)

    def _entries(self, step: Step) -> list[tuple[str, torch.Tensor]]:
        """What is stored of one step, cast where it was computed: half the bytes are half the way."""
        found = []
        if self.options.extract_states:
            if step.index == 0:
                found.append(("sequence", step.x_before))
            if step.index in kept_steps(self.options, self.plan.steps):
                found += [(name, self.selection.apply(state)) for name, state in step.states.items()]
            found.append(("sequence", step.x_after))
        elif step.index + 1 == self.plan.steps:
            found.append(("final", step.x_after))
        return [(name, rows.to(self._dtypes[name])) for name, rows in found]

    @cached_property
    def _dtypes(self) -> dict[str, torch.dtype]:
        return {array.name: getattr(torch, str(array.dtype)) for array in self.plan.arrays}

    def _report(self, index: int, wrong: Sequence[str], nonfinite: dict[str, int]) -> None:
        """Remember which samples are no longer finite after step `index`, or stop there."""
        for name in wrong:
            nonfinite.setdefault(name, index)
            if self.options.on_nonfinite == "stop":
                raise UserError(
                    f"{name} became NaN or Inf in step {index}; stopped, as on_nonfinite says. "
                    "Finished samples are safe"
                )


def _finite(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Which rows hold neither NaN nor Inf in any of the parts, [n] bool."""
    # Zero times a finite number is zero and cannot overflow: a quarter of the time of isfinite and all.
    return torch.stack([(part * 0).reshape(len(part), -1).sum(1) == 0 for part in parts]).all(0)


def kept_steps(options: InferenceConfig, count: int) -> range | tuple[int, ...]:
    """The steps whose states are stored."""
    if len(options.every) == 1:
        return range(0, count, options.every[0])
    if max(options.every) >= count:
        raise UserError(f"every names step {max(options.every)}; allowed: 0 to {count - 1}")
    return tuple(sorted(options.every))


def _plan(
    denoiser: Denoiser,
    x: NoiseSet,
    tapped_layers: Sequence[Layer],
    options: InferenceConfig,
    loop: Loop,
    selection: Selection,
    out: Path,
) -> Plan:
    scheduler = denoiser.new_scheduler(options.num_steps, dtype=loop.state_dtype(denoiser))
    timesteps = scheduler.timesteps.cpu().numpy()
    count, image_dtype = len(timesteps), _stored_dtype(loop.state_dtype(denoiser))
    kept = list(kept_steps(options, count))
    if options.extract_states:
        state_dtype = (
            _stored_dtype(denoiser.dtype) if options.state_dtype == "auto" else np.dtype(options.state_dtype)
        )
        arrays = [ArrayPlan("sequence", denoiser.shape, IMAGE_DIMS, image_dtype, "state", count + 1)]
        arrays += [_layer_plan(layer, selection, state_dtype, len(kept)) for layer in tapped_layers]
    else:
        arrays = [ArrayPlan("final", denoiser.shape, IMAGE_DIMS, image_dtype)]
    samples = sample_names(x.names)
    sigmas = np.array([noise_level(scheduler, index) for index in range(count)])
    coords = {
        "sample": ("sample", np.array(samples)),
        "state": ("state", np.arange(count + 1)),
        "step": ("step", np.array(kept)),
        "timestep": ("step", timesteps[kept]),
        "sigma": ("step", sigmas[kept]),
        **{name: ("sample", values) for name, values in x.coords.items()},
    }
    addresses = [layer.address for layer in tapped_layers]
    folders = {} if options.layers else dict(zip(addresses, ("layer1", "last_layer"), strict=False))
    attrs = provenance.attributes(denoiser, x, addresses, options, loop.noise_seed)
    plan = Plan(
        samples=samples,
        steps=count,
        lanes=options.lanes,
        arrays=tuple(arrays),
        coords=coords,
        attrs=attrs | {"layer_folders": folders},
        format=_format(out, options),
        codec=options.codec,
        in_flight=-(-options.batch_size // options.lanes) * options.lanes,
        layer_folders=folders,
    )
    plan.check_names()
    return plan


def _format(out: Path, options: InferenceConfig) -> Literal["zarr", "pt"]:
    if options.output_format == "auto":
        return "zarr" if out.suffix == ".zarr" else "pt"
    return options.output_format


def _layer_plan(layer: Layer, selection: Selection, dtype: np.dtype[Any], count: int) -> ArrayPlan:
    assert layer.shape is not None
    try:
        shape, dims = selection.shape(layer.shape), selection.dims(layer.shape)
    except UserError as error:
        raise UserError(f"layer {layer.address!r}: {error}") from error
    return ArrayPlan(layer.address, shape, dims, dtype, "step", count)


def _stored_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype({torch.float64: "float64", torch.float16: "float16"}.get(dtype, "float32"))


def sample_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the samples: noise_0007 becomes sample_0007, every other input keeps its name."""
    samples = tuple(f"sample_{name[6:]}" if name.startswith("noise_") else name for name in names)
    if len(set(samples)) < len(samples):
        double = next(name for name in samples if samples.count(name) > 1)
        raise UserError(f"two inputs would both be named {double!r}; rename one of them")
    return samples
