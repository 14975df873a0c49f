"""Samples that go through the network together, in a fixed number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from denoscope.foundation.dtypes import missing_value
from denoscope.hooks.tapped_network import Network, States
from denoscope.interventions.applied import Applied
from denoscope.interventions.network_call import NetworkCall
from denoscope.models import matmul_precision
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import (
    begin_at,
    estimate_of,
    noise_level,
    scaled,
    starting_sigma,
    stepped,
)
from denoscope.models.schedulers import adds_noise
from denoscope.models.solver_calls import Stage, stages
from denoscope.sampling.settings import Loop
from denoscope.sampling.step import Step


@dataclass(frozen=True, eq=False)
class CallResult:
    """The result of one call of the network and the scheduler."""

    model_output: torch.Tensor
    x_0_estimate: torch.Tensor | None
    states: States
    skipped: tuple[str, ...]


class Lanes:
    """Up to `lanes` samples that go through the network together, padded to exactly that many rows.

    The last bits of a network's output depend on the number of rows it is called with, but not on a row's position or
    neighbours; with a fixed number of rows they cannot depend on the batch. Under guidance the two branches are the
    halves of one call of twice as many rows.

    Args:
        begin: the step from which to begin with the states `x`; None begins with noises x_T, as the loop says.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        loop: Loop,
        x: torch.Tensor,
        names: Sequence[str],
        condition: Condition,
        applied: Applied,
        begin: int | None,
    ):
        self.denoiser, self.loop, self.names, self.applied = denoiser, loop, tuple(names), applied
        self.scheduler = loop.scheduler(denoiser)
        padding = x[-1:].expand(loop.lanes - len(x), *x.shape[1:])
        rows = torch.cat([x, padding]).to(device=denoiser.device, dtype=loop.state_dtype(denoiser))
        if begin is not None:
            self.x = rows
            if begin:
                begin_at(self.scheduler, begin)
        elif loop.start:
            self.x = loop.start.states(self.scheduler, rows)
        else:
            self.x = rows * starting_sigma(self.scheduler)
        self.branches = denoiser.branches(condition)
        self.scale = condition.scale
        self.network_dtype = denoiser.dtype
        like = torch.empty(0, dtype=self.network_dtype, device=denoiser.device)
        self.inputs = condition.rows(loop.lanes, self.branches, like)
        self.draws = adds_noise(self.scheduler)
        self.schedule = stages(self.scheduler, loop.steps)
        self.most_calls = 1 + max(stage.call for stage in self.schedule)

    def step(self, entries: Sequence[tuple[int, Stage]], network: Network) -> Step:
        """All calls of one step; `entries` are their positions in the scheduler's timesteps."""
        x_before, n = self.x, len(self.names)
        calls = [self._call(index, stage, network) for index, stage in entries]
        (first, stage), estimate = entries[0], calls[0].x_0_estimate
        return Step(
            index=stage.step,
            timestep=float(self.scheduler.timesteps[first]),
            sigma=noise_level(self.scheduler, first),
            x_before=x_before[:n],
            x_after=self.x[:n],
            model_output=calls[0].model_output[:n],
            x_0_estimate=None if estimate is None else estimate[:n],
            states={
                address: self._of_samples([call.states[address] for call in calls])
                for address in calls[0].states
            },
            branches=self.branches,
            calls=len(calls),
            most_calls=self.most_calls,
            skipped=tuple(dict.fromkeys(name for call in calls for name in call.skipped)),
        )

    def _call(self, index: int, stage: Stage, network: Network) -> CallResult:
        """One call of the network and one of the scheduler."""
        scheduler, x, timestep = self.scheduler, self.x, self.scheduler.timesteps[index]
        call = NetworkCall(
            stage.step, stage.call, float(timestep), self.names, self.branches, lanes=self.loop.lanes
        )
        with matmul_precision.exact(x.device, tf32=self.loop.tf32):
            rows = scaled(scheduler, x, timestep).to(self.network_dtype)
            if self.branches:
                rows = torch.cat([rows] * len(self.branches))
            with self.denoiser.first_call(rows, timestep, self.inputs):
                output, states = network(rows, timestep, self.inputs, self.applied.during(call))
            output = self._guided(output).to(x.dtype)
            generators = self.loop.generators(index, self.names) if self.draws else ()
            result = stepped(scheduler, index, output, x, generators)
        self.x = result.prev_sample
        estimate = estimate_of(scheduler, index, output, x, result)
        return CallResult(output, estimate, states, tuple(network.skipped))

    def _guided(self, output: torch.Tensor) -> torch.Tensor:
        """u + scale·(c − u) of the unconditional and the conditional half; the output itself without guidance."""
        if not self.branches:
            return output
        halves = dict(zip(self.branches, output.chunk(2), strict=True))
        return halves["uncond"] + self.scale * (halves["cond"] - halves["uncond"])

    def _of_samples(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """A layer's states in a step, [n, (call), (branch), …], from [rows, calls, …] of each network call."""
        state = torch.cat(list(parts), 1) if len(parts) > 1 else parts[0]
        missing = self.most_calls * parts[0].shape[1] - state.shape[1]
        if missing:
            gap = state.new_full((len(state), missing, *state.shape[2:]), missing_value(state.dtype))
            state = torch.cat([state, gap], 1)
        if self.branches:
            state = state.unflatten(0, (len(self.branches), -1)).movedim(0, 2)
        return (state if state.shape[1] > 1 else state.squeeze(1))[: len(self.names)]
