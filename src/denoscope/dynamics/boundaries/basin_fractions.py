"""Basin fractions: the share of each class, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.label_plane import classes_of, label_array, parse_labels, plane_origin
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.dynamics.statistics.intervals import normal_quantile, student_quantile, wilson
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError

BLOCKS = (3, 5, 10)
"""Numbers of blocks along each axis of a plane between which the shares are compared."""
REACH = 2.0
"""Distance up to which cells are taken to depend on each other, in radii of the area that counts as one draw."""
PATCH_GROWTH = 0.5
"""The area of a patch of a class grows with f(1 − f) to this power: 0 if only the number of patches grows, 1 if only their
areas do. Excursion sets of Gaussian fields have about 0.3; 0.5 is what gives rare classes their nominal coverage."""
FEW_DRAWS = 10
"""Effective number of draws below which the plane is too small for its basins."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinFractions(Result):
    """The share of each class in ascending order of the labels, each with its own interval [class, 2].

    `effective_number` [class] is the number of independent draws that would make the share as uncertain.
    """

    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("classes", "fractions", "intervals", "effective_number"), "classes"
    )
    classes: tuple[int, ...]
    fractions: np.ndarray
    intervals: np.ndarray
    effective_number: np.ndarray
    confidence: float = 0.95


@calls_checked
def basin_fractions(labels: Any, *, confidence: float = 0.95) -> BasinFractions:
    """The share of each class among the labels, with Wilson intervals.

    f_j = n_j / n, dimensionless.

    Interpretation: labels [n] count as independent draws, as those of n random x_T are; f_j is then the volume of basin
    j under the distribution of the noise. The cells of a plane [ny, nx] depend on their neighbours. Their interval is
    that of n_eff = f(1 − f)/v independent draws, where v is the variance of the mean. It is estimated from the scatter
    between 3×3, 5×5 and 10×10 blocks, and from the covariances between the 10×10 blocks that are less than two radii of
    the area of one such draw apart; the largest of these counts. Each is multiplied by (t/z)², because few blocks
    determine it only roughly. Where a class is rare by chance, its patches are small too, and v with them: the end p of
    an interval that is nearer to 1/2 than f has n_eff·(f(1 − f)/(p(1 − p)))ˆ½ draws.

    Every cell of a map with filled cells counts once, so that those along boundaries, of which more are computed, weigh no
    more than others. What its audit leaves open, the largest share of wrong cells at this confidence, is added to both ends
    in quadrature.

    Caveats: a plane shows the shares around its base, which say nothing about the whole distribution of noise. Below 10
    effective draws a warning says that the plane is too small for its basins. The measured coverage is in
    `docs/intervals.md`.

    Args:
        labels: a map of basins or its `label`, or integers [n] or [ny, nx]; −1 (no class) counts as a class.

    Raises: UserError if there are no labels, or they are not integers.

    Source: Menck, Heitzig, Marwan, Kurths, Nature Physics 9, 89 (2013); Wilson, J. Am. Stat. Assoc. 22, 209 (1927);
    design effect: Kish, Survey Sampling (1965), ch. 5.
    """
    audit, labels = audit_of(labels), label_array(labels)
    if labels.ndim not in (1, 2) or not labels.size:
        raise UserError(
            f"labels have shape {list(labels.shape)}; allowed: at least one label, [n] or [ny, nx]"
        )
    plane = labels.ndim == 2
    labels = parse_labels(labels if plane else labels[None], least_classes=1)
    classes, confidence = classes_of(labels), parse_confidence(confidence)
    fractions = np.array([np.mean(labels == label) for label in classes])
    effective = np.array(
        [_effective_number(labels == label, confidence) if plane else labels.size for label in classes]
    )
    interval = _interval_of_patches if plane else wilson
    intervals = interval(fractions * effective, effective, confidence=confidence)
    missed = audit.missed(confidence) / labels.size
    return BasinFractions(
        classes=tuple(classes.tolist()),
        fractions=fractions,
        intervals=_widened(fractions, intervals, missed),
        effective_number=effective,
        confidence=confidence,
        origin=plane_origin(labels) | audit.origin,
        warnings=_warnings(classes, effective) if plane else (),
    )


