"""Gradients of a function of x_0 through the whole denoising loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.dtypes import COMPLEX, COMPUTED
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming, spelled
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.tapped_network import States, TappedNetwork, Writes, no_writes
from denoscope.hooks.visitors import VisitedNetwork
from denoscope.interventions.applied import Application
from denoscope.interventions.network_call import LayerCall
from denoscope.interventions.operations import Operation
from denoscope.interventions.site import Run, Site
from denoscope.interventions.spec import Intervention
from denoscope.models import matmul_precision
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser, check_differentiable
from denoscope.models.running import outside_inference_mode
from denoscope.noise.coercion import NoiseLike
from denoscope.sampling.loop import NAMES_NEEDED, as_interventions, states_and_names, steps_of
from denoscope.sampling.settings import Loop, NoiseKind, SamplerDtype

Objective = Callable[[torch.Tensor], torch.Tensor]
X_T = "x_T"


@accepts_num_steps
@arguments_checked
@outside_inference_mode
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
    interventions: Intervention | Sequence[Intervention] = (),
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: SamplerDtype = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
) -> torch.Tensor:
    """∂ objective(x_0) / ∂ x_T [n, C, H, W], or the derivative with respect to a layer's states [n, step, …].

    For a layer, entry k is the effect of a change of its state in step k alone, through everything that follows. With
    several calls per step or two branches there are axes for them, as in a recording; entries of calls that are not
    made are 0.

    The network runs again in the backward pass (checkpointing), so that memory holds the activations of one call and
    one state for each step; a gradient takes three to four times as long as a run.

    Caveats: a scheduler that clips its estimate of x_0, as DDPM and DDIM of diffusers do by default, passes no gradient
    where it clips.

    >>> gradient(denoiser, x_T, lambda x_0: x_0.square().sum((1, 2, 3)) / 2, steps=20)

    Args:
        objective: a function of x_0 [n, C, H, W]: one number for each sample, which are added, or one for all.
        wrt: "x_T", or the address of one layer.
        names: the samples' names, all different; independent noise and interventions by name depend on them.

    The other arguments are those of `denoise`.

    Raises: UserError if `wrt` matches more than one layer, the objective does not depend on x_0, or the network itself
    calls a layer again in the backward pass, into which something is written.
    """
    check_denoiser(denoiser)
    check_differentiable(denoiser)
    loop = Loop(
        steps=steps, noise=noise, noise_seed=noise_seed, lanes=lanes, sampler_dtype=sampler_dtype, tf32=tf32
    )
    x, names = states_and_names(denoiser, x_T, names, loop)
    names = _distinct(names, len(x), noise)
    applied, nudge = loop.applied(denoiser, as_interventions(interventions), condition), None
    if wrt == X_T:
        variable = x = x.detach().to(denoiser.device, loop.state_dtype(denoiser)).clone().requires_grad_()
    else:
        with naming("wrt"):
            layer = denoiser.one_layer(wrt, condition.inputs)
            layer.check_derivatives((*COMPUTED, *COMPLEX))
        site = Site(f"{spelled('wrt')} {wrt}", layer, loop.run(denoiser, condition))
        nudge = Nudge.zero(site, names)
        applied, variable = applied.followed_by(Application(site, nudge)), nudge.values
    with denoiser.running(), torch.enable_grad(), matmul_precision.exact(denoiser.device, tf32=tf32):
        x_0 = x
        for step in steps_of(denoiser, CheckpointedNetwork(denoiser), x, loop, names, condition, applied):
            x_0 = step.x_after
        written = [application.site.layer.place for application in applied.applications]
        with VisitedNetwork(denoiser.network).always_armed(written):
            derivative = _derivative(objective, x_0, variable)
    return derivative if nudge is None else nudge.as_recorded(derivative)


class CheckpointedNetwork:
    """A network whose activations are computed again in the backward pass, with the same interventions."""

    skipped: Sequence[str] = ()

    def __init__(self, denoiser: Denoiser):
        self._network = TappedNetwork(denoiser.network, denoiser.call)

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any], writes: Writes = no_writes
    ) -> tuple[torch.Tensor, States]:
        def run(rows: torch.Tensor) -> torch.Tensor:
            return self._network(rows, timestep, inputs, writes)[0]

        # Noise is drawn from streams of its own; the global generators need not be restored.
        return checkpoint(run, x, use_reentrant=False, preserve_rng_state=False), {}


@dataclass(frozen=True, eq=False)
class Nudge(Operation):
    """Adds zeros [n, step, call, branch, …] to a layer's states, with respect to which derivatives are taken."""

    values: torch.Tensor
    row: Mapping[str, int]
    """The index of each sample."""
    branches: tuple[str, ...]

    @classmethod
    def zero(cls, site: Site, names: Sequence[str]) -> Nudge:
        """A nudge of zero at a site, for samples of these names."""
        layer, run = site.layer, site.run
        branches = run.branches or ("",)
        shape = (*_leading(layer, run, len(names)), len(branches), *(layer.shape or ()))
        values = torch.zeros(shape, dtype=layer.dtype, device=run.denoiser.device, requires_grad=True)
        return cls(values, {name: row for row, name in enumerate(names)}, branches)

    def apply(self, state: torch.Tensor, call: LayerCall) -> torch.Tensor:
        rows = call.network.row_keys()
        samples = [self.row[name] for _, name in rows]
        branches = [self.branches.index(branch) for branch, _ in rows]
        return state + self.values[samples, call.network.step, call.index, branches]

    def as_recorded(self, derivative: torch.Tensor) -> torch.Tensor:
        """The derivative, with axes for calls and branches only if there are several."""
        if derivative.shape[3] == 1:
            derivative = derivative.squeeze(3)
        return derivative if derivative.shape[2] > 1 else derivative.squeeze(2)


def _leading(layer: Layer, run: Run, samples: int) -> tuple[int, int, int]:
    return samples, len(run.timesteps), layer.calls * run.calls


def _distinct(names: Sequence[str] | None, count: int, noise: NoiseKind) -> Sequence[str]:
    """The samples' names, numbers unless given.

    Raises: UserError if two are equal, or none are given for independent noise.
    """
    if names is None:
        if noise == "independent":
            raise UserError(NAMES_NEEDED)
        return [str(row) for row in range(count)]
    if len(set(names)) < len(names):
        raise UserError(f"{spelled('names')} holds one name twice; give each sample its own")
    return names


def _derivative(objective: Objective, x_0: torch.Tensor, variable: torch.Tensor) -> torch.Tensor:
    value = objective(x_0)
    if not isinstance(value, torch.Tensor) or value.ndim > 1 or value.shape not in ((), (len(x_0),)):
        result = list(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise UserError(
            f"the objective returned {result}; allowed: one number for each of {len(x_0)} samples, or one for all"
        )
    if not x_0.requires_grad:
        return torch.zeros_like(variable)
    if not value.requires_grad:
        raise UserError(
            "the objective does not depend on x_0; leave out what cuts it off (detach, no_grad, numpy)"
        )
    (derivative,) = torch.autograd.grad(value.sum(), variable, allow_unused=True)
    return torch.zeros_like(variable) if derivative is None else derivative
