"""All finite-time Lyapunov exponents of the denoising map, including those far below the largest."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, map_of, parse_x_T
from denoscope.dynamics.sensitivity.exponents import (
    derivative_precision,
    log_values,
    precision_warnings,
    resolved_depth,
    spread_of,
)
from denoscope.dynamics.sensitivity.graded_svd import graded_svd
from denoscope.dynamics.sensitivity.origin import identity_of, origin_of
from denoscope.dynamics.sensitivity.shared_jacobians import shared_jacobians
from denoscope.dynamics.sensitivity.spectrum import Spectrum
from denoscope.dynamics.sensitivity.step_jacobian import AT_ONCE, StepJacobians, log_abs_det
from denoscope.foundation import tensor_files
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_differentiable
from denoscope.models.running import outside_inference_mode
from denoscope.noise.coercion import StateLike
from denoscope.sampling.settings import Loop, NoiseKind

if TYPE_CHECKING:
    import xarray
    from distributed import Client

ROUNDING = 1e-6
"""The relative difference between the sum of the exponents and ln|det| above which there is a warning."""


@accepts_num_steps
@arguments_checked
@outside_inference_mode
def full_spectrum(
    denoiser: Denoiser,
    x_T: StateLike,
    *,
    steps: int = InferenceConfig.num_steps,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    name: str = DenoisingMap.name,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    cluster: Client | None = None,
    allow_different_devices: bool = False,
) -> Spectrum:
    """All C·H·W finite-time exponents of x_T → x_0 at one x_T.

    The Jacobian of each step is computed whole. The product J = J_N … J_1 is held as an orthonormal frame and a graded
    triangular matrix, Q R_N … R_1, whose singular values come from a Jacobi SVD: exponents far below the largest keep
    their digits, which an SVD of J itself would lose. `log_det` is computed independently, as the sum of ln|det J_k| by
    LU; it must equal the sum of the exponents. `residuals` are 0, because nothing is iterated.

    It costs C·H·W reverse passes of the network per step: about half an hour on one core for 784 numbers and 50 steps of
    `mnist`. Interpretation and caveats are those of `spectrum`.

    Args:
        x_T: one state [C, H, W] or [1, C, H, W]; it is converted to the denoiser's precision.
        checkpoint: a file (.npz) for the product of the steps, or a `Checkpoint`.
        cluster: a client of the workers that compute the rows of the Jacobians, a dask.distributed.Client; the result has
            the bits of one process.
        allow_different_devices: let workers with different devices share the work.

    Raises: UserError if the scheduler uses earlier steps, a derivative is not finite, the checkpoint does not fit, or a
        worker would compute something else.

    Source: Demmel et al., Linear Algebra and its Applications 299, 21 (1999), for graded matrices; Drmač and Veselić,
        SIAM J. Matrix Anal. Appl. 29, 1322 (2008), for the SVD.
    """
    x_T, checkpoint = parse_x_T(denoiser, x_T), parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed, streams=checkpoint.streams)
    flow = map_of(denoiser, condition=condition, name=name, rows=AT_ONCE, loop=loop)
    check_differentiable(denoiser)
    flow.check_single_steps()
    origin = origin_of(flow)
    checkpoint.check_free()
    shared = shared_jacobians(
        flow,
        x_T,
        origin,
        cluster,
        allow_different_devices=allow_different_devices,
        kept=checkpoint.how_to_continue,
    )
    with (
        shared as (jacobians, origin),
        checkpoint.open(_initial_product(flow, x_T, origin), sequential=True) as work,
    ):
        work.run(_multiply_steps(jacobians, work.data), steps)
    frame, product = (torch.from_numpy(work.data[name].values) for name in ("frame", "product"))
    left, values, right = graded_svd(product)
    exponents, log_det = log_values(values), float(work.data["log_det"])
    return Spectrum(
        exponents=exponents,
        left=(frame @ left).T.reshape(-1, *denoiser.shape),
        right=right.T.reshape(-1, *denoiser.shape),
        residuals=np.zeros(x_T.numel()),
        iterations=1,
        log_det=log_det,
        origin=origin,
        warnings=tuple(_rounding_warnings(exponents, log_det, denoiser.dtype)),
    )


def _multiply_steps(jacobians: StepJacobians, data: xarray.Dataset) -> Iterator[int]:
    """Multiply the Jacobians of the remaining steps to the product in `data`, yielding the number of steps in it.

    Args:
        data: `frame` Q, `product` R_k … R_1, `log_det` and the number of `steps`; updated in place.
    """
    frame, product = (torch.from_numpy(data[name].values) for name in ("frame", "product"))
    log_det, done = data["log_det"].values, data["steps"].values
    for jacobian in jacobians(int(done)):
        rotated, triangle = torch.linalg.qr(jacobian @ frame)
        frame.copy_(rotated)
        product.copy_(triangle @ product)
        log_det += log_abs_det(jacobian)
        done += 1
        yield int(done)


def _initial_product(flow: DenoisingMap, x_T: torch.Tensor, origin: dict[str, Any]) -> xarray.Dataset:
    """The product before the first step."""
    import xarray

    size, square = x_T.numel(), ("row", "column")
    return xarray.Dataset(
        {
            "frame": (square, np.eye(size)),
            "product": (square, flow.first_factor * np.eye(size)),
            "log_det": ((), np.array(size * math.log(flow.first_factor))),
            "steps": ((), np.array(0)),
        },
        attrs={IDENTITY: {"x_T": tensor_files.sha256(x_T), **identity_of(origin)}},
    )


def _rounding_warnings(exponents: np.ndarray, log_det: float, dtype: torch.dtype) -> list[str]:
    """Warnings if exponents are rounding errors."""
    warnings = []
    if not abs(float(exponents.sum()) - log_det) <= ROUNDING * max(1.0, float(np.abs(exponents).sum())):
        warnings.append(
            f"the exponents sum to {exponents.sum():.6g}, but ln|det| is {log_det:.6g}: some are rounding errors"
        )
    # In float64 the product keeps the digits of exponents however far they are below the largest.
    if dtype == torch.float64:
        return warnings
    precision = derivative_precision(0.0, dtype)
    unresolved = exponents < exponents[0] - resolved_depth(precision, spread_of(exponents))
    return [*warnings, *precision_warnings(exponents, unresolved, precision=precision, dtype=dtype)]
