"""A recording that is planned whole before it is begun: noises through the loop, past the taps, into a writer."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch

from denoscope.config import InferenceConfig
from denoscope.foundation import interrupt, memory, random_streams
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.hooks.compiled import Compilation, Compiled
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.hooks.taps import tapped
from denoscope.interventions.applied import Writes
from denoscope.interventions.spec import Intervention, read_plan
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.device_transfer import Outbox
from denoscope.recording.planning import condition_of, kept_steps, place_of, plan_of, selection_of
from denoscope.sampling.loop import Loop, Step, steps_of
from denoscope.storage.formats import FORMATS, attributes, local_store
from denoscope.storage.output_lock import Existing, writing
from denoscope.storage.plan import ESTIMATES, Plan, Unit, Writer
from denoscope.storage.stores.local import LocalStore


class RecordingProgress(Protocol):
    """Somebody who is told how a recording goes."""

    def begin(self, plan: Plan, out: Path, finished: int) -> None: ...
    def compiled(self, compilation: Compilation, calls: int) -> None: ...
    def skipped(self, layer: str, step: int) -> None: ...
    def advance(self, samples: int) -> None: ...
    def unit_done(self, samples: int, seconds: float) -> None: ...
    def end(self, nonfinite: Mapping[str, int]) -> None: ...


@dataclass(frozen=True)
class Job:
    """A recording that is planned and can be run."""

    denoiser: Denoiser
    x: NoiseSet
    condition: Condition
    out: Path
    options: InferenceConfig
    loop: Loop
    plan: Plan
    layers: Sequence[Layer]
    selection: Selection
    writes: Writes

    @classmethod
    def prepared(
        cls,
        denoiser: Denoiser,
        x: NoiseSet,
        out: Path,
        options: InferenceConfig,
        noise_seed: int,
        condition: Condition | None = None,
        interventions: Sequence[Intervention] = (),
        streams: int | None = None,
    ) -> Job:
        """Plan everything; nothing is written yet.

        Without `streams`, a recording that is resumed keeps the version of its random streams.
        """
        if tuple(x.shape) != tuple(denoiser.shape):
            raise UserError(
                f"the noises have shape {list(x.shape)}; {denoiser.name} takes {list(denoiser.shape)}"
            )
        condition = condition_of(denoiser, options, condition)
        denoiser.check_condition(condition, len(x))
        if condition.inputs:
            denoiser.try_condition(condition)
        place = place_of(out, options)
        loop = Loop.of(options, noise_seed, streams=streams or _streams(place, options))
        selection = selection_of(options, noise_seed)
        layers = denoiser.chosen_layers(options.layers, condition.inputs) if options.extract_states else []
        interventions = _interventions(interventions, options)
        writes = loop.writes(denoiser, interventions, condition)
        plan = plan_of(denoiser, x, layers, options, loop, selection, condition, out, writes)
        writes.check(plan.samples)
        return cls(denoiser, x, condition, place, options, loop, plan, layers, selection, writes)

    def check(self) -> None:
        """Refuse a plan that cannot be carried out here; nothing is touched."""
        self._check_memory()
        with writing(self.out, self.plan.attrs):
            store = local_store(self.out, self.plan.format)
            FORMATS[self.plan.format].writer.check(store, self.plan, self._existing)

    def run(self, progress: RecordingProgress | None = None) -> None:
        """Do what is not finished yet."""
        self._check_memory()
        store = local_store(self.out, self.plan.format)
        with FORMATS[self.plan.format].writer.opened(store, self.plan, self._existing) as writer:
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

    def run_into(self, writer: Writer, *, begin: int | None = None) -> None:
        """Do all of it, for another writer than the plan's own; see `steps_of` for `begin`."""
        self._run(writer, list(self.plan.groups), {}, None, begin)

    def _check_memory(self) -> None:
        """Refuse more samples in flight than memory holds."""
        needed, free = self.plan.held_bytes, memory.free_bytes(self.denoiser.device)
        if needed > free:
            raise UserError(
                f"the samples in flight take at least {format_bytes(needed)} of memory and {format_bytes(free)} are free; "
                "take a smaller --batch_size or --lanes, fewer layers, or a smaller projection"
            )

    @property
    def _existing(self) -> Existing:
        return "resume" if self.options.resume else "overwrite" if self.options.overwrite else "refuse"

    def _run(
        self,
        writer: Writer,
        pending: list[int],
        nonfinite: dict[str, int],
        progress: RecordingProgress | None,
        begin: int | None = None,
    ) -> None:
        """Denoise flight by flight; an interrupt waits for the flight that is on its way."""
        at_once = -(-self.options.batch_size // self.options.lanes)
        denoiser = self.denoiser
        with (
            denoiser.running(),
            torch.inference_mode(),
            tapped(
                denoiser.network,
                denoiser.call,
                self.layers,
                writes=self.writes.visits,
                fast=self.options.fast,
            ) as network,
            interrupt.deferred() as stop,
        ):
            for first in range(0, len(pending), at_once):
                groups = pending[first : first + at_once]
                samples = [index for group in groups for index in self.plan.samples_of(group)]
                names = [self.plan.samples[index] for index in samples]
                began = time.perf_counter()
                with writer.unit(groups) as unit, Outbox(self.denoiser.device) as outbox:
                    x_T, condition = self.x.batch(samples), self.condition.of(samples)
                    for step in steps_of(
                        denoiser, network, x_T, self.loop, names, condition, self.writes, begin
                    ):
                        self._note(step, names, unit, outbox, nonfinite)
                        for layer in step.skipped if self._keeps(step) else ():
                            _tell_skipped(progress, layer, step.index)
                        if progress:
                            progress.advance(len(samples))
                if progress and first == 0 and isinstance(network, Compiled) and network.compilation:
                    progress.compiled(network.compilation, len(pending) * self.plan.steps)
                if progress:
                    progress.unit_done(len(samples), time.perf_counter() - began)
                if stop.requested and first + at_once < len(pending):
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
        for name, rows in self._images(step):
            outbox.send(self._cast(name, rows), partial(unit.append, name))
        computed = [step.x_after]
        for layer in self.layers if self._keeps(step) else ():
            kept = self._kept(layer, step.states[layer.address])
            outbox.send(kept, partial(unit.append, layer.address))
            if layer.address not in step.skipped:
                computed.append(self._made(layer, kept, step))

        def flag(finite: torch.Tensor) -> None:
            unit.flag(~finite.numpy())
            self._report(
                step.index, [name for name, fine in zip(names, finite, strict=True) if not fine], nonfinite
            )

        if step.index == 0:
            outbox.send(finite([step.x_before]), flag)
        outbox.send(finite(computed), flag)

    def _images(self, step: Step) -> list[tuple[str, torch.Tensor]]:
        """The states x and the estimate of x_0 that are stored of one step."""
        if not self.options.extract_states:
            return [("final", step.x_after)] if step.index + 1 == self.plan.steps else []
        images = [("sequence", x) for x in ([step.x_before] if step.index == 0 else []) + [step.x_after]]
        if self.options.extract_estimates and self._keeps(step):
            assert step.x_0_estimate is not None
            images.append((ESTIMATES, step.x_0_estimate))
        return images

    def _keeps(self, step: Step) -> bool:
        """Whether the layers' states of this step are stored."""
        return self.options.extract_states and step.index in kept_steps(self.options, self.plan.steps)

    def _kept(self, layer: Layer, state: torch.Tensor) -> torch.Tensor:
        """What is kept of a state [n, (call), (branch), …], cast where it was computed: half the bytes are
        half the way."""
        leading = state.shape[: state.ndim - len(layer.shape or ())]
        kept = self.selection.apply(state.flatten(0, len(leading) - 1)).unflatten(0, leading)
        return self._cast(layer.address, kept)

    def _made(self, layer: Layer, kept: torch.Tensor, step: Step) -> torch.Tensor:
        """The part of a state that belongs to calls that were made: the others are NaN for no fault."""
        several = layer.calls * step.most_calls > 1
        return kept[:, : layer.calls * step.calls] if several else kept

    def _cast(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        return rows.to(self._dtypes[name])

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


def _interventions(given: Sequence[Intervention], options: InferenceConfig) -> Sequence[Intervention]:
    """Those given, or those of the plan that the options name."""
    if given and options.intervene:
        raise UserError("interventions and intervene are both given; take one of them")
    found = read_plan(options.intervene) if options.intervene else given
    if found and options.fast:
        raise UserError(
            "fast compiles the network, into which nothing can be written then; leave one of them out"
        )
    return found


def _tell_skipped(progress: RecordingProgress | None, layer: str, step: int) -> None:
    if progress:
        progress.skipped(layer, step)
    else:
        warnings.warn(f"layer {layer} was not called as planned in step {step}: NaN there", stacklevel=2)


def finite(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Which rows hold neither NaN nor Inf in any of the parts, [n] bool."""
    # Zero times a finite number is zero and cannot overflow: a quarter of the time of isfinite and all.
    return torch.stack([(part * 0).reshape(len(part), -1).sum(1) == 0 for part in parts]).all(0)


def _streams(place: Path, options: InferenceConfig) -> int:
    """The version of the random streams of a recording that is resumed, else the current one."""
    stored = attributes(LocalStore(place)) if options.resume else {}
    return (
        random_streams.version_of(stored.get("fingerprint", {})) if stored else random_streams.STREAMS_VERSION
    )
