"""Gradients of a function of x_0 through the whole denoising loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.compiled import States
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.taps import tapped
from denoscope.interventions.applied import Writes
from denoscope.interventions.edits import Run
from denoscope.interventions.network_call import Moment
from denoscope.interventions.spec import Intervention
from denoscope.models import matmul_precision
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.coercion import NoiseLike
from denoscope.sampling.loop import NAMES_NEEDED, Loop, NoiseKind, states_and_names, steps_of

Objective = Callable[[torch.Tensor], torch.Tensor]
X_T = "x_T"


@accepts_num_steps
def gradient(
    denoiser: Denoiser,
    x_T: NoiseLike,
    objective: Objective,
    *,
    wrt: str = X_T,
    steps: int = InferenceConfig.num_steps,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    names: Sequence[str] | None = None,
    condition: Condition = NOTHING,
    interventions: Sequence[Intervention] = (),
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
) -> torch.Tensor:
    """∂ objective(x_0) / ∂ x_T [n, C, H, W], or that by a layer's states in every step [n, step, …].

    A layer's states are changed in one step at a time, all else following from that: entry k says what a small
    change there does to x_0 through everything after it. With several calls a step or two branches it has an
    axis for them, as in a recording; a call that is not made has gradient 0.

    The network is run again on the way back (checkpointing), so that memory holds one call's activations and
    one state for each step, and a gradient costs about three runs. Schedulers that clip their estimate of x_0,
    as diffusers' DDPM and DDIM do unless told otherwise, let no gradient through where they do.

    >>> gradient(denoiser, x_T, lambda x_0: x_0.square().sum((1, 2, 3)) / 2, steps=20)

    Args:
        objective: of x_0 [n, C, H, W]; a number for each sample, which are added up, or one for all.
        wrt: "x_T", or the address of one layer.
        names: of the samples, all different; needed for independent noise and for interventions by name.

    The others are those of `denoise`.

    Raises: UserError if `wrt` names more than one layer, or the objective does not depend on x_0.
    """
    options = InferenceConfig.from_arguments(
        num_steps=steps, noise=noise, lanes=lanes, sampler_dtype=sampler_dtype, tf32=tf32
    )
    loop = Loop.of(options, noise_seed)
    rows, names = states_and_names(denoiser, x_T, names)
    names = _different(names, len(rows), noise)
    writes, nudges = loop.writes(denoiser, interventions, condition), None
    if wrt == X_T:
        by = rows = rows.to(denoiser.device, loop.state_dtype(denoiser)).clone().requires_grad_()
    else:
        run = loop.run(denoiser, condition)
        nudges = _Nudges(denoiser.one_layer(wrt, condition.inputs), run, names)
        writes = Writes.prepared([*interventions, nudges.intervention], run, condition)
        by = nudges.values
    with denoiser.running(), torch.enable_grad(), matmul_precision.exact(denoiser.device, tf32=tf32):
        x_0, network = rows, Checkpointed(denoiser, writes)
        for step in steps_of(denoiser, network, rows, loop, names, condition, writes):
            x_0 = step.x_after
        found = _derived(objective, x_0, by)
    return found if nudges is None else nudges.as_recorded(found)


class Checkpointed:
    """A network whose activations are not kept but computed again on the way back, at the same moment.

    Each call has visitors of its own: the way back may be another thread's, which sees no attention else.
    """

    skipped: Sequence[str] = ()

    def __init__(self, denoiser: Denoiser, writes: Writes):
        self.denoiser, self.writes = denoiser, writes

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        moment = self.writes.moment

        def run(rows: torch.Tensor) -> torch.Tensor:
            with tapped(self.denoiser.network, self.denoiser.call, writes=self.writes.visits) as network:
                self.writes.begin(moment)
                return network(rows, timestep, inputs)[0]

        # What is drawn on the way comes from seeds of its own, and the global generators are left alone.
        return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False), {}


class _Nudges:
    """Zeros that are added to a layer's states, to take gradients by: [n, step, call, branch, …]."""

    def __init__(self, layer: Layer, run: Run, names: Sequence[str]):
        self.row = {name: row for row, name in enumerate(names)}
        self.layer, self.branches = layer, run.branches or ("",)
        self.calls = layer.calls * run.calls
        leading = (len(names), len(run.timesteps), self.calls, len(self.branches))
        self.values = torch.zeros(
            *leading, *(layer.shape or ()), dtype=layer.dtype, device=run.denoiser.device, requires_grad=True
        )
        self.intervention = Intervention(layer.address, self._add)
        self._moment: Moment | None = None
        self._seen = 0

    def _add(self, state: torch.Tensor, moment: Moment) -> torch.Tensor:
        # One moment object is told for each call of the network, and again when it is run again.
        self._seen = self._seen + 1 if moment is self._moment else 0
        self._moment = moment
        call = moment.call * self.layer.calls + self._seen % self.layer.calls
        rows = [(self.row[name], self.branches.index(branch)) for branch, name in moment.of_rows()]
        samples, branches = (list(part) for part in zip(*rows, strict=True))
        return state + self.values[samples, moment.step, call, branches]

    def as_recorded(self, found: torch.Tensor) -> torch.Tensor:
        """The gradient with axes for calls and branches only where there are several."""
        if len(self.branches) == 1:
            found = found.squeeze(3)
        return found if self.calls > 1 else found.squeeze(2)


def _different(names: Sequence[str] | None, count: int, noise: NoiseKind) -> Sequence[str]:
    """The samples' names, numbers where none are given."""
    if names is None:
        if noise == "independent":
            raise UserError(NAMES_NEEDED)
        return [str(row) for row in range(count)]
    if len(set(names)) < len(names):
        raise UserError(f"{spelled('names')} holds one name twice; give each sample its own")
    return names


def _derived(objective: Objective, x_0: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    value = objective(x_0)
    if not isinstance(value, torch.Tensor) or value.ndim > 1 or value.shape not in ((), (len(x_0),)):
        told = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise UserError(
            f"the objective returned {told}; needed is one number for each of {len(x_0)} samples, or one"
        )
    if not x_0.requires_grad:
        return torch.zeros_like(by)
    if not value.requires_grad:
        raise UserError("the objective does not depend on x_0, or cut it off (detach, no_grad, numpy)")
    (found,) = torch.autograd.grad(value.sum(), by, allow_unused=True)
    return torch.zeros_like(by) if found is None else found
