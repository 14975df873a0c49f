"""Directions at x_T that span more and more of those that the denoising map stretches most."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from denoscope import seeds
from denoscope.denoiser import Denoiser
from denoscope.dynamics.denoising_map import DenoisingMap, finite

NOTHING_NEW = 10.0
"""Times rounding, relative to the largest singular value: what lies no further outside of a span belongs to it."""


class Span(NamedTuple):
    """Orthonormal directions at x_T [m, C, H, W], what J makes of the first of them `images` [n, …], orthonormal `lefts`
    [l, …] of the images' span, and what Jᵀ makes of these, `pulled` [l, C, H, W]; all in double precision.

    The m − n directions without an image are the next to go through J; where there are none, J leads out of the span
    no more.
    """

    directions: torch.Tensor
    images: torch.Tensor
    lefts: torch.Tensor
    pulled: torch.Tensor

    @property
    def exhausted(self) -> bool:
        return len(self.directions) == len(self.images)


class Leading(NamedTuple):
    """What a span shows of J: singular values [n], the largest first, their vectors left [n, …] and right [n, C, H, W],
    and residuals [n] ‖Jᵀu − σv‖/σ."""

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    residuals: torch.Tensor


def first_block(denoiser: Denoiser, count: int, seed: int) -> torch.Tensor:
    """Random orthonormal directions [count, C, H, W]."""
    drawn = [
        torch.randn(denoiser.shape, generator=seeds.generator("spectrum", seed, index))
        for index in range(count)
    ]
    rows = torch.stack(drawn).double()
    return torch.linalg.qr(rows.flatten(1).T).Q.T.reshape(rows.shape)


def extended(flow: DenoisingMap, x_T: torch.Tensor, span: Span) -> Span:
    """One iteration at x_T [1, C, H, W]: the new directions through J, and what is new of that back through Jᵀ.

    Block bidiagonalization (Golub, Kahan), orthonormalised against all that was there before.
    """
    images = _through(flow.push, flow, x_T, span.directions[len(span.images) :])
    images = torch.cat([span.images.reshape(-1, *images.shape[1:]), images])
    largest = float(torch.linalg.matrix_norm(images.flatten(1), 2))
    new_lefts = _outside(
        images[len(span.images) :], span.lefts.reshape(-1, *images.shape[1:]), largest, x_T.dtype
    )
    lefts = torch.cat([span.lefts.reshape(-1, *images.shape[1:]), new_lefts])
    if not len(new_lefts):
        return Span(span.directions, images, lefts, span.pulled)
    pulled = _through(flow.pull, flow, x_T, new_lefts)
    new = _outside(pulled, span.directions, largest, x_T.dtype)
    return Span(torch.cat([span.directions, new]), images, lefts, torch.cat([span.pulled, pulled]))


def leading(span: Span) -> Leading:
    """The singular values and vectors of J within the directions whose images are known."""
    images = span.images.flatten(1)
    left, values, mix = torch.linalg.svd(images.T, full_matrices=False)
    right = mix @ span.directions[: len(images)].flatten(1)
    back = (left.T @ span.lefts.flatten(1).T) @ span.pulled.flatten(1)
    residuals = (back - values[:, None] * right).norm(dim=1) / values.clamp(
        min=torch.finfo(values.dtype).tiny
    )
    return Leading(
        left.T.reshape(-1, *span.images.shape[1:]),
        values,
        right.reshape(-1, *span.directions.shape[1:]),
        residuals,
    )


def refined(flow: DenoisingMap, x_T: torch.Tensor, shown: Leading) -> Leading:
    """The same of the right vectors sent through J anew: of an image in the span, which all directions mix, rounding leaves
    no digits of values far below the largest; of their own images it does."""
    images = _through(flow.push, flow, x_T, shown.right)
    left, values, mix = torch.linalg.svd(images.flatten(1).T, full_matrices=False)
    left, right = left.T, mix @ shown.right.flatten(1)
    back = _through(flow.pull, flow, x_T, left.reshape(images.shape)).flatten(1)
    residuals = (back - values[:, None] * right).norm(dim=1) / values.clamp(
        min=torch.finfo(values.dtype).tiny
    )
    return Leading(left.reshape(images.shape), values, right.reshape(shown.right.shape), residuals)


def _through(
    way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    flow: DenoisingMap,
    x_T: torch.Tensor,
    rows: torch.Tensor,
) -> torch.Tensor:
    """What J or Jᵀ makes of rows, computed in the denoiser's precision."""
    return finite(way(x_T, rows.to(x_T)), flow.denoiser).double().cpu()


def _outside(rows: torch.Tensor, span: torch.Tensor, largest: float, dtype: torch.dtype) -> torch.Tensor:
    """Orthonormal directions of what of the rows [n, …] lies outside of an orthonormal span [m, …]; fewer than rows where
    some lie within it, up to rounding."""
    rest, within = rows.flatten(1), span.flatten(1)
    for _ in range(2):  # the second pass removes what the rounding of the first left
        rest = rest - (rest @ within.T) @ within
    _, sizes, axes = torch.linalg.svd(rest, full_matrices=False)
    found = axes[sizes > NOTHING_NEW * torch.finfo(dtype).eps * largest]
    found = found - (found @ within.T) @ within
    return torch.linalg.qr(found.T).Q.T.reshape(-1, *rows.shape[1:])
