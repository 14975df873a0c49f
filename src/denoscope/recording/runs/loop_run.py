"""A run of denoscope's own loop, recorded into a writer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch

from denoscope.config import InferenceConfig
from denoscope.foundation import interrupt
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.compiled import CompiledNetwork
from denoscope.hooks.state_reduction import Selection
from denoscope.hooks.tapped_network import Network
from denoscope.hooks.taps import tapped
from denoscope.recording.inputs import RunInputs
from denoscope.recording.progress import RecordingProgress
from denoscope.recording.runs.device_transfer import DeviceTransfer
from denoscope.recording.runs.step_recorder import StepRecorder
from denoscope.sampling.loop import steps_of
from denoscope.sampling.step import Step
from denoscope.storage.places import Place
from denoscope.storage.plan import Plan, Writer


class NonfiniteError(UserError):
    """A sample became NaN or Inf in a run that is to stop there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopRun:
    """The groups of a plan on their way through the loop into a writer.

    `nonfinite` maps each sample that became NaN or Inf to the first such step. With `begin` the noises are the states
    before that step; see `steps_of`.
    """

    inputs: RunInputs
    options: InferenceConfig
    selection: Selection
    plan: Plan
    out: Place | None
    writer: Writer
    progress: RecordingProgress
    nonfinite: dict[str, int] = field(default_factory=dict)
    begin: int | None = None

    def record(self, groups: Sequence[int]) -> None:
        """Record groups, as many at once as are in flight; an interrupt waits until these are finished."""
        at_once = self.plan.groups_at_once
        with self._network() as network, interrupt.deferred() as stop:
            for first in range(0, len(groups), at_once):
                began, flight = time.perf_counter(), groups[first : first + at_once]
                count = self._record_flight(flight, network)
                if first == 0 and isinstance(network, CompiledNetwork) and network.compilation:
                    self.progress.compiled(network.compilation, len(groups) * self.plan.steps)
                self.progress.unit_done(count, time.perf_counter() - began)
                pending = groups[first + at_once :]
                if stop.requested and pending:
                    raise KeyboardInterrupt(self._stopped(pending))

    @contextmanager
    def _network(self) -> Iterator[Network]:
        """The network with its layers tapped."""
        denoiser = self.inputs.denoiser
        with (
            denoiser.running(),
            torch.inference_mode(),
            tapped(
                denoiser.network,
                denoiser.call,
                self.inputs.layers,
                fast=self.options.fast,
            ) as network,
        ):
            yield network

    def _record_flight(self, groups: Sequence[int], network: Network) -> int:
        """Record the samples in flight; returns their number."""
        inputs = self.inputs
        samples = [index for group in groups for index in self.plan.samples_of(group)]
        names = [self.plan.samples[index] for index in samples]
        x_T, condition = inputs.x.batch(samples), inputs.condition.of(samples)
        with self.writer.unit(groups) as unit, DeviceTransfer(inputs.denoiser.device) as transfer:
            recorder = StepRecorder(
                self.plan, self.selection, unit, transfer, report=partial(self._note_nonfinite, names)
            )
            steps = steps_of(
                inputs.denoiser, network, x_T, inputs.loop, names, condition, inputs.applied, self.begin
            )
            for step in steps:
                self._record_step(step, recorder)
                self.progress.advance(len(samples))
        return len(samples)

    def _record_step(self, step: Step, recorder: StepRecorder) -> None:
        first = self.inputs.loop.first_step if self.begin is None else self.begin
        if step.index == first:
            recorder.state(step.x_before)
        if recorder.records(step.index - first):
            if self.options.extract_estimates:
                assert step.x_0_estimate is not None
                recorder.estimate(step.x_0_estimate)
            for layer in self.inputs.layers:
                reduced = recorder.reduce(layer, step.states[layer.address])
                several = layer.calls * step.most_calls > 1
                computed = reduced[:, : layer.calls * step.calls] if several else reduced
                skipped = layer.address in step.skipped
                recorder.layer(layer.address, reduced, [] if skipped else [computed])
            for address in step.skipped:
                self.progress.skipped(address, step.index)
        recorder.state(step.x_after)

    def _note_nonfinite(self, names: Sequence[str], state: int, finite: Sequence[bool]) -> None:
        """Note which samples are no longer finite in a state, or stop there."""
        step = max(0, state - 1)
        for name in (name for name, is_finite in zip(names, finite, strict=True) if not is_finite):
            self.nonfinite.setdefault(name, step)
            if self.options.on_nonfinite == "stop":
                # The words name no option, since a worker does not know how its caller spells it.
                raise NonfiniteError(
                    f"{name} became NaN or Inf in step {step}, and the run stops there as requested; finished samples are "
                    "stored"
                )

    def _stopped(self, pending: Sequence[int]) -> str:
        total = len(self.plan.samples)
        done = total - sum(len(self.plan.samples_of(group)) for group in pending)
        if self.out is None:
            return f"stopped after {done} of {total} samples; a recording in memory is not resumed"
        return (
            f"stopped with {done} of {total} samples finished in {self.out}; "
            f"continue with {spelled('resume', True)}"
        )
