"""Finite-time Lyapunov exponents of the denoising map: the singular values of ∂x_0/∂x_T."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope import provenance, seeds
from denoscope.conditioning import NOTHING, Condition
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.dynamics.denoising_map import DenoisingMap, map_of
from denoscope.dynamics.derivative import separation
from denoscope.dynamics.result import Result
from denoscope.errors import UserError
from denoscope.sampling import Loop, NoiseKind

Told = Callable[[int, int], None]
"""Is told (finished, at most) pieces of work."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum(Result):
    """The leading exponents of one sample's whole map x_T → x_0, or x_T → a layer's state, the largest first.

    `exponents` [k] are natural logarithms of singular values, for the whole map: a small difference of x_T along
    `right[i]` is exp(exponents[i]) times as large in x_0, where it lies along `left[i]`, both of unit L2 norm: right
    [k, C, H, W], left [k, …] as x_0 or the layer's state. `residuals` [k] are ‖Jᵀu − σv‖/σ: about how far, relatively,
    a singular value may be off at first order (the error is of second order in it). `log_det`, ln|det ∂x_0/∂x_T|, is
    there where all exponents are. `difference_errors` [k], where asked for, are ‖Jv − Δ‖/‖Jv‖ with Δ a central
    difference along `right[i]`.
    """

    exponents: np.ndarray
    left: torch.Tensor
    right: torch.Tensor
    residuals: np.ndarray
    iterations: int
    log_det: float | None = None
    difference_errors: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """Without the vectors, which are tensors to be saved as such."""
        return {name: value for name, value in super().to_dict().items() if name not in ("left", "right")}


def spectrum(
    denoiser: Denoiser,
    x_T: torch.Tensor,
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
    progress: Told | None = None,
) -> Spectrum:
    """The k largest finite-time Lyapunov exponents of x_T → x_0 at one x_T [1, C, H, W], by block subspace iteration.

    σ_i are the singular values of J = ∂x_0/∂x_T, the exponents ln σ_i, for the whole map of `steps` steps. A random
    block of k + `oversampling` directions goes forward through J (forward-mode derivatives) and back through Jᵀ
    (reverse mode, the network run again), orthonormalised in between, until no leading exponent moves by more than
    `tolerance` (absolute: relative in σ).

    How to read it: above 0, differences of the noise grow on the way to the image. A large value says "sensitive", not
    "fractal": on the straight boundary between two Gaussians it is 27 (see `verdict`).
    When it misleads: on a spectrum without gaps single vectors are arbitrary within their cluster, though the values
    are right. A scheduler that clips its estimate of x_0 (diffusers' default) is flat where it does, and so is this.
    In float32 an exponent more than ln 10⁷ ≈ 16 below the largest is rounding: load the denoiser with dtype="float64".
    Exponents by one pass of QR along the trajectory (`local_expansion`) are not these. Those of a layer's state are in
    the units of that layer: compare them between steps, not between layers.

    Args:
        x_T: float32 or float64; computed in the denoiser's own precision.
        layer: one layer by a query: then J = ∂h/∂x_T for its state h in step `step`, 0 or more, −1 for the last.
        differences: also compare the derivatives with central differences of the map itself, which knows nothing of
            automatic differentiation; a warning says where they do not agree. Takes 2k further denoisings.
        seed: of the block's first directions.
        name: of the sample, from which independent noise is drawn.
        progress: is told (iterations done, at most).

    Raises: UserError if k does not fit, or a derivative is not finite.

    Source: Halko, Martinsson and Tropp, SIAM Review 53, 217 (2011), algorithm 4.4; finite-time exponents after
        Lorenz, Tellus 17, 321 (1965).
    """
    x_T, size = one_state(denoiser, x_T), math.prod(denoiser.shape)
    block = min(checked_count(k, size) + max(0, oversampling), size)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed)
    flow = map_of(denoiser, condition=condition, name=name, rows=block, loop=loop, layer=layer, step=step)
    q = _orthonormal(_random_block(denoiser, block, seed))
    former, moved, warnings = None, math.inf, []
    for done in range(1, iterations + 1):
        forward = finite(flow.push(x_T, q), denoiser)
        checked_count(k, forward[0].numel())
        left, values, mix = _svd(forward)
        right = _mixed(q, mix)
        back = finite(flow.pull(x_T, left), denoiser)
        exponents = logs(values[:k])
        if progress:
            progress(done, iterations)
        moved = math.inf if former is None else float(np.max(np.abs(exponents - former)))
        if moved <= tolerance or block == size:
            break
        former, q = exponents, _orthonormal(back)
    else:
        warnings.append(
            f"after {iterations} iterations an exponent still moved by {moved:.1e}, more than {tolerance:.0e}; "
            "give more iterations or more oversampling"
        )
    off = back.double().flatten(1) - values[:, None].double() * right.double().flatten(1)
    residuals = (off.norm(dim=1) / values.double().clamp(min=torch.finfo(torch.float64).tiny))[:k].numpy()
    warnings += beyond_precision(exponents, denoiser.dtype)
    errors = difference_errors(flow, x_T, right[:k]) if differences else None
    warnings += _disagreeing(errors, denoiser.dtype)
    return Spectrum(
        exponents=exponents,
        left=left[:k],
        right=right[:k],
        residuals=residuals,
        iterations=done,
        log_det=float(exponents.sum()) if k == size and layer is None else None,
        difference_errors=errors,
        origin=origin_of(flow, seed=seed, block=block, tolerance=tolerance),
        warnings=tuple(warnings),
    )


