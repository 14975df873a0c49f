"""The denoising map x_T → x_0 of one sample and its derivatives, computed by the loop that recordings use."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from denoscope.dynamics.sensitivity.forward_mode import ForwardRules, prepare_forward_mode
from denoscope.foundation.dtypes import COMPUTED
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import naming, spelled
from denoscope.foundation.validation import parse_integer
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.tapped_network import Network, TappedNetwork
from denoscope.models import matmul_precision
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.scheduler_steps import noised, starting_sigma
from denoscope.models.schedulers import keeps_no_history
from denoscope.noise.coercion import as_state
from denoscope.sampling.gradients import CheckpointedNetwork
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop
from denoscope.sampling.step import Step

MOST_LANES = 32
"""The largest number of directions in one call of the network."""


@dataclass(frozen=True)
class Readout:
    """A layer's state in one step, with all its calls and branches."""

    layer: Layer
    step: int


@dataclass(frozen=True, eq=False)
class DenoisingMap:
    """The map from x_T to x_0, or to a layer's state in a step; its single steps; and their derivatives.

    A direction is a row [C, H, W]; `loop.lanes` directions go through the network in one call. States and directions
    have the precision of the loop's states: float32 resolves a direction that shrinks to about 1e-7 of the one that
    grows most, float64 to 1e-16.

    Derivatives are exact derivatives of the computation: where a scheduler clips its estimate of x_0, as diffusers' DDPM
    and DDIM do by default, they are 0.

    Args:
        name: the name of the sample, from which independent noise is drawn.
        readout: the state to which x_T is mapped; x_0 by default.
    """

    denoiser: Denoiser
    loop: Loop = field(default_factory=Loop)
    condition: Condition = NOTHING
    name: str = "sample_0000"
    readout: Readout | None = None

    def __post_init__(self) -> None:
        check_denoiser(self.denoiser)

    @property
    def steps(self) -> int:
        """The number of steps, each a map of its own."""
        return self.loop.steps

    @property
    def first_factor(self) -> float:
        """The factor by which x_T is multiplied before the first step."""
        return float(starting_sigma(self._scheduler))

    def __call__(self, x_T: torch.Tensor) -> torch.Tensor:
        """The images [n, …] of x_T [n, C, H, W]."""
        with self._computing():
            return self._image(_plain(self.denoiser), x_T)

    def states(self, x_T: torch.Tensor) -> list[torch.Tensor]:
        """The states [1, C, H, W] from which the steps start, the first being x_T times its factor, and x_0."""
        with self._computing():
            run = list(self._run(_plain(self.denoiser), x_T))
        return [run[0].x_before, *(step.x_after for step in run)]

    def noised(self, x_0: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Images x_0 [n, C, H, W] with noise, as step `index` starts from them."""
        return noised(self._scheduler, x_0, noise, index)

    def from_step(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """x_0 [n, C, H, W] from the states from which step `index` starts; differentiable."""
        with self._differentiable():
            for step in self._run(_plain(self.denoiser), x, begin=index):
                x = step.x_after
        return x

    def push(self, x_T: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """J·v for each row v of `directions` [k, C, H, W] at x_T [1, C, H, W], with J = ∂x_0/∂x_T or that of the readout."""
        return self._pushed(lambda rows: self._image(_plain(self.denoiser), rows), x_T, directions)

    def pull(self, x_T: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """uᵀ·J for each row u of `directions` [k, …], shaped as x_0 or the readout, at x_T [1, C, H, W].

        The network runs again on the way back, so that memory holds the activations of one call and one state per step.
        """
        with self._computing(), torch.enable_grad():
            rows = x_T.to(directions).expand(len(directions), *x_T.shape[1:]).clone().requires_grad_()
            return _vjp(self._image(CheckpointedNetwork(self.denoiser), rows), rows, directions)

    def push_step(self, index: int, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """∂x_{k+1}/∂x_k · v of the single step k = `index` at x_k."""
        return self._pushed(lambda rows: self._step(index, rows).x_after, x, directions)

    def pull_step(self, index: int, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """uᵀ · ∂x_{k+1}/∂x_k of the single step k = `index` at x_k."""
        with self._computing(), torch.enable_grad():
            rows = x.to(directions).expand_as(directions).clone().requires_grad_()
            return _vjp(self._step(index, rows).x_after, rows, directions)

    def check_single_steps(self) -> None:
        """Refuse a scheduler whose step depends on more than the state from which it starts."""
        if not keeps_no_history(self.denoiser.scheduler):
            raise UserError(
                f"{type(self.denoiser.scheduler).__name__} uses earlier steps, so that a single step has no derivative of "
                "its own; allowed: DDIM, DDPM, Euler, EulerAncestral, FlowMatchEuler"
            )

    @functools.cached_property
    def _scheduler(self) -> Any:
        """The loop's scheduler, which makes no steps: each run has a copy of its own."""
        return self.loop.scheduler(self.denoiser)

    def _run(self, network: Network, x: torch.Tensor, *, begin: int | None = None) -> Iterator[Step]:
        """The steps of the loop from x_T, or from the state before step `begin`."""
        names = [self.name] * len(x)
        return steps_of(self.denoiser, network, x, self.loop, names, self.condition, begin=begin)

    def _step(self, index: int, rows: torch.Tensor) -> Step:
        return next(self._run(_plain(self.denoiser), rows, begin=index))

    def _image(self, network: Network, rows: torch.Tensor) -> torch.Tensor:
        """x_0 or the readout, from rows of x_T."""
        run, x = self._run(network, rows), rows * self.first_factor
        for step in itertools.islice(run, self.readout.step if self.readout else None):
            x = step.x_after
        return x if self.readout is None else self._read(self.readout, x)

    def _read(self, readout: Readout, x: torch.Tensor) -> torch.Tensor:
        """The readout, from the state before its step."""
        denoiser, layer = self.denoiser, readout.layer
        network = TappedNetwork(denoiser.network, denoiser.call, [layer], attached=True)
        step = next(self._run(network, x, begin=readout.step))
        if step.skipped:
            raise UserError(
                f"layer {layer.address!r} is not called in step {readout.step}; choose another {spelled('step')}"
            )
        return step.states[layer.address]

    def _pushed(
        self,
        image: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        directions: torch.Tensor,
    ) -> torch.Tensor:
        prepare_forward_mode()
        with self._computing(), forward_ad.dual_level():
            rows = x.to(directions).expand_as(directions).contiguous()
            result = forward_ad.unpack_dual(image(forward_ad.make_dual(rows, directions.contiguous())))
            tangent = result.tangent
            return torch.zeros_like(result.primal) if tangent is None else tangent.detach()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.no_grad(), self._differentiable():
            yield

    @contextmanager
    def _differentiable(self) -> Iterator[None]:
        with (
            self.denoiser.running(),
            matmul_precision.exact(self.denoiser.device, tf32=self.loop.tf32),
            ForwardRules(),
            # Fused attention has no forward derivative.
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield


def _plain(denoiser: Denoiser) -> TappedNetwork:
    """The network without taps."""
    return TappedNetwork(denoiser.network, denoiser.call)


def map_of(
    denoiser: Denoiser,
    *,
    condition: Condition = NOTHING,
    name: str = DenoisingMap.name,
    rows: int,
    loop: Loop,
    layer: str | None = None,
    step: int = -1,
) -> DenoisingMap:
    """The map to x_0, or to the state of a layer in a step, with as many lanes as suit `rows` directions at a time."""
    check_denoiser(denoiser)
    condition = of_first(condition)
    lanes = rows if rows <= 4 else min(-(-rows // 4) * 4, MOST_LANES)
    readout = None
    if layer is not None:
        parse_integer(
            step,
            "step",
            minimum=-loop.steps,
            maximum=loop.steps - 1,
            note="negative numbers count from the end",
        )
        with naming("layer"):
            read = denoiser.one_layer(layer, condition.inputs)
            read.check_derivatives(COMPUTED)
        readout = Readout(read, step % loop.steps)
    return DenoisingMap(denoiser, replace(loop, lanes=lanes), condition, name, readout)


def parse_k(k: int, size: int) -> int:
    """The number of exponents or directions of a map of states with `size` numbers."""
    return parse_integer(k, "k", minimum=1, maximum=size, note="the size of a state")


def parse_x_T(denoiser: Denoiser, x_T: Any) -> torch.Tensor:
    """x_T [1, C, H, W] on the denoiser's device and in its precision, from one state of any array library."""
    check_denoiser(denoiser)
    state = as_state(x_T, shape=denoiser.shape, name="x_T")
    # A tensor that was made in inference mode has no derivatives, but its copy has.
    return state[None].to(denoiser.device, denoiser.dtype).clone()


def check_finite_derivatives(directions: torch.Tensor, denoiser: Denoiser) -> torch.Tensor:
    """The images of directions, if they are all finite."""
    if not torch.isfinite(directions).all():
        raise UserError(
            f"a derivative of {denoiser.name} is not finite along this trajectory; inspect its states with ds.denoise, or "
            f"load the denoiser with {spelled('dtype', 'float64')}"
        )
    return directions


def _vjp(result: torch.Tensor, source: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """directionsᵀ · ∂result/∂source; 0 if the result does not depend on the source."""
    if not result.requires_grad:
        return torch.zeros_like(source)
    (gradient,) = torch.autograd.grad(result, source, directions, allow_unused=True)
    return torch.zeros_like(source) if gradient is None else gradient
