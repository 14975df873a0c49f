"""Block Krylov iteration: a growing span of directions at x_T that contains those which the map stretches most."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap, check_finite_derivatives
from denoscope.foundation import random_streams
from denoscope.models.denoiser import Denoiser

ROUNDING_FACTOR = 10.0
"""A direction counts as new if it leaves the span by more than this many rounding errors of all images."""


class Span(NamedTuple):
    """A subspace of directions at x_T, and what is known about the map J on it; all in float64.

    `directions` [m, C, H, W] are orthonormal; `images` [n, …] are J of the first n of them; `lefts` [l, …] are an
    orthonormal basis of the images; `pulled` [l, C, H, W] are Jᵀ of that basis. The m − n directions without an image are
    the next to go through J.
    """

    directions: torch.Tensor
    images: torch.Tensor
    lefts: torch.Tensor
    pulled: torch.Tensor

    @property
    def exhausted(self) -> bool:
        """Whether a further iteration would add no directions."""
        return len(self.directions) == len(self.images)


class SingularTriples(NamedTuple):
    """Singular values of J within a span [n], in descending order, with vectors `left` [n, …] and `right` [n, C, H, W].

    `residuals` [n] are ‖Jᵀu − σv‖/σ.
    """

    left: torch.Tensor
    values: torch.Tensor
    right: torch.Tensor
    residuals: torch.Tensor


def random_block(denoiser: Denoiser, count: int, seed: int) -> torch.Tensor:
    """Random orthonormal directions [count, C, H, W]."""
    drawn = [
        torch.randn(denoiser.shape, generator=random_streams.generator("spectrum", seed, index))
        for index in range(count)
    ]
    rows = torch.stack(drawn).double()
    return torch.linalg.qr(rows.flatten(1).T).Q.T.reshape(rows.shape)


def extend(flow: DenoisingMap, x_T: torch.Tensor, span: Span) -> Span:
    """The span after one iteration at x_T [1, C, H, W]: J maps the new directions, Jᵀ the new part of their images.

    This is block Golub–Kahan bidiagonalization with full orthogonalization against all earlier directions.
    """
    new = _push(flow, x_T, span.directions[len(span.images) :])
    # Before the first iteration these are empty, and their shape is unknown.
    images, lefts = (rows.reshape(-1, *new.shape[1:]) for rows in (span.images, span.lefts))
    images = torch.cat([images, new])
    rounding = ROUNDING_FACTOR * torch.finfo(x_T.dtype).eps * float(images.norm())
    new_lefts = _outside(new, lefts, rounding)
    pulled = _pull(flow, x_T, new_lefts)
    return Span(
        torch.cat([span.directions, _outside(pulled, span.directions, rounding)]),
        images,
        torch.cat([lefts, new_lefts]),
        torch.cat([span.pulled, pulled]),
    )


def singular_triples(span: Span) -> SingularTriples:
    """The singular values and vectors of J, restricted to the directions with known images."""

    def pull(left: torch.Tensor) -> torch.Tensor:
        shares = left.flatten(1) @ span.lefts.flatten(1).T
        return (shares @ span.pulled.flatten(1)).reshape(-1, *span.directions.shape[1:])

    return _decompose(span.directions[: len(span.images)], span.images, pull)


def refine(flow: DenoisingMap, x_T: torch.Tensor, right: torch.Tensor) -> SingularTriples:
    """The singular values and vectors of J, restricted to given right vectors [n, C, H, W], from new images of these.

    The images of a span mix all its directions, so that rounding leaves no correct digits of values far below the largest.
    """
    return _decompose(right, _push(flow, x_T, right), lambda left: _pull(flow, x_T, left))


def _decompose(
    directions: torch.Tensor, images: torch.Tensor, pull: Callable[[torch.Tensor], torch.Tensor]
) -> SingularTriples:
    """Singular triples from orthonormal directions, their images, and Jᵀ as a function of left vectors."""
    left, values, mix = torch.linalg.svd(images.flatten(1).T, full_matrices=False)
    left = left.T.reshape(-1, *images.shape[1:])
    right = (mix @ directions.flatten(1)).reshape(-1, *directions.shape[1:])
    residual = pull(left).flatten(1) - values[:, None] * right.flatten(1)
    tiny = torch.finfo(values.dtype).tiny
    return SingularTriples(left, values, right, residual.norm(dim=1) / values.clamp(min=tiny))


def _push(flow: DenoisingMap, x_T: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """J of each row, computed in the denoiser's precision."""
    return check_finite_derivatives(flow.push(x_T, rows.to(x_T)), flow.denoiser).double().cpu()


def _pull(flow: DenoisingMap, x_T: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Jᵀ of each row, computed in the denoiser's precision."""
    if not len(rows):
        return torch.zeros(0, *x_T.shape[1:], dtype=torch.float64)
    return check_finite_derivatives(flow.pull(x_T, rows.to(x_T)), flow.denoiser).double().cpu()


def _outside(rows: torch.Tensor, span: torch.Tensor, rounding: float) -> torch.Tensor:
    """An orthonormal basis of the components of rows [n, …] outside an orthonormal span [m, …], up to rounding."""
    rest, within = rows.flatten(1), span.flatten(1)
    for _ in range(2):  # the second pass removes the rounding errors of the first
        rest = rest - (rest @ within.T) @ within
    _, sizes, axes = torch.linalg.svd(rest, full_matrices=False)
    basis = axes[sizes > rounding]
    basis = basis - (basis @ within.T) @ within
    return torch.linalg.qr(basis.T).Q.T.reshape(-1, *rows.shape[1:])
