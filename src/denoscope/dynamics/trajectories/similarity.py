"""The similarity of two sets of states of the same samples: linear centered kernel alignment (CKA)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.statistics.arguments import parse_confidence, parse_points
from denoscope.dynamics.statistics.standard_errors import jackknife_reach
from denoscope.foundation.arguments import arguments_checked, calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

LEAST_SAMPLES = 4
ROUNDING = 1e-12
"""Share of the squared norm of all samples below which what is left of some of them is rounding error."""
SYMMETRIC = (
    "CKA is the same whichever sample is left out, as in a symmetric design: these samples give no interval"
)
UNBOUNDED = "there are too few samples for an interval of the debiased form"
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""A measure [n] of two Gram matrices, from the samples that each mask [n, sample] keeps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity(Estimate):
    """Linear CKA `value` of these samples, and `debiased`, the estimate of that of the population; each with its interval.

    `interval` contains the mean of `value` over other sets of as many samples; it is None, with a warning, if `value` is
    the same whichever sample is left out, and is not 1. `debiased_interval` contains the CKA of the
    population; it is None, with a warning, if the samples do not bound it.
    """

    debiased: float
    debiased_interval: tuple[float, float] | None


@calls_checked
def linear_cka(x: Any, y: Any, *, confidence: float = 0.95) -> Similarity:
    """Linear centered kernel alignment of states x [sample, …] and y [sample, …] of the same samples.

    CKA = ‖Yᶜᵀ Xᶜ‖²_F / (‖Xᶜᵀ Xᶜ‖_F ‖Yᶜᵀ Yᶜ‖_F), where features are centered over samples. Dimensionless, in [0, 1]. Both
    intervals are Student's with the standard error of the jackknife over 20 groups of samples (fewer if there are fewer
    samples).

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
    (value, reach), (debiased, debiased_reach) = (
        _with_reach(measure, first, second, parse_confidence(confidence)) for measure in (_cka, _debiased)
    )
    symmetric = reach < ROUNDING and value < 1 - ROUNDING
    known = math.isfinite(debiased) and math.isfinite(debiased_reach)
    return Similarity(
        value=value,
        debiased=debiased,
        interval=None if symmetric else _within(value, reach, 0.0),
        debiased_interval=_within(debiased, debiased_reach, -1.0) if known else None,
        confidence=confidence,
        origin={"samples": len(first)},
        warnings=(
            *_warnings(value, debiased),
            *([SYMMETRIC] if symmetric else []),
            *([] if known or math.isnan(debiased) else [UNBOUNDED]),
        ),
    )


def _with_reach(
    measure: Measure, first: np.ndarray, second: np.ndarray, confidence: float
) -> tuple[float, float]:
    """A measure of all samples, at most 1 in size, and half the width of its interval."""
    samples = len(first)
    value = float(np.clip(measure(first, second, np.ones((1, samples), bool))[0], -1, 1))
    return value, jackknife_reach(lambda masks: measure(first, second, masks), samples, confidence=confidence)