def checked_count(k: int, size: int) -> int:
    """How many exponents are asked for, refused where there are not so many."""
    if not (isinstance(k, int) and 1 <= k <= size):
        raise UserError(f"k is {k!r}; allowed: 1 to {size}, the numbers in one state")
    return k


def one_state(denoiser: Denoiser, x_T: torch.Tensor) -> torch.Tensor:
    """x_T [1, C, H, W] in the denoiser's precision, from that or [C, H, W]."""
    shape = tuple(denoiser.shape)
    if not isinstance(x_T, torch.Tensor) or tuple(x_T.shape) not in (shape, (1, *shape)):
        found = list(x_T.shape) if isinstance(x_T, torch.Tensor) else type(x_T).__name__
        raise UserError(f"x_T is {found}; needed is one state {[1, *shape]}: take x.batch([k])")
    if not torch.isfinite(x_T).all():
        raise UserError("x_T holds NaN or Inf; a derivative there means nothing")
    return x_T.detach().reshape(1, *shape).to(denoiser.device, denoiser.dtype)


def finite(directions: torch.Tensor, denoiser: Denoiser) -> torch.Tensor:
    """The derivatives, refused where they are not finite."""
    if not torch.isfinite(directions).all():
        raise UserError(
            f"a derivative of {denoiser.name} is not finite along this trajectory; look at it first (ds.denoise), or "
            "load the denoiser with dtype='float64'"
        )
    return directions


def logs(values: torch.Tensor) -> np.ndarray:
    """Natural logarithms; −Inf for a direction that is lost altogether."""
    with np.errstate(divide="ignore"):
        return np.log(values.double().cpu().numpy())


def beyond_precision(exponents: np.ndarray, dtype: torch.dtype) -> list[str]:
    """A warning where exponents lie further below the largest than the precision resolves."""
    depth = -math.log(torch.finfo(dtype).eps)
    lost = int(np.sum(exponents < exponents[0] - depth))
    if not lost:
        return []
    told = str(dtype).removeprefix("torch.")
    return [
        f"{lost} of {len(exponents)} exponents lie more than {depth:.0f} below the largest, where {told} has only "
        "rounding; load the denoiser with dtype='float64'"
    ]


AGREEING = {torch.float32: 0.05, torch.float64: 1e-4}
"""How far a derivative and a central difference may lie apart, relatively, before it is warned of."""


def difference_errors(flow: DenoisingMap, x_T: torch.Tensor, directions: torch.Tensor) -> np.ndarray:
    """‖Jv − Δ‖/‖Jv‖ [k] with Δ = (Φ(x_T + hv) − Φ(x_T − hv))/2h for each row v of `directions`, Φ the map itself."""
    h = separation(x_T)
    above, below = (flow(x_T + sign * h * directions).double() for sign in (1, -1))
    derived = flow.push(x_T, directions).double()
    apart, size = (part.flatten(1).norm(dim=1) for part in (derived - (above - below) / (2 * h), derived))
    return (apart / size.clamp(min=torch.finfo(torch.float64).tiny)).cpu().numpy()


def _disagreeing(errors: np.ndarray | None, dtype: torch.dtype) -> list[str]:
    allowed = AGREEING.get(dtype, max(AGREEING.values()))
    if errors is None or (errors <= allowed).all():
        return []
    return [
        f"derivatives and central differences lie up to {errors.max():.1e} apart, relatively: the map has a kink near, such "
        f"as where its scheduler clips, or is rounded; trust exponents to that"
    ]


def origin_of(flow: DenoisingMap, **further: Any) -> dict[str, Any]:
    """What a derivative of the map was computed from."""
    options = InferenceConfig(
        num_steps=flow.loop.steps, noise=flow.loop.noise, lanes=flow.loop.lanes, extract_states=False
    )
    told = provenance.fingerprint(flow.denoiser, [], options, flow.loop.noise_seed, flow.condition)
    of = {"layer": flow.readout.layer.address, "step": flow.readout.step} if flow.readout else {}
    # Only independent noise is drawn from the sample's name.
    of |= {"sample": flow.name} if flow.loop.noise == "independent" else {}
    return {"model": flow.denoiser.name, "fingerprint": told, **of, **further}


def _random_block(denoiser: Denoiser, count: int, seed: int) -> torch.Tensor:
    drawn = [
        torch.randn(denoiser.shape, generator=seeds.generator("spectrum", seed, index))
        for index in range(count)
    ]
    return torch.stack(drawn).to(denoiser.device, denoiser.dtype)


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Directions [k, C, H, W] made orthonormal, in double precision."""
    q = torch.linalg.qr(rows.double().flatten(1).T).Q
    return q.T.reshape(rows.shape).to(rows.dtype)


def _svd(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left vectors [k, C, H, W], values [k] and the mixing [k, k] of the columns that `rows` are."""
    u, values, mix = torch.linalg.svd(rows.double().flatten(1).T, full_matrices=False)
    return u.T.reshape(rows.shape).to(rows.dtype), values, mix


def _mixed(rows: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """The combinations of directions [k, C, H, W] that belong to an SVD's values."""
    return (mix @ rows.double().flatten(1)).reshape(rows.shape).to(rows.dtype)