def _widened(fractions: np.ndarray, intervals: np.ndarray, missed: float) -> np.ndarray:
    """The intervals [class, 2] with the share of cells that may be wrong, an independent error, added in quadrature."""
    if not missed:
        return intervals
    reach = np.hypot(intervals - fractions[:, None], missed)
    return np.clip(fractions[:, None] + reach * [-1, 1], 0, 1)


def _interval_of_patches(members: np.ndarray, draws: np.ndarray, *, confidence: float) -> np.ndarray:
    """Wilson's interval [class, 2], with fewer draws for an end at which patches would be larger than those that are seen."""
    shares, ends = members / draws, wilson(members, draws, confidence=confidence)
    spread = (shares * (1 - shares))[:, None]
    growth = np.divide(ends * (1 - ends), spread, out=np.ones_like(ends), where=spread > 0)
    fewer = np.maximum(draws[:, None] / np.maximum(growth, 1) ** PATCH_GROWTH, 1)
    by_end = wilson(shares[:, None] * fewer, fewer, confidence=confidence)
    return np.stack([by_end[:, 0, 0], by_end[:, 1, 1]], axis=-1)


def _effective_number(member: np.ndarray, confidence: float) -> float:
    """The number of independent draws that would make the share as uncertain as the plane shows."""
    share = member.mean()
    between_blocks = max(_variance_between_blocks(member, blocks, confidence) for blocks in BLOCKS)
    if not between_blocks:
        return float(member.size)
    radius = REACH * math.sqrt(member.size * between_blocks / (math.pi * share * (1 - share)))
    variance = max(between_blocks, _variance_with_neighbours(member, radius, confidence))
    return float(np.clip(share * (1 - share) / variance, 1, member.size))


def _block_means(member: np.ndarray, blocks: int) -> np.ndarray:
    """The share of the class in each block of the plane [blocks, blocks], fewer along an axis with fewer cells."""
    high, wide = (min(blocks, length) for length in member.shape)
    strips = np.array_split(member.astype(float), high, axis=0)
    return np.array([[block.mean() for block in np.array_split(strip, wide, axis=1)] for strip in strips])


def _variance_between_blocks(member: np.ndarray, blocks: int, confidence: float) -> float:
    """The variance of the mean if blocks are independent, enlarged for their number; 0 for a single block."""
    means = _block_means(member, blocks)
    if means.size < 2:
        return 0.0
    return float(_student_factor(means.size - 1, confidence) * means.var(ddof=1) / means.size)


def _variance_with_neighbours(member: np.ndarray, radius: float, confidence: float) -> float:
    """The variance of the mean if blocks that are further apart than `radius` cells are independent.

    v = Σ c(pair)/n² /(1 − q) over the share q of the n² pairs of blocks within the radius. c is the covariance about the
    mean of the plane, which lowers all covariances by v: hence the division.
    """
    means = _block_means(member, BLOCKS[-1])
    gaps = [
        np.subtract.outer(np.arange(count), np.arange(count)) * length / count
        for count, length in zip(means.shape, member.shape, strict=True)
    ]
    near = np.hypot(gaps[0][:, None, :, None], gaps[1][None, :, None, :]) <= radius
    within = near.mean()
    if within == 1:
        return math.inf
    deviation = means - means.mean()
    total = np.einsum("ij,kl,ijkl->", deviation, deviation, near.astype(float)) / means.size**2
    return float(_student_factor(max(int(1 / within) - 1, 1), confidence) * total / (1 - within))


def _student_factor(degrees: int, confidence: float) -> float:
    """(t/z)² for a variance with this many degrees of freedom."""
    return (student_quantile(confidence, degrees) / normal_quantile(confidence)) ** 2


def _warnings(classes: np.ndarray, effective: np.ndarray) -> tuple[str, ...]:
    if len(classes) == 1:
        return (
            f"all cells have label {classes[0]}: there is no boundary, and the interval treats them as independent draws",
        )
    if len(coarse := classes[effective < FEW_DRAWS]):
        named = ", ".join(map(str, coarse))
        return (
            f"basins of {named} are so wide that the plane counts as few independent draws (about {effective.min():.1f}): their "
            "intervals are rough; take a wider plane",
        )
    return ()
