"""The expansion of each denoising step along a frame of directions that the steps carry along."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.denoising_map import (
    DenoisingMap,
    check_finite_derivatives,
    map_of,
    parse_k,
    parse_x_T,
)
from denoscope.dynamics.sensitivity.exponents import (
    depth,
    derivative_precision,
    log_values,
    measured_rounding,
    precision_advice,
    resolved_depth,
    too_deep,
)
from denoscope.dynamics.sensitivity.origin import origin_of
from denoscope.foundation import random_streams
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.progress import Progress
from denoscope.foundation.validation import parse_integer
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.running import outside_inference_mode
from denoscope.noise.coercion import StateLike
from denoscope.sampling.settings import Loop, NoiseKind


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalExpansion(Result):
    """The expansion rates of each step.

    The frame is made orthonormal after each step, so that rates[:, :j].sum() is the growth of a j-dimensional volume over
    the whole map, for that one initial frame.

    Attributes:
        rates: [steps, k] natural logarithms of the factors by which each step stretches the directions of the frame. The
            first step includes the factor by which some schedulers (Euler) multiply x_T.
    """

    rows: ClassVar[Mapping[str, str]] = {"rates": "step"}
    rates: np.ndarray


@accepts_num_steps
@arguments_checked
@outside_inference_mode
def local_expansion(
    denoiser: Denoiser,
    x_T: StateLike,
    k: int = 8,
    *,
    steps: int = InferenceConfig.num_steps,
    seed: int = 0,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    name: str = DenoisingMap.name,
    condition: Condition = NOTHING,
    progress: Progress | None = None,
) -> LocalExpansion:
    """The local expansion of every step along one trajectory, by QR decomposition of a frame that is carried along.

    Rates are natural logarithms per step.

    Interpretation: the rates show at which steps small differences grow on the way from noise to image.

    Caveats: rates far below the largest of their step are rounding errors; a warning counts them. The sums of the
    columns over some fifty steps are NOT the exponents of the whole map (`spectrum`): they miss the leading exponents
    even in sign. Only for a frame of all C·H·W directions is the sum (ln|det|) independent of the initial frame.

    Args:
        x_T: one state [C, H, W] or [1, C, H, W]; it is converted to the denoiser's precision.
        k: the number of directions in the frame.
        seed: of the initial frame, which is random.
        progress: called with (finished steps, all steps).

    Raises: UserError if k is out of range, the scheduler uses earlier steps, or a derivative is not finite.

    Source: Benettin et al., Meccanica 15, 9 (1980), a single pass.
    """
    x_T = parse_x_T(denoiser, x_T)
    parse_k(k, x_T.numel())
    parse_integer(seed, "seed")
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed)
    flow = map_of(denoiser, condition=condition, name=name, rows=k, loop=loop)
    flow.check_single_steps()
    measured = []
    for stretch in _stretches(flow, x_T, _random_frame(x_T.numel(), k, seed)):
        measured.append(stretch)
        if progress:
            progress(len(measured), steps)
    rates = np.array([stretch.rates for stretch in measured])
    return LocalExpansion(
        rates=rates,
        origin=origin_of(flow, {"seed": seed}),
        warnings=_rounding_warnings(rates, _precision(flow, measured), denoiser.dtype),
    )


@dataclass(frozen=True, eq=False)
class _Stretch:
    """The rates [k] of a step that starts from the state x [1, C, H, W], and the direction [C, H, W] that grows most."""

    rates: np.ndarray
    index: int
    x: torch.Tensor
    leading: torch.Tensor


def _stretches(flow: DenoisingMap, x_T: torch.Tensor, frame: torch.Tensor) -> Iterator[_Stretch]:
    """The stretching of an orthonormal frame [C·H·W, k] by each step from x_T [1, C, H, W] on."""
    factor = math.log(flow.first_factor)
    for index, x in enumerate(flow.states(x_T)[:-1]):
        rows = frame.T.reshape(-1, *x.shape[1:]).to(x)
        images = check_finite_derivatives(flow.push_step(index, x, rows), flow.denoiser)
        next_frame, triangle = torch.linalg.qr(images.double().flatten(1).T.cpu())
        rates = log_values(triangle.diagonal().abs())
        leading = (frame @ torch.linalg.svd(triangle).Vh[0]).reshape(x.shape[1:])
        yield _Stretch(rates + factor if index == 0 else rates, index, x, leading)
        frame = next_frame


def _precision(flow: DenoisingMap, stretches: Sequence[_Stretch]) -> float:
    """The relative rounding error of a step's derivative, measured in the step whose rates differ most."""
    deepest = max(stretches, key=lambda stretch: float(depth(stretch.rates)))
    rounding = measured_rounding(
        lambda rows: flow.push_step(deepest.index, deepest.x, rows), deepest.leading.to(deepest.x)
    )
    return derivative_precision(rounding, deepest.x.dtype)


def _rounding_warnings(rates: np.ndarray, precision: float, dtype: torch.dtype) -> tuple[str, ...]:
    """A warning if a step shrinks directions so much more than others that their rates are rounding errors."""
    deep = too_deep(rates, precision)
    if not deep.any():
        return ()
    steps = ", ".join(map(str, np.flatnonzero(deep.any(axis=1))[:5]))
    more = ", …" if np.count_nonzero(deep.any(axis=1)) > 5 else ""
    advice = precision_advice(precision, dtype)
    return (
        f"{np.count_nonzero(deep)} of {deep.size} rates, in steps {steps}{more}, lie more than {resolved_depth(precision):.0f} below the "
        f"largest of their step, where rounding decides them{advice and f'; {advice}'}",
    )


def _random_frame(size: int, k: int, seed: int) -> torch.Tensor:
    drawn = [
        torch.randn(size, generator=random_streams.generator("frame", seed, index)) for index in range(k)
    ]
    return torch.linalg.qr(torch.stack(drawn, 1).double()).Q
