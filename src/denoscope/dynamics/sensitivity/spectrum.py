"""Finite-time Lyapunov exponents of the denoising map: the singular values of ∂x_0/∂x_T."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.result import Result
from denoscope.dynamics.sensitivity.central_differences import difference_errors, disagreeing
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, map_of
from denoscope.dynamics.sensitivity.maps import checked_count
from denoscope.dynamics.sensitivity.subspace import Leading, Span, extended, first_block, leading, refined
from denoscope.foundation import tensor_files
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_integer, parse_real
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.coercion import StateLike, as_state
from denoscope.recording import provenance
from denoscope.sampling.settings import Loop, NoiseKind

if TYPE_CHECKING:
    import xarray

BY = "block Krylov iteration"
FINE = 1e-5
"""Relative error by rounding, above which values are computed once more."""
LARGEST_LOG = 700.0
"""Whose exponential float64 holds."""
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


@accepts_num_steps
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
    """The k largest finite-time Lyapunov exponents of x_T → x_0 at one x_T [1, C, H, W], by block Krylov iteration.

    σ_i are the singular values of J = ∂x_0/∂x_T, the exponents ln σ_i, for the whole map of `steps` steps. A random
    block of k + `oversampling` directions goes forward through J (forward-mode derivatives) and back through Jᵀ
    (reverse mode, the network run again); what is new in it joins the span of all before, in which J's singular values
    are taken: they grow towards the true ones, with or without gaps between these. It ends when what is left to come is
    below `tolerance` (absolute: relative in σ) for all k. Without gaps that falls as 1/n² with n iterations, and is then
    n/2 times the last move; it is taken for that, of the larger of the last two moves, or for the largest of the last move
    and of the residuals, if that is less.

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
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if k does not fit, a derivative is not finite, or the checkpoint exists.

    Source: Golub, Luk and Overton, ACM Trans. Math. Softw. 7, 149 (1981); convergence without gaps: Musco and Musco,
        Advances in Neural Information Processing Systems 28 (2015). Finite-time exponents after Lorenz, Tellus 17, 321
        (1965).
    """
    x_T, size = one_state(denoiser, x_T), math.prod(denoiser.shape)
    block = min(checked_count(k, size) + parse_integer(oversampling, "oversampling"), size)
    parse_integer(iterations, "iterations", minimum=1)
    parse_integer(seed, "seed")
    parse_real(tolerance, "tolerance", minimum=0)
    if layer is None and step != -1:
        raise UserError(
            f"step is {describe(step)}, and no layer is named; name one (layer=…), or leave the step out"
        )
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed, streams=checkpoint.streams)
    flow = map_of(denoiser, condition=condition, name=name, rows=block, loop=loop, layer=layer, step=step)
    origin = origin_of(flow, seed=seed, block=block, tolerance=tolerance)
    asked = {
        "x_T": tensor_files.sha256(x_T),
        "k": k,
        "iterations": iterations,
        "by": BY,
        **identity_of(origin),
    }
    fresh = _begun(first_block(denoiser, block, seed), k, asked)
    with checkpoint.open(fresh, sequential=True) as file:
        while not file.data["left_to_come"] <= tolerance and file.data["iterations"] < iterations:
            file.data = _iterated(flow, x_T, file.data)
            file.save()
            file.report(int(file.data["iterations"]), iterations)
        if _fine_values_are_lost(file.data, x_T.dtype):
            file.data = _refined(flow, x_T, file.data)
        data = file.data
        left, right = (torch.tensor(data[name].to_numpy()).to(x_T) for name in ("left", "right"))
        if differences and "difference_errors" not in data:
            file.data = data = data.assign(
                difference_errors=("exponent", difference_errors(flow, x_T, right))
            )
    exponents, left_to_come = data["exponents"].to_numpy(), float(data["left_to_come"])
    errors = data["difference_errors"].to_numpy() if differences else None
    return Spectrum(
        exponents=exponents,
        left=left,
        right=right,
        residuals=data["residuals"].to_numpy(),
        iterations=int(data["iterations"]),
        log_det=float(exponents.sum()) if k == size and layer is None else None,
        difference_errors=errors,
        origin=origin,
        warnings=(
            *_still_moving(left_to_come, tolerance, iterations),
            *beyond_precision(exponents, denoiser.dtype),
            *disagreeing(errors, denoiser.dtype),
        ),
    )


def _begun(block: torch.Tensor, k: int, identity: dict[str, Any]) -> xarray.Dataset:
    """The span before its first iteration, which shows nothing yet."""
    import xarray

    none = torch.zeros(0, *block.shape[1:], dtype=torch.float64)
    return xarray.Dataset(
        {
            **_kept(Span(block, none, none, none)),
            "exponents": ("exponent", np.full(k, np.nan)),
            "move": ((), np.array(np.inf)),
            "left_to_come": ((), np.array(np.inf)),
            "iterations": ((), np.array(0)),
        },
        attrs={IDENTITY: identity},
    )


def _iterated(flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset) -> xarray.Dataset:
    """The dataset after one more iteration."""
    k = data.sizes["exponent"]
    span = extended(flow, x_T, Span(*(torch.tensor(data[name].to_numpy()) for name in Span._fields)))
    shown = leading(span)
    checked_count(k, span.images[0].numel())
    variables = _shown(shown, k)
    exponents = variables["exponents"][1]
    move, done = _moved(exponents, data["exponents"].to_numpy()), int(data["iterations"]) + 1
    # Of two moves: in one nothing may show because the block has hardly met the leading direction yet.
    by_moves = done / 2 * max(move, float(data["move"]))
    left_to_come = 0.0 if span.exhausted else min(by_moves, max(move, float(shown.residuals[:k].max())))
    return data.drop_vars(Span._fields).assign(
        {
            **_kept(span),
            **variables,
            "move": ((), np.array(move)),
            "left_to_come": ((), np.array(left_to_come)),
            "iterations": ((), np.array(done)),
        }
    )


def _fine_values_are_lost(data: xarray.Dataset, dtype: torch.dtype) -> bool:
    """Whether rounding of the largest value may have changed the smallest that is asked for."""
    largest, smallest = (float(data["exponents"][k]) for k in (0, -1))
    if "refined" in data or math.isinf(largest):
        return False
    return torch.finfo(dtype).eps * math.exp(min(largest - smallest, LARGEST_LOG)) > FINE


def _refined(flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset) -> xarray.Dataset:
    """The dataset with the exponents of its vectors sent through the map once more."""
    shown = refined(flow, x_T, torch.tensor(data["right"].to_numpy()))
    return data.assign({**_shown(shown, data.sizes["exponent"]), "refined": ((), np.array(True))})


def _shown(found: Leading, k: int) -> dict[str, Any]:
    """The first k of what a span shows as variables of a dataset."""
    inner = {
        name: [f"{name}_{axis}" for axis in range(rows.ndim - 1)] for name, rows in found._asdict().items()
    }
    kept = {"exponents": logs(found.values[:k])} | {
        name: getattr(found, name)[:k].numpy() for name in ("left", "right", "residuals")
    }
    return {name: (("exponent", *inner.get(name, ())), rows) for name, rows in kept.items()}


def _kept(span: Span) -> dict[str, Any]:
    """The span as variables of a dataset."""
    return {
        name: ([f"{name}_{axis}" for axis in range(rows.ndim)], rows.numpy())
        for name, rows in span._asdict().items()
    }


def _moved(exponents: np.ndarray, former: np.ndarray) -> float:
    """The most that an exponent differs from what it was; ∞ where that is not known."""
    with np.errstate(invalid="ignore"):  # of −∞ − (−∞), which is no move
        moves = np.where(exponents == former, 0.0, np.abs(exponents - former))
    return float(np.nan_to_num(moves, nan=np.inf).max())


def _still_moving(left_to_come: float, tolerance: float, iterations: int) -> list[str]:
    """A warning where iterations ended before the exponents stood."""
    if left_to_come <= tolerance:
        return []
    return [
        f"after {iterations} iterations an exponent may still grow by about {left_to_come:.1e}, more than {tolerance:.0e}; "
        "give more iterations or more oversampling"
    ]


def one_state(denoiser: Denoiser, x_T: StateLike) -> torch.Tensor:
    """x_T [1, C, H, W] in the denoiser's precision; see `as_state`."""
    check_denoiser(denoiser)
    state = as_state(x_T, shape=denoiser.shape, name="x_T")
    return state[None].to(denoiser.device, denoiser.dtype)


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
    advice = (
        "full_spectrum keeps their digits"
        if dtype == torch.float64
        else "load the denoiser with dtype='float64'"
    )
    return [
        f"{lost} of {len(exponents)} exponents lie more than {depth:.0f} below the largest, where {told} has only "
        f"rounding; {advice}"
    ]


def origin_of(flow: DenoisingMap, **further: Any) -> dict[str, Any]:
    """What a derivative of the map was computed from."""
    fingerprint = provenance.fingerprint(flow.denoiser, flow.loop, flow.condition)
    of = {"layer": flow.readout.layer.address, "step": flow.readout.step} if flow.readout else {}
    # Only independent noise is drawn from the sample's name.
    of |= {"sample": flow.name} if flow.loop.noise == "independent" else {}
    # In a fingerprint what samples are told is an input, like their noises.
    of |= {"condition_sha256": flow.condition.digest()} if flow.condition.inputs else {}
    return {"model": flow.denoiser.name, "fingerprint": fingerprint, **of, **further}


def identity_of(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What of an origin decides the numbers: not what the model is called, but what is in it."""
    rest = {name: value for name, value in origin.items() if name not in ("model", "fingerprint")}
    return {**origin["fingerprint"], **rest}
