"""Basin fractions: the share of each class, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.label_plane import classes_of, label_array, parse_labels, plane_origin
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.dynamics.statistics.intervals import normal_quantile, student_quantile, wilson
from denoscope.foundation.errors import UserError

BLOCKS = (3, 5, 10)
"""Numbers of blocks along each axis of a plane between which the shares are compared."""
CORRELATED = 18
"""Effective number of draws below which basins are as wide as the widest blocks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinFractions(Result):
    """The share of each class in ascending order of the labels, each with its own interval [class, 2].

    `effective_number` [class] is the number of independent draws that would make the share as uncertain.
    """

    classes: tuple[int, ...]
    fractions: np.ndarray
    intervals: np.ndarray
    effective_number: np.ndarray
    confidence: float = 0.95


def basin_fractions(labels: Any, *, confidence: float = 0.95) -> BasinFractions:
    """The share of each class among the labels, with Wilson intervals.

    f_j = n_j / n, dimensionless.

    Interpretation: labels [n] count as independent draws, as those of n random x_T are; f_j is then the volume of basin
    j under the distribution of the noise. The cells of a plane [ny, nx] depend on their neighbours. Their interval is
    that of n_eff = f(1 − f)/v independent draws, where v is the largest variance of the mean that 3×3, 5×5 or 10×10
    blocks of the plane show, multiplied by (t/z)² because so few blocks determine it only roughly.

    Caveats: a plane shows the shares in this plane around its base, and nothing about the noise at large. If basins are
    wider than a third of the plane, the blocks depend on each other too and the interval is too narrow; a warning says so.

    Args:
        labels: integers [n] or [ny, nx]; −1 (no class) counts as a class.

    Raises: UserError if there are no labels, or they are not integers.

    Source: Menck, Heitzig, Marwan, Kurths, Nature Physics 9, 89 (2013); Wilson, J. Am. Stat. Assoc. 22, 209 (1927);
    design effect: Kish, Survey Sampling (1965), ch. 5.
    """
    labels = label_array(labels)
    plane = labels.ndim != 1
    if not labels.size:
        raise UserError("labels are empty; allowed: at least one label")
    labels = parse_labels(labels if plane else labels[None], least_classes=1)
    classes, confidence = classes_of(labels), parse_confidence(confidence)
    fractions = np.array([np.mean(labels == label) for label in classes])
    effective = np.array(
        [_effective_number(labels == label, confidence) if plane else labels.size for label in classes]
    )
    return BasinFractions(
        classes=tuple(classes.tolist()),
        fractions=fractions,
        intervals=wilson(fractions * effective, effective, confidence=confidence),
        effective_number=effective,
        confidence=confidence,
        origin=plane_origin(labels),
        warnings=_warnings(classes, effective) if plane else (),
    )


def _effective_number(member: np.ndarray, confidence: float) -> float:
    """The number of independent draws that would make the share as uncertain as the blocks of the plane do."""
    variance = max(_variance(member, blocks, confidence) for blocks in BLOCKS)
    share = member.mean()
    return float(np.clip(share * (1 - share) / variance, 1, member.size)) if variance else float(member.size)


def _variance(member: np.ndarray, blocks: int, confidence: float) -> float:
    """The variance of the mean from that between blocks, enlarged for their number; 0 for a single block."""
    rows = np.array_split(member.astype(float), min(blocks, member.shape[0]), axis=0)
    means = np.array(
        [part.mean() for row in rows for part in np.array_split(row, min(blocks, row.shape[1]), axis=1)]
    )
    if means.size < 2:
        return 0.0
    factor = student_quantile(confidence, means.size - 1) / normal_quantile(confidence)
    return float(factor**2 * means.var(ddof=1) / means.size)


def _warnings(classes: np.ndarray, effective: np.ndarray) -> tuple[str, ...]:
    if len(classes) == 1:
        return (f"all cells have label {classes[0]}: the interval treats them as independent draws",)
    if len(coarse := classes[effective < CORRELATED]):
        named = ", ".join(map(str, coarse))
        return (f"basins of {named} are as wide as the blocks compared: their intervals are too narrow",)
    return ()
