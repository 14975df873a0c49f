"""How uncertain the label is inside a box: basin entropy, and the shares of the basins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.label_plane import checked_boxes, checked_labels, classes_of, described
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.draws import as_array, checked_confidence
from denoscope.dynamics.statistics.proportion import normal_quantile, wilson
from denoscope.dynamics.statistics.standard_error import student_quantile
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer

Interval = tuple[float, float]
LEAST_TILINGS = 4
"""Shifts each way that the interval of an entropy is taken over."""
BLOCKS = (3, 5, 10)
"""Blocks each way that the shares of a plane are compared between."""
CORRELATED = 18
"""Independent draws below which basins are as wide as the widest blocks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinEntropy(Result):
    """Entropies in nats: numbers where `box` is one, arrays where it is several.

    The intervals reach from the lowest to the highest value over shifted tilings: what the placement of the boxes
    alone changes. `boundary_boxes` is the mean number of boxes with more than one label.
    """

    box: int | tuple[int, ...]
    entropy: Any
    boundary_entropy: Any
    entropy_interval: Any
    boundary_interval: Any
    boundary_boxes: Any

    @property
    def above_ln2(self) -> Any:
        """Whether the boundary entropy exceeds ln 2, of each box size; how to read it: `basin_entropy`."""
        return self.boundary_entropy > math.log(2)


def basin_entropy(labels: Any, *, box: int | Sequence[int] = 10, offsets: int = 1) -> BasinEntropy:
    """The mean entropy of the labels in a box of box² cells, and the same over the boxes with more than one label.

    S_b = (1/N) Σ_i S_i with S_i = −Σ_j p_ij ln p_ij, p_ij the share of label j among the cells of box i and N the
    number of boxes; S_bb = Σ_i S_i / N_b with N_b the number of boxes with more than one label. In nats.

    How to read it: S_b is 0 for one basin and ln(number of classes) where all labels are mixed everywhere; it falls
    with the box as boxˆ(2 − D), D the dimension of the boundary, so compare planes at one box size only. A straight
    boundary gives S_bb = 0.40 in boxes of many cells, and more in smaller ones: 0.62, 0.54, 0.48, 0.44 and 0.42 at 2, 3, 5,
    10 and 20 cells, in the mean over its directions. S_bb > ln 2 means that the boxes of the boundary hold, on average,
    more than what two equally mixed classes can give; a smooth boundary reaches that only where three classes meet, which
    is at points, so it shows a fractal boundary. It is sufficient, not necessary: Newton's fractal at boxes of 10 cells has 0.672.
    Misleads: labels that are random from cell to cell (a sampler with its own noise in every cell) exceed ln 2 too,
    as do basins smaller than the box; two classes alone can never exceed it. `verdict` tells these apart.

    A grid that the box does not divide is covered by whole boxes; the cells left over at its far edges don't count.

    Args:
        labels: whole numbers [ny, nx]; −1, what belongs to no class, is a class like any other.
        box: side of a box in cells, or several; they come back smallest first.
        offsets: how many tilings each way the entropies are means over, shifted by box/offsets; 1 is the one that
            starts at the corner, as it is published.

    Source: Daza, Wagemakers, Georgeot, Guéry-Odelin, Sanjuán, Scientific Reports 6, 31416 (2016).
    """
    labels = checked_labels(labels)
    several = not np.isscalar(box)
    sides = checked_boxes(box if several else [box], labels.shape, least=1)
    parse_integer(offsets, "offsets", minimum=1)
    measured = [_entropies(labels, side, int(offsets)) for side in sides]
    entropy, boundary, boxes, around, around_boundary = (
        np.array(column) if several else column[0] for column in zip(*measured, strict=True)
    )
    return BasinEntropy(
        box=sides if several else sides[0],
        entropy=entropy,
        boundary_entropy=boundary,
        entropy_interval=around,
        boundary_interval=around_boundary,
        boundary_boxes=boxes,
        origin=described(labels, sides) | {"offsets": int(offsets)},
        warnings=tuple(
            warning
            for side, (_, above, mixed, *_) in zip(sides, measured, strict=True)
            for warning in _entropy_warnings(side, labels, above, mixed)
        ),
    )


def _entropies(labels: np.ndarray, side: int, offsets: int) -> tuple[float, float, float, Interval, Interval]:
    """Entropy, boundary entropy, boundary boxes, and the range of either entropy over tilings."""
    taken = _tilings(labels, side, offsets)
    total, mixed, boxes = taken.sum(axis=0)
    others = [] if offsets >= LEAST_TILINGS else [_tilings(labels, side, LEAST_TILINGS)]
    around = np.concatenate([taken, *others])
    return (
        float(total / boxes),
        float(total / mixed) if mixed else math.nan,
        float(mixed / len(taken)),
        _ends(around[:, 0] / around[:, 2]),
        _ends(around[around[:, 1] > 0, 0] / around[around[:, 1] > 0, 1]),
    )


def _ends(values: np.ndarray) -> Interval:
    return (float(values.min()), float(values.max())) if len(values) else (math.nan, math.nan)


