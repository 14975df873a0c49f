"""Derivatives of the denoising map along given directions, forward and back, through the loop that recordings use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from denoscope.dynamics.sensitivity.forward_mode import make_ready
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.tapped_network import Network, TappedNetwork
from denoscope.hooks.taps import tapped
from denoscope.models import matmul_precision
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.models.scheduler_steps import starting_sigma
from denoscope.models.schedulers import keeps_no_history
from denoscope.sampling.gradients import CheckpointedNetwork
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop
from denoscope.sampling.step import Step


@dataclass(frozen=True)
class Readout:
    """A layer's state in one step: all its calls and branches there."""

    layer: Layer
    step: int


@dataclass(frozen=True, eq=False)
class DenoisingMap:
    """x_T → x_0 of one sample, or x_T → a layer's state on the way, their parts, and their derivatives.

    A direction is a row [C, H, W]; several go through the network together, `loop.lanes` in a call. States and
    directions have the precision of the loop's states: float32 resolves a direction that shrinks to about 1e-7 of the
    one that grows most, float64 to 1e-16.

    Derivatives are those of what is computed: where a scheduler clips its estimate of x_0, as diffusers' DDPM and DDIM
    do unless told otherwise, nothing passes.
    """

    denoiser: Denoiser
    loop: Loop = field(default_factory=Loop)
    condition: Condition = NOTHING
    name: str = "sample_0000"
    """Of the sample, from which independent noise is drawn."""
    readout: Readout | None = None
    """What x_T is mapped to; x_0 unless given."""

    def __post_init__(self) -> None:
        check_denoiser(self.denoiser)

    @property
    def steps(self) -> int:
        """Steps of the loop, each a map of its own."""
        return self.loop.steps

    @property
    def first_factor(self) -> float:
        """What x_T is multiplied with before the first step."""
        return float(starting_sigma(self.loop.scheduler(self.denoiser)))

    def states(self, x_T: torch.Tensor) -> list[torch.Tensor]:
        """x_T as the loop begins with it, to x_0: what each step starts from, and the last result, [1, C, H, W]."""
        with self._computing():
            found = list(steps_of(self.denoiser, _plain(self.denoiser), x_T, *self._told(1)))
        return [found[0].x_before, *(step.x_after for step in found)]

    def noised(self, x_0: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Images x_0 [n, C, H, W] with noise, as step `index` starts from them."""
        scheduler = self.loop.scheduler(self.denoiser)
        if not hasattr(scheduler, "add_noise"):
            raise UserError(f"{type(scheduler).__name__} cannot noise images; take DDIM, DDPM or Euler")
        return scheduler.add_noise(x_0, noise, scheduler.timesteps[index].expand(len(x_0)))

    def from_step(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """x_0 [n, C, H, W] from what step `index` starts from; derivatives pass, if somebody asks for them."""
        with self._deriving():
            for step in steps_of(self.denoiser, _plain(self.denoiser), x, *self._told(len(x)), begin=index):
                x = step.x_after
        return x

    def __call__(self, x_T: torch.Tensor) -> torch.Tensor:
        """What x_T [n, C, H, W] is mapped to, [n, …]."""
        with self._computing():
            return self._end(_plain(self.denoiser), x_T)

    def push(self, x_T: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """J·v for each row v of `directions` [k, C, H, W], at x_T [1, C, H, W]; J = ∂x_0/∂x_T, or that of the readout."""
        return self._pushed(lambda rows: self._end(_plain(self.denoiser), rows), x_T, directions)

    def pull(self, x_T: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """uᵀ·J for each row u of `directions` [k, …], which are as x_0 or the readout, at x_T [1, C, H, W].

        The network runs again on the way back, so that memory holds one call's activations and one state a step.
        """
        with self._computing(), torch.enable_grad():
            rows = x_T.to(directions).expand(len(directions), *x_T.shape[1:]).clone().requires_grad_()
            return _derived(self._end(CheckpointedNetwork(self.denoiser), rows), rows, directions)

    def _end(self, network: Network, rows: torch.Tensor) -> torch.Tensor:
        """x_0 from rows of x_T, or what is read on the way."""
        run, x = steps_of(self.denoiser, network, rows, *self._told(len(rows))), rows * self.first_factor
        for step in itertools.islice(run, self.readout.step if self.readout else None):
            x = step.x_after
        return x if self.readout is None else self._read(self.readout, x)

    def _read(self, readout: Readout, x: torch.Tensor) -> torch.Tensor:
        """The state that is read in the step that starts from x."""
        denoiser, layer = self.denoiser, readout.layer
        with tapped(denoiser.network, denoiser.call, [layer], attached=True) as network:
            run = steps_of(denoiser, network, x, *self._told(len(x)), begin=readout.step)
            step = next(run)
        if step.skipped:
            raise UserError(
                f"layer {layer.address!r} is not called in step {readout.step}; name another step"
            )
        return step.states[layer.address]

    def push_step(self, index: int, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """∂x_{k+1}/∂x_k · v of step k = `index` alone, at what it starts from."""
        return self._pushed(lambda rows: self._one(index, rows).x_after, x, directions)

    def pull_step(self, index: int, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """uᵀ · ∂x_{k+1}/∂x_k of step k = `index` alone, at what it starts from."""
        with self._computing(), torch.enable_grad():
            rows = x.to(directions).expand_as(directions).clone().requires_grad_()
            return _derived(self._one(index, rows).x_after, rows, directions)

    def need_single_steps(self) -> None:
        """Refuse a scheduler whose step depends on more than the state it starts from."""
        if not keeps_no_history(self.denoiser.scheduler):
            raise UserError(
                f"{type(self.denoiser.scheduler).__name__} remembers earlier steps, so that a single one has no "
                "derivative of its own; allowed: DDIM, DDPM, Euler, EulerAncestral, FlowMatchEuler"
            )

    def _one(self, index: int, rows: torch.Tensor) -> Step:
        """One step of the loop."""
        run = steps_of(self.denoiser, _plain(self.denoiser), rows, *self._told(len(rows)), begin=index)
        return next(run)

    def _pushed(self, run: Any, x: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        make_ready()
        with self._computing(), forward_ad.dual_level():
            rows = x.to(directions).expand_as(directions).contiguous()
            result = forward_ad.unpack_dual(run(forward_ad.make_dual(rows, directions.contiguous())))
            found = result.tangent
            return torch.zeros_like(result.primal) if found is None else found.detach()

    def _told(self, rows: int) -> tuple[Loop, list[str], Condition]:
        return self.loop, [self.name] * rows, self.condition

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.no_grad(), self._deriving():
            yield

    @contextmanager
    def _deriving(self) -> Iterator[None]:
        with (
            self.denoiser.running(),
            matmul_precision.exact(self.denoiser.device, tf32=self.loop.tf32),
            _Derivable(),
            # Fused attention has no forward derivative.
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield


class _Derivable(TorchFunctionMode):
    """Spells out what PyTorch cannot derive forward as it stands: group norms of what is not contiguous."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.group_norm:
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))


