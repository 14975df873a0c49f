"""The eigenvalues of the covariance of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import are_equal, parse_numbers, parse_rounded
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class CovarianceSpectrum(Result):
    """The eigenvalues [numbers] of the covariance of images in descending order, and their mean image [C, H, W]."""

    rows: ClassVar[Mapping[str, str]] = {"eigenvalues": "eigenvector"}
    eigenvalues: np.ndarray
    mean: np.ndarray


@calls_checked
def covariance_spectrum(images: Any) -> CovarianceSpectrum:
    """The eigenvalues of the covariance of images [n, C, H, W], of the data or of a model's samples (`rec.final`).

    λ_i are the eigenvalues of Σ (x − μ)(x − μ)ᵀ/(n − 1), in squared units of a pixel. For n images at most n − 1
    are above 0.

    Interpretation: natural images have a few large eigenvalues, and most below 1.

    Caveats: n images of d numbers overestimate the largest eigenvalues and underestimate the smallest, by factors of
    (1 ± √(d/n))² if all true eigenvalues are equal. Below 10·d images a warning says so; the smallest eigenvalues then
    mean little.

    Raises: UserError if there are fewer than two images, all are equal, or one is not finite.

    Source: Marchenko and Pastur, Math. USSR Sbornik 1, 457 (1967), for the bias.
    """
    array, rounding = parse_rounded(images, "images")
    if array.ndim < 2 or len(array) < 2:
        raise UserError(f"images have shape {list(array.shape)}; allowed: at least two images [n, C, H, W]")
    if are_equal(array, rounding):
        raise UserError(
            f"all {len(array)} images are equal, or differ by rounding only; allowed: images that differ"
        )
    flat = array.reshape(len(array), -1)
    n, d = flat.shape
    values = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2 / (n - 1)
    eigenvalues, independent = np.zeros(d), min(n - 1, d)  # the mean takes one of n directions
    eigenvalues[:independent] = values[:independent]
    warnings: tuple[str, ...] = ()
    if n < 10 * d:
        zeros = f", {d - independent} of them exactly 0" if independent < d else ""
        warnings = (
            f"{n} images of {d} numbers overestimate the largest eigenvalues and underestimate the smallest{zeros}",
        )
    return CovarianceSpectrum(
        eigenvalues=eigenvalues,
        mean=flat.mean(0).reshape(array.shape[1:]),
        origin={"images": n, "numbers": d},
        warnings=warnings,
    )


def eigenvalues_of(covariance: Any) -> np.ndarray:
    """The eigenvalues [d] in descending order of a covariance: a CovarianceSpectrum, eigenvalues, or a matrix [d, d].

    Raises: UserError if the covariance has another shape, is not symmetric, or has negative eigenvalues.
    """
    given = covariance.eigenvalues if isinstance(covariance, CovarianceSpectrum) else covariance
    array = parse_numbers(given, "covariance")
    if array.ndim == 2 and array.shape[0] == array.shape[1] and np.allclose(array, array.T):
        array = np.linalg.eigvalsh(array)
    if array.ndim != 1 or not array.size:
        raise UserError(
            f"covariance has shape {list(array.shape)}; allowed: eigenvalues [d], or a symmetric matrix [d, d]"
        )
    rounding = 1e-12 * np.abs(array).max()
    if array.min() < -rounding:
        raise UserError(
            f"covariance has the eigenvalue {array.min():.3g}; allowed: eigenvalues of at least 0"
        )
    return np.sort(np.maximum(array, 0))[::-1].copy()