def _tilings(labels: np.ndarray, side: int, offsets: int) -> np.ndarray:
    """Sum of the entropies, mixed boxes and boxes [tilings, 3] of every tiling that has a whole box."""
    shifts = sorted({k * side // offsets for k in range(offsets)})
    shifted = (labels[y:, x:] for y in shifts for x in shifts)
    return np.array([_tiling(part, side) for part in shifted if min(part.shape) >= side])


def _tiling(labels: np.ndarray, side: int) -> tuple[float, float, float]:
    """Sum of the entropies, mixed boxes and boxes of the tiling from the corner of these labels."""
    high, wide = (length // side for length in labels.shape)
    cells = labels[: high * side, : wide * side].reshape(high, side, wide, side)
    entropy, kinds = np.zeros((high, wide)), np.zeros((high, wide), dtype=int)
    for label in classes_of(cells):
        share = np.count_nonzero(cells == label, axis=(1, 3)) / side**2
        entropy -= share * np.log(np.where(share > 0, share, 1))
        kinds += share > 0
    return float(entropy.sum()), float(np.count_nonzero(kinds > 1)), float(kinds.size)


def _entropy_warnings(side: int, labels: np.ndarray, boundary: float, mixed: float) -> list[str]:
    """What to beware of at one box size."""
    boxes = math.prod(length // side for length in labels.shape)
    if not mixed:
        return [
            f"no box of {side} cells holds two labels in these tilings: no boundary entropy; take larger "
            "boxes, or the mean over more tilings (offsets of basin_entropy)"
        ]
    if boundary > math.log(2) and mixed > 0.5 * boxes:
        return [
            f"more than half of the boxes of {side} cells hold several labels: above ln 2, the boundary entropy "
            "may show basins smaller than a box, or noise; see verdict"
        ]
    if mixed < 30:
        return [f"only {mixed:.0f} boxes of {side} cells hold a boundary: its entropy is a mean over few"]
    return []


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinFractions(Result):
    """The share of each class, ascending by label, with an interval [class, 2] for each on its own."""

    classes: tuple[int, ...]
    fractions: np.ndarray
    intervals: np.ndarray
    effective_number: np.ndarray
    confidence: float = 0.95


def basin_fractions(labels: Any, *, confidence: float = 0.95) -> BasinFractions:
    """The share of the labels that each class has, with Wilson intervals.

    f_j = n_j / n, without unit. Labels [n] are taken as independent draws, as those of n random x_T are: then f_j is
    the volume of basin j under the noise's own distribution. Neighbouring cells of a plane [ny, nx] depend on each
    other, so their interval counts n_eff = f(1−f)/v independent draws in place of the cells, v the largest variance of the
    mean that 3×3, 5×5 or 10×10 blocks of the plane show, larger by (t/z)² for that so few blocks know it.
    Misleads: a plane shows the shares in this plane, around its base, and nothing about noise at large; where basins are
    wider than a third of the plane the blocks depend on each other too and the interval is too narrow.

    Source: Menck, Heitzig, Marwan, Kurths, Nature Physics 9, 89 (2013); Wilson, J. Am. Stat. Assoc. 22, 209 (1927);
    design effect: Kish, Survey Sampling (1965), ch. 5.
    """
    labels = as_array(labels, "labels")
    plane = labels.ndim != 1
    if not labels.size:
        raise UserError("labels are empty; allowed: at least one label")
    labels = checked_labels(labels if plane else labels[None], least_classes=1)
    classes, confidence = classes_of(labels), checked_confidence(confidence)
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
        origin=described(labels),
        warnings=_fraction_warnings(classes, effective) if plane else (),
    )


def _effective_number(member: np.ndarray, confidence: float) -> float:
    """How many independent draws would leave the share as uncertain as the blocks of the plane do."""
    variance = max(_variance(member, blocks, confidence) for blocks in BLOCKS)
    share = member.mean()
    return float(np.clip(share * (1 - share) / variance, 1, member.size)) if variance else float(member.size)


def _variance(member: np.ndarray, blocks: int, confidence: float) -> float:
    """That of the mean as so many blocks each way show it, larger by what a few of them leave open; 0 of a single block."""
    rows = np.array_split(member.astype(float), min(blocks, member.shape[0]), axis=0)
    means = np.array(
        [part.mean() for row in rows for part in np.array_split(row, min(blocks, row.shape[1]), axis=1)]
    )
    if means.size < 2:
        return 0.0
    open_ = student_quantile(confidence, means.size - 1) / normal_quantile(confidence)
    return float(open_**2 * means.var(ddof=1) / means.size)


def _fraction_warnings(classes: np.ndarray, effective: np.ndarray) -> tuple[str, ...]:
    if len(classes) == 1:
        return (f"all cells have label {classes[0]}: the interval takes the cells as independent draws",)
    if len(coarse := classes[effective < CORRELATED]):
        named = ", ".join(map(str, coarse))
        return (f"basins of {named} are as wide as the blocks compared: their intervals are too narrow",)
    return ()
