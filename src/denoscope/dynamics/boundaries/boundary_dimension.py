"""The dimension of the boundary between basins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.boundaries.label_plane import checked_boxes, checked_labels, described, mixed_windows
from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.draws import checked_confidence, generator
from denoscope.dynamics.statistics.line_fit import weighted_line
from denoscope.dynamics.statistics.proportion import percentiles

BLOCKS = 6
"""Blocks each way that the bootstrap draws from."""
DRAWS = 400
FULL = 0.95
"""Share of mixed windows above which a size tells of the plane rather than of its boundary."""
RIM = 0.5
"""Of the way from what the edge's share of the plane is to all: a boundary of which more lies there is one of the edge."""
UNEVEN = 0.1
"""Difference of local slopes above which, if their intervals are apart too, no one exponent holds for all sizes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxFit:
    """A line through ln counts over ln(1/sides), weighted by the counts.

    `sides` in cells [k]; `counts` the mean number of mixed boxes over all offsets [k]; `local_slopes` [k − 1] between
    neighbouring sizes, each with its interval [k − 1, 2]; `residuals` [k] of ln counts.
    """

    sides: np.ndarray
    counts: np.ndarray
    slope: float
    intercept: float
    interval: tuple[float, float]
    residuals: np.ndarray
    local_slopes: np.ndarray
    local_intervals: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryDimension(Estimate):
    """The slope of `fit` is the value; that of `spaced_fit`, measured without the grid's bias, `spaced_value`.

    `interval` holds `spaced_interval` too, so that it does not hang on how a side is counted. `corner_counts` are those
    of the one tiling from the corner, `mixed_share` the share of all windows that are mixed.
    """

    spaced_value: float
    spaced_interval: tuple[float, float]
    fit: BoxFit
    spaced_fit: BoxFit
    corner_counts: np.ndarray
    mixed_share: np.ndarray


def boundary_dimension(
    labels: Any, *, boxes: Sequence[int] = (5, 10, 20, 30), seed: int = 0, confidence: float = 0.95
) -> BoundaryDimension:
    """The box-counting dimension D of the boundary: how the number of boxes with more than one label grows.

    N(b) ~ (1/b)ˆD with N the number of boxes of b×b cells that hold more than one label; `value` is the slope of ln N
    over ln(1/b), each size weighted by its count (the variance of ln N is about 1/N). Without unit; a smooth curve has
    1, a boundary that fills the plane 2. N is the mean over all b² tilings of the grid: the least over tilings, nearest
    to the definition's smallest cover, is 0 where a boundary happens to run along the boxes' sides, for it
    lies between cells. Whole boxes count; each tiling leaves out what is left over at the edges.

    How to read it: as the exponent over the sizes given and no others; look at `fit.local_slopes`, which are level
    where there is a scaling law.
    `spaced_value` is the better estimate. b cells span b − 1 spacings, so a straight boundary between cells reads
    about 0.92 in `value` with boxes of 5 to 30, and wide windows fall short at the grid's edge; the spaced fit takes
    b − 1 as the side and only windows centred where the widest fits too, and reads 1. `value` keeps to whole boxes, as is usual.
    Misleads: label noise reads up to 2; basins smaller than the boxes read 2; a curve that winds reads above 1 at the
    sizes of its turns. An exponent over less than a decade shows no fractal: see `verdict`.

    Structure finer than the cells is cut off: Koch's curve (1.26) reads 1.18 at sides of 3 to 5 cells, 1.25 above 17;
    Cantor stripes (1.63) read 1.51 with sides from 2 cells on, 1.60 from 5 on.

    The interval of a fit holds `confidence` of the slopes when blocks of the plane (6×6) are drawn anew, and those with
    any one size left out: what another part of the boundary would give, and what other sizes would. `spaced_interval`
    holds the local slopes besides, and `interval` all of these.
    With sides of 5 cells and more it holds the known dimension of disks, lines, Cantor stripes and Newton's planes of
    100² to 400² cells, 16 drawn of each; of level lines that are rough below the cells (1.5), in three of five or more.
    The graph of a rough function (Weierstrass's) is read low, 1.32 where it has 1.5, and its dimension lies outside.

    Args:
        labels: whole numbers [ny, nx]; −1, what belongs to no class, is a class like any other.
        boxes: three or more sides in cells, up to half the grid: wider boxes all hold the grid's middle.
        seed: of the draws of blocks.

    Source: McDonald, Grebogi, Ott, Yorke, Physica D 17, 125 (1985); the mean over tilings is the area of the
    boundary's Minkowski sausage by squares, divided by b² (Falconer, Fractal Geometry, 3rd ed., ch. 2).
    """
    labels = checked_labels(labels)
    confidence = checked_confidence(confidence)
    sides = checked_boxes(boxes, labels.shape, least=3, part=2)
    mixed = [mixed_windows(labels, side) for side in sides]
    everywhere = np.stack([_block_sums(m, labels.shape, 0) for m in mixed], axis=-1)
    common = np.stack(
        [_block_sums(m, labels.shape, sides[-1] - s) for m, s in zip(mixed, sides, strict=True)], -1
    )
    share = np.array([m.mean() for m in mixed])
    lengths = np.array(sides, dtype=float)
    fit = _box_fit(everywhere / lengths**2, lengths, seed, confidence)
    spaced = _box_fit(common / (lengths - 1) ** 2, lengths - 1, seed, confidence)
    spaced_interval = _hull(*spaced.interval, *spaced.local_slopes)
    return BoundaryDimension(
        value=fit.slope,
        interval=_hull(*fit.interval, *spaced_interval),
        confidence=confidence,
        spaced_value=spaced.slope,
        spaced_interval=spaced_interval,
        fit=fit,
        spaced_fit=spaced,
        corner_counts=np.array([m[::s, ::s].sum() for m, s in zip(mixed, sides, strict=True)]),
        mixed_share=share,
        origin=described(labels, sides) | {"seed": seed},
        warnings=(*_warnings(sides, share, spaced), *_at_the_rim(mixed[0], sides[0], sides[-1])),
    )


def _block_sums(mixed: np.ndarray, shape: tuple[int, ...], trim: int) -> np.ndarray:
    """Mixed windows [BLOCKS²] by the block of the plane their centre is in, `trim` windows fewer along each axis."""
    first = trim // 2
    inner = mixed[first : mixed.shape[0] - (trim - first), first : mixed.shape[1] - (trim - first)]
    for axis in range(2):
        centre = first + np.arange(inner.shape[axis]) + (shape[axis] - mixed.shape[axis]) / 2
        starts = np.searchsorted(centre, np.arange(BLOCKS) * shape[axis] / BLOCKS)
        sums = np.concatenate([np.zeros_like(inner.take([0], axis), dtype=int), inner.cumsum(axis)], axis)
        inner = np.diff(sums.take([*starts, inner.shape[axis]], axis), axis=axis)
    return inner.ravel()


def _box_fit(blocks: np.ndarray, sides: np.ndarray, seed: int, confidence: float) -> BoxFit:
    """The fit to counts [block, size] summed over blocks, with the intervals that drawing blocks anew gives."""
    counts, x = blocks.sum(axis=0), -np.log(sides)
    slope, intercept = weighted_line(x, _logs(counts), counts)
    drawn = generator(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), DRAWS) @ blocks
    # A draw of empty blocks alone has no slope.
    drawn = drawn[(drawn > 0).all(axis=1)]
    left_out = np.where(np.eye(len(sides), dtype=bool), 0.0, counts)
    others = weighted_line(x, _logs(counts), left_out)[0]
    drawn_slopes = percentiles(weighted_line(x, _logs(drawn), drawn)[0], confidence=confidence)
    return BoxFit(
        sides=sides,
        counts=counts,
        slope=float(slope),
        intercept=float(intercept),
        interval=_hull(*drawn_slopes, *others),
        residuals=_logs(counts) - slope * x - intercept,
        local_slopes=_local_slopes(counts, x),
        local_intervals=np.array(
            [percentiles(column, confidence=confidence) for column in _local_slopes(drawn, x).T]
        ),
    )


def _local_slopes(counts: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Slopes between neighbouring sizes, NaN where one of the two was not counted."""
    counted = (counts[..., 1:] > 0) & (counts[..., :-1] > 0)
    return np.where(counted, np.diff(_logs(counts), axis=-1) / np.diff(x), np.nan)


def _hull(*values: float) -> tuple[float, float]:
    """The shortest interval that holds all values that are numbers; NaN if there are none."""
    known = [float(value) for value in values if not math.isnan(value)]
    return (min(known), max(known)) if known else (math.nan, math.nan)


def _logs(counts: np.ndarray) -> np.ndarray:
    """Logarithms of counts, 0 where nothing was counted; such a count has no weight."""
    return np.log(np.where(counts > 0, counts, 1))


def _warnings(sides: tuple[int, ...], share: np.ndarray, spaced: BoxFit) -> tuple[str, ...]:
    """What to beware of in the counts."""
    warnings = []
    if full := [side for side, part in zip(sides, share, strict=True) if part > FULL]:
        warnings.append(
            f"boxes of {_listed(full)} cells hold a boundary nearly everywhere: their counts are those of the plane; "
            "take smaller boxes"
        )
    if empty := [side for side, number in zip(sides, spaced.counts, strict=True) if not number]:
        warnings.append(
            f"the boundary lies at the grid's edge: the spaced fit has no boxes of {_listed(empty)} cells"
        )
    elif np.ptp(spaced.local_slopes) > UNEVEN and _apart(spaced.local_intervals):
        warnings.append(
            f"the local slopes run from {spaced.local_slopes.min():.2f} to {spaced.local_slopes.max():.2f}: no one "
            "exponent holds for all these sizes; look at spaced_fit.local_slopes, and take sizes between which they agree"
        )
    if spaced.interval[0] > 1 and math.log10(spaced.sides[-1] / spaced.sides[0]) < 1:
        warnings.append(
            f"boxes of {sides[0]} to {sides[-1]} cells span less than a decade: an exponent, but no evidence of a fractal"
        )
    return tuple(warnings)


def _at_the_rim(mixed: np.ndarray, side: int, widest: int) -> list[str]:
    """A warning where much of the boundary, as the smallest windows show it, lies where the widest box does not fit around."""
    margin = (widest - side) // 2 + widest // 2
    inner = mixed[margin : mixed.shape[0] - margin, margin : mixed.shape[1] - margin]
    rim, area = 1 - inner.sum() / max(mixed.sum(), 1), 1 - inner.size / mixed.size
    if not area < rim or rim < RIM + (1 - RIM) * area:
        return []
    return [
        f"{rim:.0%} of the boundary lies so near the grid's edge that the widest boxes, {widest} cells, see only a part of "
        "it: the slopes are those of the edge too; shift the plane or take smaller boxes"
    ]


def _apart(intervals: np.ndarray) -> bool:
    """Whether two of the intervals [n, 2] share no value."""
    return bool(intervals[:, 0].max() > intervals[:, 1].min())


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
