"""A pipeline's call on its way into a recording, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from denoscope.foundation.dtypes import missing_value, torch_dtype
from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer
from denoscope.recording.pipelines.calls import ObservedCall
from denoscope.recording.pipelines.watched_call import WatchedCall
from denoscope.recording.runs.step_recorder import StepRecorder
from denoscope.storage.plan import Plan


class WatchedRun:
    """Collects the states of each step of a call, over the scheduler calls that it takes, and records them."""

    def __init__(self, watched: WatchedCall, plan: Plan, recorder: StepRecorder):
        self.watched, self._recorder = watched, recorder
        self._arrays = {array.name: array for array in plan.arrays}
        self._timesteps = watched.timesteps
        self._entry = 0
        self._states: dict[str, torch.Tensor] = {}
        self._computed: dict[str, list[torch.Tensor]] = {}
        self.missing: dict[str, list[int]] = {}
        """The steps in which a layer was not called as in the first one."""

    @property
    def finished(self) -> bool:
        return self._entry == len(self.watched.stages)

    @property
    def step(self) -> int:
        """The present step."""
        return self.watched.stages[self._entry].step

    @property
    def records(self) -> bool:
        """Whether the states of the present step are stored."""
        return not self.finished and self._recorder.records(self.step)

    def before_step(self, timestep: float, x: torch.Tensor, calls: Sequence[ObservedCall]) -> None:
        """Take the states x [rows, …] that the scheduler is given, and the calls of the network that led to it.

        Raises: UserError if the timestep is not the next one.
        """
        expected = self._timesteps[self._entry]
        if timestep != expected:
            raise UserError(
                f"the pipeline made a step from timestep {timestep:g} where the one from {expected:g} was expected; a "
                "block records one call, which goes through the timesteps once"
            )
        stage = self.watched.stages[self._entry]
        if stage.call == 0 or self._entry == 0:
            self._record_state(x)
            self._states = {layer.address: self._missing_states(layer) for layer in self._layers}
            self._computed = {layer.address: [] for layer in self._layers}
        for layer in self._layers:
            self._put(layer, stage.call, calls)

    def after_step(self, x: torch.Tensor) -> None:
        """Take the states x [rows, …] that the scheduler returned."""
        if self.watched.stages[self._entry].last:
            for address, state in self._states.items():
                whole = state.reshape(len(state), *self._arrays[address].inner)
                self._recorder.layer(address, whole, self._computed[address])
            self._states = {}
        self._entry += 1
        if self.finished:
            self._record_state(x)

    @property
    def _layers(self) -> Sequence[Layer]:
        """The layers whose states are stored in the present step."""
        return self.watched.layers if self.records else ()

    def _record_state(self, x: torch.Tensor) -> None:
        # A copy, since the pipeline may change x while it is copied from the device.
        self._recorder.state(self.watched.branches.samples(x).clone())

    def _missing_states(self, layer: Layer) -> torch.Tensor:
        """The states of a layer in a step [n, calls, (branch), …] before any is read: NaN."""
        names = self.watched.branches.names
        calls = self.watched.calls_per_step * layer.calls
        array = self._arrays[layer.address]
        inner = array.inner[len([dim for dim in array.inner_dims if dim in ("call", "branch")]) :]
        shape = (len(self.watched.x_T), calls, *([len(names)] if names else []), *inner)
        dtype = torch_dtype(array.dtype)
        return torch.full(shape, missing_value(dtype), dtype=dtype, device=self.watched.x_T.device)

    def _put(self, layer: Layer, call: int, calls: Sequence[ObservedCall]) -> None:
        """Enter the states of the network's calls at the position of one scheduler call in the step."""
        parts = [part for made in calls if (part := self._read(layer, made)) is not None]
        if not len(parts) == len(calls) == self.watched.branches.calls:
            steps = self.missing.setdefault(layer.address, [])
            steps += [self.step] if self.step not in steps else []
            return
        first = call * layer.calls
        place = self._states[layer.address][:, first : first + layer.calls]
        place.copy_(self.watched.branches.split(parts))
        self._computed[layer.address].append(place)

    def _read(self, layer: Layer, call: ObservedCall) -> torch.Tensor | None:
        """The reduced states of a layer in one network call [rows, times, …]; None if they differ from the first call."""
        values = call.states[layer.address]
        # All calls have the same number of branches, but a pipeline may stop guidance midway.
        rows = len(self.watched.x_T) * max(1, len(self.watched.branches.names)) // self.watched.branches.calls
        if [tuple(value.shape) for value in values] != [(rows, *(layer.shape or ()))] * layer.calls:
            return None
        return torch.stack([self._recorder.reduce(layer, value) for value in values], 1)
