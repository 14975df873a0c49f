"""Singular values of graded triangles, each to its own digits."""

from __future__ import annotations

import torch

SWEEPS = 40


def graded_svd(triangle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, σ (largest first) and V of a matrix [n, n] = U diag(σ) Vᵀ whose rows may differ by any factor in size.

    One-sided Jacobi rotations make the rows orthogonal. Where the matrix is D·B with D diagonal and B well conditioned,
    every singular value gets a small relative error, however small it is; an SVD by bidiagonalisation has an error
    relative to the largest alone.

    Source: Demmel and Veselić, SIAM J. Matrix Anal. Appl. 13, 1204 (1992); the order of the pairs after Brent and Luk,
        SIAM J. Sci. Stat. Comput. 6, 69 (1985).
    """
    rows, n = triangle.double().clone(), len(triangle)
    turned = torch.eye(n, dtype=torch.float64)
    padded = n + n % 2
    order = torch.arange(padded)
    small = n * torch.finfo(torch.float64).eps
    for _ in range(SWEEPS):
        largest = 0.0
        for _ in range(padded - 1):
            i, j = order[: padded // 2], order[padded // 2 :].flip(0)
            kept = (i < n) & (j < n)
            largest = max(largest, _rotate(rows, turned, i[kept], j[kept]))
            # One place stays, all others go round: after n − 1 rounds every pair has met.
            order = torch.cat([order[:1], order[-1:], order[1:-1]])
        if largest <= small:
            break
    values = _lengths(rows)
    by_size = values.argsort(descending=True)
    values, rows = values[by_size], rows[by_size]
    right = rows / values.clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    return turned[by_size].T, values, right.T


def _rotate(rows: torch.Tensor, turned: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> float:
    """Make the rows i orthogonal to the rows j, pair by pair; the largest cosine that was there between two."""
    a, b = rows[i], rows[j]
    # Lengths apart from directions, so that no product of two small rows underflows.
    long_a, long_b = _lengths(a), _lengths(b)
    tiny = torch.finfo(torch.float64).tiny
    cosine = ((a / long_a.clamp(min=tiny)[:, None]) * (b / long_b.clamp(min=tiny)[:, None])).sum(1)
    ratio = long_b / long_a.clamp(min=tiny)
    # tan of the angle that makes them orthogonal: the smaller root of t² + 2ζt − 1.
    zeta = (ratio - 1 / ratio.clamp(min=tiny)) / (2 * cosine)
    tangent = torch.where(zeta >= 0, 1.0, -1.0) / (zeta.abs() + torch.hypot(torch.ones_like(zeta), zeta))
    tangent = torch.where((cosine == 0) | (ratio == 0), 0.0, tangent)
    c = 1 / torch.hypot(torch.ones_like(tangent), tangent)
    s = c * tangent
    rows[i], rows[j] = c[:, None] * a - s[:, None] * b, s[:, None] * a + c[:, None] * b
    a, b = turned[i], turned[j]
    turned[i], turned[j] = c[:, None] * a - s[:, None] * b, s[:, None] * a + c[:, None] * b
    return float(cosine.abs().max()) if len(cosine) else 0.0


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    """The L2 norm of each row, also of those whose squares no float64 holds."""
    largest = rows.abs().amax(1)
    scale = largest.clamp(min=torch.finfo(torch.float64).tiny)
    return scale * (rows / scale[:, None]).norm(dim=1)
