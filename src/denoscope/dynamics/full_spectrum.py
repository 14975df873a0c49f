"""All finite-time Lyapunov exponents of the denoising map, those far below the largest included."""

from __future__ import annotations

import math

import numpy as np
import torch

from denoscope.conditioning import NOTHING, Condition
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.dynamics.denoising_map import DenoisingMap, map_of
from denoscope.dynamics.jacobi import graded_svd
from denoscope.dynamics.spectrum import Spectrum, Told, beyond_precision, finite, logs, one_state, origin_of
from denoscope.sampling import Loop, NoiseKind

AT_ONCE = 32
"""Directions that go through the network in one call."""


def full_spectrum(
    denoiser: Denoiser,
    x_T: torch.Tensor,
    *,
    steps: int = InferenceConfig.num_steps,
    noise: NoiseKind = InferenceConfig.noise,
    noise_seed: int = SystemConfig.seed,
    name: str = DenoisingMap.name,
    condition: Condition = NOTHING,
    progress: Told | None = None,
) -> Spectrum:
    """All C·H·W finite-time exponents of x_T → x_0 at one x_T [1, C, H, W].

    The Jacobian of each step is computed whole, J = J_N … J_1, and their product is kept as a frame and a graded
    triangle, Q R_N … R_1. Its singular values come from one-sided Jacobi rotations, so that exponents far below the
    largest keep their digits, which an SVD of J itself would lose. `log_det` is computed apart, as the sum of ln|det J_k|
    by LU: it must be the exponents' sum. `residuals` are 0: nothing is iterated.

    Takes C·H·W rows back through the network for each step: minutes for 784 numbers, hours for 3,072. The rest is as
    for `spectrum`.

    Args:
        progress: is told (steps done, all of them).

    Raises: UserError if the scheduler remembers earlier steps, or a derivative is not finite.

    Source: Demmel et al., Linear Algebra and its Applications 299, 21 (1999), for graded matrices; Demmel and Veselić,
        SIAM J. Matrix Anal. Appl. 13, 1204 (1992), for one-sided Jacobi.
    """
    x_T, size = one_state(denoiser, x_T), math.prod(denoiser.shape)
    loop = Loop(steps=steps, noise=noise, noise_seed=noise_seed)
    flow = map_of(denoiser, condition=condition, name=name, rows=AT_ONCE, loop=loop)
    flow.need_single_steps()
    frame, product, log_det = torch.eye(size).double(), flow.first_factor * torch.eye(size).double(), 0.0
    log_det += size * math.log(flow.first_factor)
    for index, x in enumerate(flow.states(x_T)[:-1]):
        jacobian = _jacobian(flow, index, x)
        frame, triangle = torch.linalg.qr(jacobian @ frame)
        product = triangle @ product
        log_det += float(torch.linalg.slogdet(jacobian).logabsdet)
        if progress:
            progress(index + 1, steps)
    left, values, right = graded_svd(product)
    exponents, warnings = logs(values), []
    if not abs(float(exponents.sum()) - log_det) <= 1e-6 * max(1.0, float(np.abs(exponents).sum())):
        warnings.append(
            f"the exponents add up to {exponents.sum():.6g}, ln|det| is {log_det:.6g}: some are rounding"
        )
    return Spectrum(
        exponents=exponents,
        left=(frame @ left).T.reshape(-1, *denoiser.shape),
        right=right.T.reshape(-1, *denoiser.shape),
        residuals=np.zeros(size),
        iterations=1,
        log_det=log_det,
        origin=origin_of(flow),
        warnings=(*warnings, *beyond_precision(exponents, denoiser.dtype)),
    )


def _jacobian(flow: DenoisingMap, index: int, x: torch.Tensor) -> torch.Tensor:
    """∂x_{k+1}/∂x_k of one step as a matrix [size, size], float64."""
    every = torch.eye(x.numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape[1:])
    rows = [finite(flow.pull_step(index, x, part), flow.denoiser) for part in every.split(AT_ONCE)]
    return torch.cat(rows).flatten(1).double().cpu()
