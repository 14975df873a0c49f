"""Singular values of graded matrices, each with a small relative error."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lapack

EXPONENT = 500
"""The matrix is scaled so that its largest element is about 2^EXPONENT, which keeps the smallest from being denormal."""


def graded_svd(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, σ (descending) and V of a square matrix U diag(σ) Vᵀ whose rows or columns may differ by any factor in size.

    If the matrix is D₁·B·D₂ with diagonal D₁ and D₂ and a well-conditioned B, every singular value has a small relative
    error, however small it is. The error of an SVD by bidiagonalisation is relative to the largest value alone.

    Raises: RuntimeError if LAPACK's Jacobi iteration does not converge.
    Source: Drmač and Veselić, SIAM J. Matrix Anal. Appl. 29, 1322 (2008), LAPACK's dgejsv.
    """
    elements = matrix.detach().cpu().double().numpy()
    shift = EXPONENT - int(np.frexp(np.abs(elements).max(initial=0.0))[1])
    # joba=2: no assumption on the scaling of rows and columns; jobr=0: small columns are not set to 0.
    values, left, right, work, _, info = lapack.dgejsv(
        np.asfortranarray(np.ldexp(elements, shift)), joba=2, jobu=0, jobv=0, jobr=0, jobp=0
    )
    if info:
        raise RuntimeError(f"LAPACK's dgejsv did not converge (info={info})")
    values = np.ldexp(values * (work[0] / work[1]), -shift)
    return torch.from_numpy(left), torch.from_numpy(values), torch.from_numpy(right)
