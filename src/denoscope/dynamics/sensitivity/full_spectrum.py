"""All finite-time Lyapunov exponents of the denoising map, those far below the largest included."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, finite, map_of
from denoscope.dynamics.sensitivity.graded_svd import graded_svd
from denoscope.dynamics.sensitivity.spectrum import (
    Spectrum,
    beyond_precision,
    identity_of,
    logs,
    one_state,
    origin_of,
)
from denoscope.foundation import tensor_files
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.coercion import StateLike
from denoscope.sampling.settings import Loop, NoiseKind

if TYPE_CHECKING:
    import xarray

AT_ONCE = 32
"""Directions that go through the network in one call."""


@accepts_num_steps
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
) -> Spectrum:
    """All C·H·W finite-time exponents of x_T → x_0 at one x_T [1, C, H, W].

    The Jacobian of each step is computed whole, J = J_N … J_1, and their product is kept as a frame and a graded
    triangle, Q R_N … R_1. Its singular values come from one-sided Jacobi rotations, so that exponents far below the
    largest keep their digits, which an SVD of J itself would lose. `log_det` is computed apart, as the sum of ln|det J_k|
    by LU: it must be the exponents' sum. `residuals` are 0: nothing is iterated.

    Takes C·H·W rows back through the network for each step: minutes for 784 numbers, hours for 3,072. The rest is as
    for `spectrum`.

    Args:
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if the scheduler remembers earlier steps, a derivative is not finite, or the checkpoint exists.

    Source: Demmel et al., Linear Algebra and its Applications 299, 21 (1999), for graded matrices; Demmel and Veselić,
        SIAM J. Matrix Anal. Appl. 13, 1204 (1992), for one-sided Jacobi.
    """
    x_T, size = one_state(denoiser, x_T), math.prod(denoiser.shape)
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed, streams=checkpoint.streams)
    flow = map_of(denoiser, condition=condition, name=name, rows=AT_ONCE, loop=loop)
    flow.need_single_steps()
    origin = origin_of(flow)
    with checkpoint.open(_begun(flow, x_T, origin), sequential=True) as file:
        frame, product = (torch.from_numpy(file.data[name].values) for name in ("frame", "product"))
        log_det, done = file.data["log_det"].values, file.data["steps"].values
        for index, x in list(enumerate(flow.states(x_T)[:-1]))[int(done) :]:
            jacobian = _jacobian(flow, index, x)
            turned, triangle = torch.linalg.qr(jacobian @ frame)
            frame.copy_(turned)
            product.copy_(triangle @ product)
            log_det += float(torch.linalg.slogdet(jacobian).logabsdet)
            done += 1
            file.save()
            file.report(index + 1, steps)
    left, values, right = graded_svd(product)
    exponents, warnings = logs(values), []
    if not abs(float(exponents.sum()) - float(log_det)) <= 1e-6 * max(1.0, float(np.abs(exponents).sum())):
        warnings.append(
            f"the exponents add up to {exponents.sum():.6g}, ln|det| is {float(log_det):.6g}: some are rounding"
        )
    return Spectrum(
        exponents=exponents,
        left=(frame @ left).T.reshape(-1, *denoiser.shape),
        right=right.T.reshape(-1, *denoiser.shape),
        residuals=np.zeros(size),
        iterations=1,
        log_det=float(log_det),
        origin=origin,
        # In double precision the product keeps the digits of exponents however far below the largest.
        warnings=(
            *warnings,
            *([] if denoiser.dtype == torch.float64 else beyond_precision(exponents, denoiser.dtype)),
        ),
    )


def _begun(flow: DenoisingMap, x_T: torch.Tensor, origin: dict[str, Any]) -> xarray.Dataset:
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


def _jacobian(flow: DenoisingMap, index: int, x: torch.Tensor) -> torch.Tensor:
    """∂x_{k+1}/∂x_k of one step as a matrix [size, size], float64."""
    every = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape[1:])
    rows = [finite(flow.pull_step(index, x, part), flow.denoiser) for part in every.split(AT_ONCE)]
    return torch.cat(rows).flatten(1).double().cpu()
