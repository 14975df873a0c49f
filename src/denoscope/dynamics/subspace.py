"""A block of directions at x_T, turned towards those that the denoising map stretches most."""

from __future__ import annotations

from typing import NamedTuple

import torch

from denoscope import seeds
from denoscope.denoiser import Denoiser
from denoscope.dynamics.denoising_map import DenoisingMap, finite


class Turn(NamedTuple):
    """What a block shows of J once it went forward through it and back.

    Singular values [n] within the block, the largest first, in double precision; their vectors left [n, …] and right
    [n, C, H, W]; residuals [n] ‖Jᵀu − σv‖/σ; and the block [n, C, H, W] to go on with, orthonormal.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    residuals: torch.Tensor
    following: torch.Tensor


def first_block(denoiser: Denoiser, count: int, seed: int) -> torch.Tensor:
    """Random orthonormal directions [count, C, H, W]."""
    drawn = [
        torch.randn(denoiser.shape, generator=seeds.generator("spectrum", seed, index))
        for index in range(count)
    ]
    return _orthonormal(torch.stack(drawn).to(denoiser.device, denoiser.dtype))


def turned(flow: DenoisingMap, x_T: torch.Tensor, block: torch.Tensor) -> Turn:
    """One iteration: the block [n, C, H, W] through J at x_T [1, C, H, W], and what comes out of that back through Jᵀ."""
    left, values, mix = _svd(finite(flow.push(x_T, block), flow.denoiser))
    right = _mixed(block, mix)
    back = finite(flow.pull(x_T, left), flow.denoiser)
    off = back.double().flatten(1) - values[:, None] * right.double().flatten(1)
    residuals = off.norm(dim=1) / values.clamp(min=torch.finfo(values.dtype).tiny)
    return Turn(left, values, right, residuals, _orthonormal(back))


def _orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """Directions [n, C, H, W] made orthonormal, in double precision."""
    q = torch.linalg.qr(rows.double().flatten(1).T).Q
    return q.T.reshape(rows.shape).to(rows.dtype)


def _svd(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Left vectors [m, …], values [m] and the mixing [m, n] of the n columns that `rows` are; m is n, or the numbers in
    a column where those are fewer."""
    u, values, mix = torch.linalg.svd(rows.double().flatten(1).T, full_matrices=False)
    return u.T.reshape(-1, *rows.shape[1:]).to(rows.dtype), values, mix


def _mixed(rows: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """The combinations [m, C, H, W] of directions [n, C, H, W] that belong to an SVD's values."""
    return (mix @ rows.double().flatten(1)).reshape(-1, *rows.shape[1:]).to(rows.dtype)
