"""The properties of a pipeline's call, read from its first step, and the plan of its recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from denoscope.config import InferenceConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming
from denoscope.hooks.addresses import parse
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.models.scheduler_steps import noise_level
from denoscope.models.solver_calls import Stage, stages_of_part
from denoscope.recording import provenance
from denoscope.recording.layout import RunShape, lay_out
from denoscope.recording.pipelines.branches import Branches, branches_of
from denoscope.recording.pipelines.calls import ObservedCall
from denoscope.recording.planning import format_of
from denoscope.storage.places import Place
from denoscope.storage.plan import Plan


@dataclass(frozen=True, eq=False)
class WatchedCall:
    """The call that a pipeline has begun: its `stages` from entry `first` of the scheduler's timesteps on.

    `x_T` are the states [n, …] of its first step, and `layers` what the calls of the network there showed.
    """

    pipe: Any
    network: nn.Module
    first: int
    stages: Sequence[Stage]
    x_T: torch.Tensor
    branches: Branches
    layers: Sequence[Layer]

    @classmethod
    def of_first_step(
        cls,
        pipe: Any,
        network: nn.Module,
        timestep: float,
        x: torch.Tensor,
        calls: Sequence[ObservedCall],
        stated: Sequence[str] | None,
    ) -> WatchedCall:
        """The call, from the timestep and the states x [rows, …] of its first step and the network's calls before it.

        Raises: UserError if the timesteps are not the scheduler's, or branches or layers do not fit.
        """
        branches = branches_of(pipe, network, calls, x, stated)
        # A pipeline that goes through a part of the timesteps states their number here.
        count = getattr(pipe, "_num_timesteps", None)
        try:
            first, stages = stages_of_part(pipe.scheduler, timestep, count)
        except ValueError as error:
            raise UserError(
                f"{type(pipe).__name__} does not follow its scheduler's timesteps: {error}"
            ) from error
        with naming("layers"):
            layers = [
                _layer(address, values, calls[0].rows, network) for address, values in calls[0].states.items()
            ]
        return cls(pipe, network, first, stages, branches.samples(x), branches, layers)

    @property
    def steps(self) -> int:
        return 1 + self.stages[-1].step

    @property
    def calls_per_step(self) -> int:
        """The largest number of scheduler calls in a step."""
        return 1 + max(stage.call for stage in self.stages)

    @property
    def timesteps(self) -> np.ndarray:
        """The timestep of each stage."""
        return self.pipe.scheduler.timesteps[self.first : self.first + len(self.stages)].cpu().numpy()

    def plan(self, options: InferenceConfig, selection: Selection, out: Place | None) -> Plan:
        """The plan of a recording of the call."""
        n, shape = len(self.x_T), tuple(self.x_T.shape[1:])
        steps = [stage.step for stage in self.stages]
        starts = [steps.index(step) for step in range(self.steps)]
        run = RunShape(
            samples=tuple(f"sample_{index:04d}" for index in range(n)),
            image_shape=shape,
            image_dtype=self.x_T.dtype,
            timesteps=self.timesteps[starts],
            sigmas=np.array([noise_level(self.pipe.scheduler, self.first + entry) for entry in starts]),
            calls=self.calls_per_step,
            branches=self.branches.names,
            layers=self.layers,
        )
        described = {"shape": shape, "steps": self.steps, "lanes": n, "branches": self.branches.names}
        addresses = [layer.address for layer in self.layers]
        attrs = provenance.of_pipeline(self.pipe, self.network, addresses, options, selection.seed, described)
        return lay_out(
            run, options, selection, attrs=attrs, format=format_of(out, options), lanes=n, in_flight=n
        )


def _layer(address: str, values: Sequence[torch.Tensor], rows: int, network: nn.Module) -> Layer:
    """The layer at an address, from the states that passed there in one call of the network.

    Raises: UserError if there are none, they differ in shape, or have no row for each row of the call.
    """
    if not values:
        raise UserError(
            f"layer {address!r}: no state passed there in the first call of the network; leave it out (!{address})"
        )
    shapes = sorted({tuple(value.shape) for value in values})
    if len(shapes) > 1:
        raise UserError(
            f"layer {address!r} has states of different shapes in one call, "
            f"{' and '.join(str(list(shape)) for shape in shapes)}; name layers inside it"
        )
    if shapes[0][:1] != (rows,):
        raise UserError(
            f"layer {address!r} has states {list(shapes[0])}, without a row for each of the network's {rows}; "
            f"leave it out (!{address})"
        )
    kind = type(network.get_submodule(parse(address).path)).__name__
    layer = Layer(address, kind, shapes[0][1:], values[0].dtype, len(values))
    layer.check_recordable()
    return layer
