"""A watched call on its way to the disk, one step after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.recording.device_transfer import Outbox
from denoscope.recording.job import finite
from denoscope.recording.pipelines.calls import Call
from denoscope.recording.pipelines.watched import Watched
from denoscope.storage.plan import Plan, Unit


class Run:
    """A call of a pipeline on its way to the disk, one step after the other."""

    def __init__(
        self,
        watched: Watched,
        plan: Plan,
        selection: Selection,
        kept: Sequence[int],
        unit: Unit,
        outbox: Outbox,
    ):
        self.watched, self.selection, self.kept = watched, selection, kept
        self.unit, self.outbox = unit, outbox
        self.arrays = {array.name: array for array in plan.arrays}
        self.timesteps = watched.timesteps
        self.entry = 0
        self.states: dict[str, torch.Tensor] = {}
        self.fine: list[torch.Tensor] = []
        """Which samples were finite in what was read since the latest state, [n] each."""
        self.missing: dict[str, list[int]] = {}

    @property
    def finished(self) -> bool:
        return self.entry == len(self.watched.stages)

    @property
    def step(self) -> int:
        """The step under way."""
        return self.watched.stages[self.entry].step

    @property
    def keeps(self) -> bool:
        """Whether the states of the step under way are stored."""
        return not self.finished and self.step in self.kept

    def before_step(self, timestep: float, x: torch.Tensor, calls: Sequence[Call]) -> None:
        """Take the states x [rows, …] that the scheduler is given, and what the calls of the network showed."""
        if timestep != self.timesteps[self.entry]:
            raise UserError(
                f"the pipeline made a step from timestep {timestep:g} where that from {self.timesteps[self.entry]:g} "
                "was to come; only one call of it, which goes through the timesteps once, fits into a block"
            )
        stage = self.watched.stages[self.entry]
        if stage.call == 0 or self.entry == 0:
            self._store_sequence(x)
            self.states = {layer.address: self._nothing(layer) for layer in self._layers}
        for layer in self._layers:
            self._put(layer, stage.call, calls)

    def after_step(self, x: torch.Tensor) -> None:
        """Take the states x [rows, …] that the scheduler returned."""
        if self.watched.stages[self.entry].last:
            for name, state in self.states.items():
                self._send(name, state.reshape(len(state), *self.arrays[name].inner))
            self.states = {}
        self.entry += 1
        if self.finished:
            self._store_sequence(x)

    @property
    def _layers(self) -> Sequence[Layer]:
        """Those whose states are stored of the step under way."""
        return self.watched.layers if self.keeps else ()

    def _store_sequence(self, x: torch.Tensor) -> None:
        # A copy, since what becomes of it in the pipeline must not reach what is under way.
        x = self.watched.branches.samples(x).clone()
        self._send("sequence", x)
        fine = torch.stack([finite([x]), *self.fine]).all(0)
        self.fine = []
        self.outbox.send(fine, lambda found: self.unit.flag(~found.numpy()))

    def _send(self, name: str, rows: torch.Tensor) -> None:
        dtype = getattr(torch, str(self.arrays[name].dtype))
        self.outbox.send(rows.to(dtype), partial(self.unit.append, name))

    def _nothing(self, layer: Layer) -> torch.Tensor:
        """A layer's states of one step [n, calls, (branch), …] before any was read."""
        shape, names = self.selection.shape(layer.shape or ()), self.watched.branches.names
        calls = self.watched.calls_a_step * layer.calls
        dtype = getattr(torch, str(self.arrays[layer.address].dtype))
        leading = (len(self.watched.x_T), calls, *([len(names)] if names else []))
        return torch.full((*leading, *shape), torch.nan, dtype=dtype, device=self.watched.x_T.device)

    def _put(self, layer: Layer, call: int, calls: Sequence[Call]) -> None:
        """Put what was read of a layer in the calls that led to a call of the scheduler into its place."""
        read = [self._read(layer, made) for made in calls]
        parts = [part for part in read if part is not None]
        if len(parts) != len(read) or len(read) != self.watched.branches.calls:
            steps = self.missing.setdefault(layer.address, [])
            steps += [self.step] if self.step not in steps else []
            return
        found, place = self.watched.branches.apart(parts), call * layer.calls
        target = self.states[layer.address][:, place : place + layer.calls]
        target.copy_(found)
        self.fine.append(finite([target]))

    def _read(self, layer: Layer, call: Call) -> torch.Tensor | None:
        """What is kept of a layer in one call of the network [rows, times, …]; None if it was not as planned."""
        values = call.states[layer.address]
        # The branches are as many in all calls; a pipeline may still give up guidance on its way.
        rows = len(self.watched.x_T) * max(1, len(self.watched.branches.names)) // self.watched.branches.calls
        if [tuple(value.shape) for value in values] != [(rows, *(layer.shape or ()))] * layer.calls:
            return None
        return torch.stack([self.selection.apply(value) for value in values], 1)
