"""The similarity of two sets of states of the same samples: linear centered kernel alignment (CKA)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.statistics.arguments import parse_points
from denoscope.dynamics.statistics.standard_errors import jackknife_reach
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

LEAST_SAMPLES = 4
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity(Estimate):
    """Linear CKA `value` with its interval, and `debiased`, which is not biased towards 1 by few samples."""

    debiased: float


def linear_cka(x: Any, y: Any, *, confidence: float = 0.95) -> Similarity:
    """Linear centered kernel alignment of states x [sample, …] and y [sample, …] of the same samples.

    CKA = ‖Yᶜᵀ Xᶜ‖²_F / (‖Xᶜᵀ Xᶜ‖_F ‖Yᶜᵀ Yᶜ‖_F), where features are centered over samples. Dimensionless, in [0, 1]. The
    interval is that of CKA, by the jackknife over 20 groups of samples (fewer if there are fewer samples).

    Interpretation: 1 if one set is the other one rotated, scaled and shifted; CKA is invariant under these, but not under
    other linear maps. With fewer samples than features read `debiased`, which replaces each Hilbert–Schmidt norm by its
    unbiased estimate; it is 0 on average for independent states, and can be negative.

    Caveats: with fewer samples than features the CKA of independent states is far above 0. A single direction of large
    variance can dominate it, and states of independent networks are similar in whatever all samples share.

    Raises: UserError if there are fewer than 4 samples, different numbers of samples, or identical samples only.

    Source: Kornblith et al., ICML 2019, eq. 3; debiased: Song et al., JMLR 13, 1393 (2012), eq. 5.
    """
    first, second = (
        gram(parse_points(x, name="x", minimum=LEAST_SAMPLES)),
        gram(parse_points(y, name="y", minimum=LEAST_SAMPLES)),
    )
    _check_samples([first, second])
    value, debiased = _cka(first, second), _debiased(first, second)
    reach = jackknife_reach(
        lambda kept: _cka(first[np.ix_(kept, kept)], second[np.ix_(kept, kept)]),
        len(first),
        confidence=confidence,
    )
    return Similarity(
        value=value,
        debiased=debiased,
        interval=(max(value - reach, 0.0), min(value + reach, 1.0)),
        confidence=confidence,
        origin={"samples": len(first)},
        warnings=_warnings(value, debiased),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityMatrix(Result):
    """Linear CKA `values` and their `debiased` form between all pairs of sets of states [set, set]."""

    values: np.ndarray
    debiased: np.ndarray


def cka_matrix(states: Sequence[Any]) -> SimilarityMatrix:
    """`linear_cka` between all pairs of several sets of states, each [sample, …]: layers, steps or both.

    Each set is reduced to the inner products of its samples once, so that the memory depends on the number of samples and
    sets, not of features.

    Raises: UserError if there are fewer than 4 samples, or the sets differ in their number of samples.
    """
    if not isinstance(states, Iterable):
        raise UserError(f"states is {describe(states)}; allowed: a list of sets of states, each [sample, …]")
    grams = [
        gram(parse_points(one, name=f"states[{k}]", minimum=LEAST_SAMPLES)) for k, one in enumerate(states)
    ]
    _check_samples(grams)
    values = np.array([[_cka(a, b) for b in grams] for a in grams])
    debiased = np.array([[_debiased(a, b) for b in grams] for a in grams])
    return SimilarityMatrix(
        values=values,
        debiased=debiased,
        origin={"samples": len(grams[0]), "sets": len(grams)},
        warnings=_warnings(values, debiased),
    )


def gram(points: np.ndarray) -> np.ndarray:
    """The inner products [sample, sample] of points that are centered over samples."""
    centered = points - points.mean(axis=0)
    return centered @ centered.T


def unbiased_product(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate of ‖Σ_xy‖²_F, the squared covariance of x and y, from their Gram matrices.

    Source: Song et al., JMLR 13, 1393 (2012), eq. 5, on kernels without their diagonal.
    """
    n = len(first)
    k, m = first - np.diag(np.diag(first)), second - np.diag(np.diag(second))
    total = (
        (k * m).sum()
        + k.sum() * m.sum() / ((n - 1) * (n - 2))
        - 2 * (k.sum(axis=0) @ m.sum(axis=0)) / (n - 2)
    )
    return float(total / (n * (n - 3)))


def _cka(first: np.ndarray, second: np.ndarray) -> float:
    a, b = centered(first), centered(second)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    # Rounding may lead out of [0, 1].
    return min(max(float((a * b).sum() / norms), 0.0), 1.0) if norms > 0 else float("nan")


def centered(kernel: np.ndarray) -> np.ndarray:
    """The Gram matrix of the same points about their mean; zero if only rounding error is left."""
    found = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
    return found if np.linalg.norm(found) > ROUNDING * np.linalg.norm(kernel) else np.zeros_like(found)


def _debiased(first: np.ndarray, second: np.ndarray) -> float:
    own = [unbiased_product(one, one) for one in (first, second)]
    if min(own) <= 0:
        return float("nan")
    return min(max(unbiased_product(first, second) / np.sqrt(own[0] * own[1]), -1.0), 1.0)


def _check_samples(grams: list[np.ndarray]) -> None:
    counts = [len(one) for one in grams]
    if not counts:
        raise UserError("states is empty; allowed: at least one set of states [sample, …]")
    if len(set(counts)) != 1:
        raise UserError(
            f"the sets of states have {counts} samples; allowed: the same samples in the same order"
        )


def _warnings(values: Any, debiased: Any) -> tuple[str, ...]:
    warnings = []
    if np.isnan(debiased).any():
        warnings.append(
            "there are too few samples for the debiased form, which is NaN where an estimated norm is not positive"
        )
    if (np.abs(np.subtract(values, debiased)) > 0.1).any():
        warnings.append(
            "CKA and its debiased form differ by more than 0.1, because there are few samples for the number of features; read "
            "the debiased one"
        )
    return tuple(warnings)
