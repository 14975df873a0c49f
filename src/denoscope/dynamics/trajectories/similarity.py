"""How alike two sets of states of the same samples are: linear centered kernel alignment."""

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
    """Linear CKA, and `debiased`, which few samples of many features do not push towards 1."""

    debiased: float


def linear_cka(x: Any, y: Any, *, confidence: float = 0.95) -> Similarity:
    """Linear centered kernel alignment of states x [sample, …] and y [sample, …] of the same samples.

    CKA = ‖Yᶜᵀ Xᶜ‖²_F / (‖Xᶜᵀ Xᶜ‖_F ‖Yᶜᵀ Yᶜ‖_F), with features centered over samples. A pure number in [0, 1]: 1 if one is
    the other rotated, scaled and shifted; it does not change under these, but does under other linear maps. One
    direction of large variance decides it alone, and states of independent networks are alike in what all states share.

    With fewer samples than features, CKA of independent states lies far above 0; `debiased` replaces each Hilbert–Schmidt
    norm by its unbiased estimate and is 0 on average then (it can be negative): read that one if n is below the features.
    The interval is of CKA itself, by the jackknife over 20 groups of samples (fewer if there are fewer samples).

    Raises: UserError under 4 samples, if samples differ in number, or if one of the two is the same for all samples.
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
        warnings=_beware(value, debiased),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityMatrix(Result):
    """Linear CKA, and its debiased form, of every set of states with every other: [set, set]."""

    values: np.ndarray
    debiased: np.ndarray


def cka_matrix(states: Sequence[Any]) -> SimilarityMatrix:
    """`linear_cka` between all pairs of several sets of states, each [sample, …]: layers, or steps, or both.

    Each set is reduced once to the inner products of its samples, so memory is that of samples², whatever the features.
    """
    if not isinstance(states, Iterable):
        raise UserError(f"states is {describe(states)}; needed is a list of sets of states, each [sample, …]")
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
        warnings=_beware(values, debiased),
    )


def gram(points: np.ndarray) -> np.ndarray:
    """Inner products [sample, sample] of points centered over samples."""
    centered = points - points.mean(axis=0)
    return centered @ centered.T


def unbiased_product(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate of ‖Σ_xy‖²_F, the squared covariance of x and y, from the Gram matrices of n samples.

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
    return float((a * b).sum() / norms) if norms > 0 else float("nan")


def centered(kernel: np.ndarray) -> np.ndarray:
    """The Gram matrix of the same points about their own mean; zero where only rounding is left."""
    found = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
    return found if np.linalg.norm(found) > ROUNDING * np.linalg.norm(kernel) else np.zeros_like(found)


def _debiased(first: np.ndarray, second: np.ndarray) -> float:
    own = [unbiased_product(one, one) for one in (first, second)]
    return unbiased_product(first, second) / np.sqrt(own[0] * own[1]) if min(own) > 0 else float("nan")


def _check_samples(grams: list[np.ndarray]) -> None:
    counts = [len(one) for one in grams]
    if not counts:
        raise UserError("no states were given; at least one set of them is needed: [sample, …]")
    if len(set(counts)) != 1:
        raise UserError(
            f"states of {counts} samples were given; all must be of the same samples, in the same order"
        )


def _beware(values: Any, debiased: Any) -> tuple[str, ...]:
    warnings = []
    if np.isnan(debiased).any():
        warnings.append(
            "too few samples for the debiased form, which is NaN where an estimated norm is not positive"
        )
    if (np.abs(np.subtract(values, debiased)) > 0.1).any():
        warnings.append(
            "CKA and its debiased form differ by more than 0.1: samples are too few for the number of features; read the"
            " debiased one"
        )
    return tuple(warnings)