def _within(value: float, reach: float, least: float) -> tuple[float, float]:
    return max(value - reach, least), min(value + reach, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarityMatrix(Result):
    """Linear CKA `values` and their `debiased` form between all pairs of sets of states [set, set], and their names, if given."""

    rows: ClassVar[Mapping[str, str]] = {"values": "sets", "debiased": "sets"}
    values: np.ndarray
    debiased: np.ndarray
    sets: tuple[str, ...] = ()


@arguments_checked
def cka_matrix(states: Sequence[Any], *, names: Sequence[str] = ()) -> SimilarityMatrix:
    """`linear_cka` between all pairs of several sets of states, each [sample, …]: layers, steps or both.

    Each set is reduced to the inner products of its samples once, so that the memory depends on the number of samples and
    sets, not of features.

    Args:
        names: one for each set, which the result keeps and drawings show.

    Raises: UserError if there are fewer than 4 samples, the sets differ in their number of samples, or there are other than
        one name for each.
    """
    if (
        not isinstance(states, Iterable)
        or isinstance(states, (str, Mapping))
        or (isinstance(states, (torch.Tensor, np.ndarray)) and states.ndim == 0)
    ):
        raise UserError(f"states is {describe(states)}; allowed: a list of sets of states, each [sample, …]")
    grams = [
        gram(parse_points(one, name=f"states[{k}]", minimum=LEAST_SAMPLES)) for k, one in enumerate(states)
    ]
    _check_samples(grams)
    if len(names) not in (0, len(grams)):
        raise UserError(f"names has {len(names)} entries; allowed: {len(grams)}, one for each set of states")
    all_samples = np.ones((1, len(grams[0])), bool)
    values, debiased = (
        np.clip([[measure(a, b, all_samples)[0] for b in grams] for a in grams], -1, 1)
        for measure in (_cka, _debiased)
    )
    return SimilarityMatrix(
        values=values,
        debiased=debiased,
        sets=tuple(names),
        origin={"samples": len(grams[0]), "sets": len(grams)},
        warnings=_warnings(values, debiased),
    )


def gram(points: np.ndarray) -> np.ndarray:
    """The inner products [sample, sample] of points that are centered over samples."""
    centered = points - points.mean(axis=0)
    return centered @ centered.T


def gram_sums(first: np.ndarray, second: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums over the samples that each mask keeps [n, sample], of two Gram matrices k and m: Σ k·m, Σ_i k_i m_i of their
    row sums, Σ k, Σ m, and the number of samples, each [n]."""
    masks = masks.astype(float)
    rows, others = masks @ first, masks @ second
    return (
        ((masks @ (first * second)) * masks).sum(axis=1),
        (masks * rows * others).sum(axis=1),
        (masks * rows).sum(axis=1),
        (masks * others).sum(axis=1),
        masks.sum(axis=1),
    )


def unbiased_products(first: np.ndarray, second: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Unbiased estimates [n] of ‖Σ_xy‖²_F, the squared covariance of x and y, from the samples that each mask keeps.

    NaN for fewer than 4 samples.

    Source: Song et al., JMLR 13, 1393 (2012), eq. 5, on kernels without their diagonal.
    """
    products, rows, first_sum, second_sum, n = gram_sums(
        _without_diagonal(first), _without_diagonal(second), masks
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        total = products + first_sum * second_sum / ((n - 1) * (n - 2)) - 2 * rows / (n - 2)
        return np.where(n > 3, total / (n * (n - 3)), np.nan)


def centered_products(first: np.ndarray, second: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """‖YᶜᵀXᶜ‖²_F [n] of the samples that each mask keeps, centered over them."""
    products, rows, first_sum, second_sum, n = gram_sums(first, second, masks)
    return products - 2 * rows / n + first_sum * second_sum / n**2


def ratio_of_positive(numerator: np.ndarray, denominator: np.ndarray, least: float = 0.0) -> np.ndarray:
    """The quotient, NaN where the denominator is not above a least value."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > least)


def _without_diagonal(kernel: np.ndarray) -> np.ndarray:
    return kernel - np.diag(np.diag(kernel))


def _cka(first: np.ndarray, second: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """CKA [n] of the samples that each mask keeps; NaN if they do not vary, up to rounding."""
    product, first_norm, second_norm = (
        centered_products(a, b, masks) for a, b in ((first, second), (first, first), (second, second))
    )
    varying = (first_norm > ROUNDING * (first**2).sum()) & (second_norm > ROUNDING * (second**2).sum())
    norms = np.sqrt(np.where(varying, first_norm, 0)) * np.sqrt(np.where(varying, second_norm, 0))
    # Rounding can exceed the bounds of Cauchy and Schwarz.
    return np.clip(ratio_of_positive(product, norms), 0, 1)


def _debiased(first: np.ndarray, second: np.ndarray, masks: np.ndarray) -> np.ndarray:
    product, first_norm, second_norm = (
        unbiased_products(a, b, masks) for a, b in ((first, second), (first, first), (second, second))
    )
    norms = np.sqrt(np.maximum(first_norm, 0)) * np.sqrt(np.maximum(second_norm, 0))
    return ratio_of_positive(product, norms)


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