def _plain(denoiser: Denoiser) -> TappedNetwork:
    """The network alone, which keeps what derivatives need."""
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
    """The map for directions that come `rows` at a time; to x_0, or to the state of a layer in a step."""
    lanes, condition = rows if rows <= 4 else min(-(-rows // 4) * 4, MOST_LANES), of_first(condition)
    readout = None if layer is None else _readout(denoiser, layer, step, loop.steps, condition)
    return DenoisingMap(denoiser, replace(loop, lanes=lanes), condition, name, readout)


def finite(directions: torch.Tensor, denoiser: Denoiser) -> torch.Tensor:
    """The derivatives, refused where they are not finite."""
    if not torch.isfinite(directions).all():
        raise UserError(
            f"a derivative of {denoiser.name} is not finite along this trajectory; look at it first (ds.denoise), or "
            "load the denoiser with dtype='float64'"
        )
    return directions


def _readout(denoiser: Denoiser, layer: str, step: int, steps: int, condition: Condition) -> Readout:
    parse_integer(step, "step", minimum=-steps, maximum=steps - 1, note="counted from the end below 0")
    return Readout(denoiser.one_layer(layer, condition.inputs), step % steps)


MOST_LANES = 32


def _derived(result: torch.Tensor, by: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    if not result.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(result, by, directions, allow_unused=True)
    return torch.zeros_like(by) if found is None else found
