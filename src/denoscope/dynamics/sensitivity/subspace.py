"""Directions at x_T that span more and more of those that the denoising map stretches most."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, finite
from denoscope.foundation import random_streams
from denoscope.models.denoiser import Denoiser

NOTHING_NEW = 10.0
"""Times rounding, relative to all images: what lies no further outside of a span belongs to it."""


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
        torch.randn(denoiser.shape, generator=random_streams.generator("spectrum", seed, index))
        for index in range(count)
    ]
    rows = torch.stack(drawn).double()
    return torch.linalg.qr(rows.flatten(1).T).Q.T.reshape(rows.shape)


def extended(flow: DenoisingMap, x_T: torch.Tensor, span: Span) -> Span:
    """One iteration at x_T [1, C, H, W]: the new directions through J, and what is new of that back through Jᵀ.

    Block bidiagonalization (Golub, Kahan), orthonormalised against all that was there before.
    """
    new = _pushed(flow, x_T, span.directions[len(span.images) :])
    # In the first iteration there are none before, and their shape is not known yet.
    images, lefts = (one.reshape(-1, *new.shape[1:]) for one in (span.images, span.lefts))
    images = torch.cat([images, new])
    rounding = NOTHING_NEW * torch.finfo(x_T.dtype).eps * float(images.norm())
    new_lefts = _outside(new, lefts, rounding)
    pulled = _pulled(flow, x_T, new_lefts)
    return Span(
        torch.cat([span.directions, _outside(pulled, span.directions, rounding)]),
        images,
        torch.cat([lefts, new_lefts]),
        torch.cat([span.pulled, pulled]),
    )


def leading(span: Span) -> Leading:
    """The singular values and vectors of J within the directions whose images are known."""

    def back(left: torch.Tensor) -> torch.Tensor:
        shares = left.flatten(1) @ span.lefts.flatten(1).T
        return (shares @ span.pulled.flatten(1)).reshape(-1, *span.directions.shape[1:])

    return _decomposed(span.directions[: len(span.images)], span.images, back)


def refined(flow: DenoisingMap, x_T: torch.Tensor, right: torch.Tensor) -> Leading:
    """The same within right vectors [n, C, H, W], sent through J anew: of their images in a span, which all of its
    directions mix, rounding leaves no digits of values far below the largest."""
    return _decomposed(right, _pushed(flow, x_T, right), lambda left: _pulled(flow, x_T, left))


def _decomposed(
    directions: torch.Tensor, images: torch.Tensor, back: Callable[[torch.Tensor], torch.Tensor]
) -> Leading:
    """The singular values of J, of which directions and their images are known, and of Jᵀ what it makes of left vectors."""
    left, values, mix = torch.linalg.svd(images.flatten(1).T, full_matrices=False)
    left = left.T.reshape(-1, *images.shape[1:])
    right = (mix @ directions.flatten(1)).reshape(-1, *directions.shape[1:])
    off = back(left).flatten(1) - values[:, None] * right.flatten(1)
    return Leading(left, values, right, off.norm(dim=1) / values.clamp(min=torch.finfo(values.dtype).tiny))


def _pushed(flow: DenoisingMap, x_T: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """J of each row, computed in the denoiser's precision."""
    return finite(flow.push(x_T, rows.to(x_T)), flow.denoiser).double().cpu()


def _pulled(flow: DenoisingMap, x_T: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Jᵀ of each row, if there are any, computed in the denoiser's precision."""
    if not len(rows):
        return torch.zeros(0, *x_T.shape[1:], dtype=torch.float64)
    return finite(flow.pull(x_T, rows.to(x_T)), flow.denoiser).double().cpu()


def _outside(rows: torch.Tensor, span: torch.Tensor, rounding: float) -> torch.Tensor:
    """Orthonormal directions of what of the rows [n, …] lies outside of an orthonormal span [m, …]; fewer than rows where
    some lie within it, up to rounding."""
    rest, within = rows.flatten(1), span.flatten(1)
    for _ in range(2):  # the second pass removes what the rounding of the first left
        rest = rest - (rest @ within.T) @ within
    _, sizes, axes = torch.linalg.svd(rest, full_matrices=False)
    found = axes[sizes > rounding]
    found = found - (found @ within.T) @ within
    return torch.linalg.qr(found.T).Q.T.reshape(-1, *rows.shape[1:])
