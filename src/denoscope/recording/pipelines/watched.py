"""A pipeline's call as its first step shows it, and the plan of a recording of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from denoscope.config import InferenceConfig
from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import parse
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection, names_of
from denoscope.models.solver_calls import Stage, stages_of_part
from denoscope.recording import provenance
from denoscope.recording.pipelines.branches import Branches, branches_of
from denoscope.recording.pipelines.calls import Call
from denoscope.recording.planning import format_of, kept_steps, layer_plan, stored_dtype
from denoscope.sampling.loop import noise_level
from denoscope.storage.plan import ArrayPlan, Plan


@dataclass(frozen=True, eq=False)
class Watched:
    """What a pipeline is about to do: `stages` from entry `first` of its scheduler's timesteps on.

    `x_T` are the states [n, …] of its first step, and `layers` what was read in the calls of the network there.
    """

    pipe: Any
    network: nn.Module
    first: int
    stages: Sequence[Stage]
    x_T: torch.Tensor
    branches: Branches
    layers: Sequence[Layer]

    @classmethod
    def seen(
        cls,
        pipe: Any,
        network: nn.Module,
        timestep: float,
        x: torch.Tensor,
        calls: Sequence[Call],
        stated: Sequence[str] | None,
    ) -> Watched:
        """What the first step shows: its timestep, states x [rows, …], and the calls of the network before it."""
        branches = branches_of(pipe, network, calls, x, stated)
        # A pipeline that goes through a part of the timesteps alone tells how many these are.
        count = getattr(pipe, "_num_timesteps", None)
        try:
            first, found = stages_of_part(pipe.scheduler, timestep, count)
        except ValueError as error:
            raise UserError(
                f"{type(pipe).__name__} does not follow its scheduler's timesteps: {error}"
            ) from error
        layers = [
            _layer(address, values, calls[0].rows, network) for address, values in calls[0].states.items()
        ]
        return cls(pipe, network, first, found, branches.samples(x), branches, layers)

    @property
    def steps(self) -> int:
        return 1 + self.stages[-1].step

    @property
    def calls_a_step(self) -> int:
        """The most calls of the scheduler that any step makes."""
        return 1 + max(stage.call for stage in self.stages)

    @property
    def timesteps(self) -> np.ndarray:
        """That of each stage."""
        found = self.pipe.scheduler.timesteps[self.first : self.first + len(self.stages)]
        return found.cpu().numpy()

    def plan(self, options: InferenceConfig, selection: Selection, out: Path) -> Plan:
        """The plan of a recording of it."""
        n, inner = len(self.x_T), tuple(self.x_T.shape[1:])
        kept = list(kept_steps(options, self.steps))
        sequence = ArrayPlan(
            "sequence", inner, names_of(inner), stored_dtype(self.x_T.dtype), "state", self.steps + 1
        )
        arrays = [self._array(layer, options, selection, len(kept)) for layer in self.layers]
        run = {"shape": inner, "steps": self.steps, "lanes": n, "branches": self.branches.names}
        addresses = [layer.address for layer in self.layers]
        plan = Plan(
            samples=tuple(f"sample_{index:04d}" for index in range(n)),
            steps=self.steps,
            lanes=n,
            arrays=(sequence, *arrays),
            coords=self._coords(n, kept),
            attrs=provenance.of_pipeline(self.pipe, self.network, addresses, options, selection.seed, run),
            format=format_of(out, options),
            codec=options.codec,
            in_flight=n,
        )
        plan.check_names(addresses)
        return plan

    def _array(self, layer: Layer, options: InferenceConfig, selection: Selection, count: int) -> ArrayPlan:
        dtype = stored_dtype(layer.dtype or torch.float32)
        if options.state_dtype != "auto":
            dtype = np.dtype(options.state_dtype)
        return layer_plan(layer, selection, dtype, count, self.calls_a_step, len(self.branches.names))

    def _coords(self, n: int, kept: Sequence[int]) -> dict[str, tuple[str, np.ndarray]]:
        scheduler, names = self.pipe.scheduler, self.branches.names
        starts = [[stage.step for stage in self.stages].index(step) for step in kept]
        return {
            "sample": ("sample", np.array([f"sample_{index:04d}" for index in range(n)])),
            "state": ("state", np.arange(self.steps + 1)),
            "step": ("step", np.array(kept)),
            "timestep": ("step", self.timesteps[starts]),
            "sigma": ("step", np.array([noise_level(scheduler, self.first + entry) for entry in starts])),
            **({"branch": ("branch", np.array(names))} if names else {}),
        }


def _layer(address: str, values: Sequence[torch.Tensor], rows: int, network: nn.Module) -> Layer:
    """What is read at an address, from all that passed there in one call of the network."""
    if not values:
        raise UserError(
            f"layer {address!r}: nothing passed there in the first call of the network; leave it out "
            f"(!{address})"
        )
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) > 1:
        raise UserError(
            f"layer {address!r} has states of different shapes in one call, "
            f"{' and '.join(str(list(shape)) for shape in shapes)}; name the layers inside of it"
        )
    if shapes[0][:1] != (rows,):
        raise UserError(
            f"layer {address!r} has states {list(shapes[0])}, without a row for each of the network's {rows}; "
            f"leave it out (!{address})"
        )
    kind = type(network.get_submodule(parse(address).path)).__name__
    return Layer(address, kind, shapes[0][1:], values[0].dtype, len(values))
