"""Finite-time Lyapunov exponents of the denoising map: the singular values of ∂x_0/∂x_T."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.block_krylov import random_block
from denoscope.dynamics.sensitivity.central_differences import difference_errors, difference_warnings
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, map_of, parse_k, parse_x_T
from denoscope.dynamics.sensitivity.exponents import derivative_precision, precision_warnings, spoiled
from denoscope.dynamics.sensitivity.krylov_state import (
    initial_state,
    iterate,
    measure_rounding,
    refine_small_values,
)
from denoscope.dynamics.sensitivity.origin import identity_of, origin_of
from denoscope.dynamics.sensitivity.step_jacobian import AGREEMENT, log_determinant
from denoscope.foundation import tensor_files
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer, parse_real
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_differentiable
from denoscope.models.running import outside_inference_mode
from denoscope.noise.coercion import StateLike
from denoscope.sampling.settings import Loop, NoiseKind

if TYPE_CHECKING:
    import xarray

METHOD = "block Krylov iteration"


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum(Result):
    """The leading exponents of one sample's map x_T → x_0, or x_T → a layer's state, in descending order.

    Attributes:
        exponents: [k] natural logarithms of singular values, for the whole map. A small difference of x_T along
            `right[i]` is exp(exponents[i]) times as large in x_0, where it points along `left[i]`.
        left, right: [k, …] and [k, C, H, W], singular vectors of unit L2 norm; `left` has the shape of x_0 or of the
            layer's state.
        residuals: [k] ‖Jᵀu − σv‖/σ, the first-order bound on the relative error of a singular value, whose error is of
            second order in it.
        iterations: iterations that were needed.
        log_det: ln|det ∂x_0/∂x_T|, if all exponents were computed: their sum or, where rounding may change it by more
            than 1e-6, the sum over steps of ln|det J_k| by LU. None if rounding spoils both.
        difference_errors: [k] ‖Jv − Δ‖/‖Jv‖ with Δ a central difference along `right[i]`, if requested.
    """

    unstored: ClassVar[tuple[str, ...]] = ("left", "right")
    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("exponents", "residuals", "difference_errors"), "exponent"
    )
    exponents: np.ndarray
    left: torch.Tensor
    right: torch.Tensor
    residuals: np.ndarray
    iterations: int
    log_det: float | None = None
    difference_errors: np.ndarray | None = None


@accepts_num_steps
@arguments_checked
@outside_inference_mode
def spectrum(
    denoiser: Denoiser,
    x_T: StateLike,
    k: int = 8,
    *,
    steps: int = InferenceConfig.num_steps,
    layer: str | None = None,
    step: int = -1,
    seed: int = 0,
    oversampling: int = 4,
    tolerance: float = 1e-3,
    iterations: int = 20,
    differences: bool = False,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    name: str = DenoisingMap.name,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> Spectrum:
    """The k largest finite-time Lyapunov exponents of x_T → x_0 at one x_T, by block Krylov iteration.

    The exponents are ln σ_i for the whole map of `steps` steps, with σ_i the singular values of J = ∂x_0/∂x_T. A random
    block of k + `oversampling` directions goes forward through J (forward-mode differentiation) and back through Jᵀ
    (reverse mode, for which the network runs again). What is new in the result joins the span of all earlier directions.
    The singular values of J within the span grow towards the true ones, with or without gaps between them.

    The iteration stops when no exponent is expected to grow by more than `tolerance`. Without gaps the remaining growth
    falls as 1/n² after n iterations and is n/2 times the last move. The estimate is the smaller of two: n/2 times the
    larger of the last two moves, and the largest of the last move and the residuals.

    Interpretation: an exponent above 0 means that differences of the noise grow on the way to the image.

    Caveats: a large exponent shows sensitivity, not a fractal; on the straight boundary between two Gaussians it is
    27 (see `verdict`). In a spectrum without gaps the values are right, but single vectors are arbitrary within their
    cluster. Where a scheduler clips its estimate of x_0 (diffusers' default), the map is flat and its derivative is
    0. A warning names the exponents that rounding spoils: those further below the largest than −ln(10 ε ‖J‖_F/σ₁),
    with ε the relative rounding error of the derivative (14 in float32, 34 in float64), and those whose residual
    exceeds √tolerance. ε is measured, since some schedulers (Euler, DPM-Solver++, flow matching) compute in float32
    even in float64. Exponents from one pass of QR along the trajectory (`local_expansion`) differ from these.
    Exponents of a layer's state are in the units of that layer: compare them between steps, not between layers.

    Args:
        x_T: one state [C, H, W] or [1, C, H, W]; it is converted to the denoiser's precision.
        k: the number of exponents.
        layer: a query for one layer; J is then ∂h/∂x_T with its state h in step `step`.
        step: the step of the layer's state; negative numbers count from the end.
        seed: of the random block.
        oversampling: directions in the block beyond k.
        iterations: the largest number of iterations.
        differences: also compare the derivatives with central differences of the map, which do not rely on automatic
            differentiation, and warn if they disagree. It costs 2k more denoisings.
        noise: what a stochastic scheduler adds, as for `ds.denoise`; `noise_seed` is its seed, and independent noise is
            drawn from the sample's `name`.
        checkpoint: a file (.npz) for the span and its exponents after each iteration, or a `Checkpoint`.

    Raises: UserError if an argument is out of range, a derivative is not finite, or the checkpoint does not fit.

    Source: Golub, Luk and Overton, ACM Trans. Math. Softw. 7, 149 (1981); convergence without gaps: Musco and Musco,
        Advances in Neural Information Processing Systems 28 (2015). Finite-time exponents after Lorenz, Tellus 17, 321
        (1965).
    """
    x_T = parse_x_T(denoiser, x_T)
    size = x_T.numel()
    parse_k(k, size)
    block = min(k + parse_integer(oversampling, "oversampling"), size)
    parse_integer(iterations, "iterations", minimum=1)
    parse_integer(seed, "seed")
    parse_real(tolerance, "tolerance", minimum=0)
    if layer is None and not (isinstance(step, int) and step == -1):
        raise UserError(f"{spelled('step', step)} needs a layer; add {spelled('layer', 'mid_block')}")
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed, streams=checkpoint.streams)
    flow = map_of(denoiser, condition=condition, name=name, rows=block, loop=loop, layer=layer, step=step)
    check_differentiable(denoiser)
    origin = origin_of(flow, {"seed": seed, "block": block, "tolerance": tolerance})
    identity = {
        "x_T": tensor_files.sha256(x_T),
        "k": k,
        "iterations": iterations,
        "by": METHOD,
        **identity_of(origin),
    }
    with checkpoint.open(
        initial_state(random_block(denoiser, block, seed), k, identity), sequential=True
    ) as work:
        work.run(iterate(flow, x_T, work.data, iterations=iterations, tolerance=tolerance), iterations)
        measure_rounding(flow, x_T, work.data)
        refine_small_values(flow, x_T, work.data)
        if differences and "difference_errors" not in work.data:
            errors = difference_errors(flow, x_T, torch.tensor(work.data["right"].to_numpy()).to(x_T))
            work.data["difference_errors"] = ("exponent", errors)
    return _result(flow, work.data, x_T, origin, iterations=iterations, differences=differences)


def _result(
    flow: DenoisingMap,
    data: xarray.Dataset,
    x_T: torch.Tensor,
    origin: dict[str, Any],
    *,
    iterations: int,
    differences: bool,
) -> Spectrum:
    """The result from the state of the iteration."""
    exponents, residuals = (data[name].to_numpy() for name in ("exponents", "residuals"))
    left, right = (torch.tensor(data[name].to_numpy()).to(x_T) for name in ("left", "right"))
    errors = data["difference_errors"].to_numpy() if differences else None
    precision, left_to_come = (
        derivative_precision(float(data["rounding"]), x_T.dtype),
        float(data["left_to_come"]),
    )
    unresolved = spoiled(
        exponents,
        # Large residuals of an iteration that ended too early are not rounding errors.
        residuals if left_to_come <= origin["tolerance"] else np.zeros_like(residuals),
        precision=precision,
        spread=_spread(data),
        tolerance=origin["tolerance"],
    )
    is_whole = len(exponents) == x_T.numel() and flow.readout is None
    return Spectrum(
        exponents=exponents,
        left=left,
        right=right,
        residuals=residuals,
        iterations=int(data["iterations"]),
        log_det=_log_det(flow, x_T, exponents, unresolved, precision * _spread(data)) if is_whole else None,
        difference_errors=errors,
        origin=origin,
        warnings=(
            *_convergence_warnings(left_to_come, origin["tolerance"], iterations),
            *precision_warnings(exponents, unresolved, precision=precision, dtype=x_T.dtype),
            *difference_warnings(errors, x_T.dtype),
        ),
    )


def _spread(data: xarray.Dataset) -> float:
    """‖J‖_F/σ₁, from the images of all directions in the span."""
    largest = float(np.exp(data["exponents"].to_numpy()[0]))
    return max(float(np.linalg.norm(data["images"].to_numpy())) / largest, 1.0) if largest > 0 else 1.0


def _log_det(
    flow: DenoisingMap, x_T: torch.Tensor, exponents: np.ndarray, unresolved: np.ndarray, rounding: float
) -> float | None:
    """ln|det J| from all exponents, or from the Jacobians of the steps where rounding changes the sum of the exponents.

    `rounding` is the error of a singular value, relative to the largest.
    """
    total = float(exponents.sum())
    if unresolved.any():
        return log_determinant(flow, x_T)
    if not np.isfinite(total) or exponents[0] + np.logaddexp.reduce(-exponents) <= math.log(
        AGREEMENT / rounding
    ):
        return total
    by_steps = log_determinant(flow, x_T)
    return total if by_steps is None else by_steps


def _convergence_warnings(left_to_come: float, tolerance: float, iterations: int) -> list[str]:
    """A warning if the iteration ended before the exponents converged."""
    if left_to_come <= tolerance:
        return []
    return [
        f"after {iterations} iterations an exponent may still grow by about {left_to_come:.1e}, more than the tolerance "
        f"{tolerance:.0e}; increase {spelled('iterations')} or {spelled('oversampling')}"
    ]
