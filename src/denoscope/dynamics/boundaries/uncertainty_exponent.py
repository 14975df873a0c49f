"""How fast uncertainty about the label vanishes with the uncertainty about the initial condition."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_array, parse_confidence, random_generator
from denoscope.dynamics.statistics.intervals import normal_quantile, percentile_interval, wilson
from denoscope.dynamics.statistics.line_fit import weighted_line
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.checksum import checksum_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import check_callable, parse_integer

if TYPE_CHECKING:
    import xarray

DRAWS = 1000
PROBED = 16
"""Points whose labels tell one function of points from another."""
ROUNDS = 30
"""Of the fit; it stands after five or six."""
LEAST_LOG = -100.0
SATURATED = 0.75
"""Share of the fraction that unrelated points would give, above which basins are smaller than epsilon."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UncertaintyExponent(Estimate):
    """The exponent, and the fraction of uncertain pairs [e] with its Wilson interval [e, 2] at each epsilon [e].

    `used` [e] marks the fractions in the fit, `residuals` [e] are those of ln fraction (NaN where not used or 0);
    `unrelated` is the fraction that pairs of unrelated points would give, 1 − Σ p_j².
    """

    epsilons: np.ndarray
    fractions: np.ndarray
    fraction_intervals: np.ndarray
    used: np.ndarray
    residuals: np.ndarray
    local_slopes: np.ndarray
    unrelated: float
    dimension: int

    @property
    def boundary_dimension(self) -> float:
        """D0 = d − alpha, d the dimension of the points."""
        return self.dimension - self.value


def uncertainty_exponent(
    label_of: Callable[[np.ndarray], Any],
    points: Any,
    epsilons: Sequence[float],
    *,
    seed: int = 0,
    confidence: float = 0.95,
    batch_size: int | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> UncertaintyExponent:
    """The exponent alpha in f(ε) ~ εˆalpha, f the share of points that have another label at distance ε.

    Every point is compared with one neighbour at distance ε in a random direction, drawn anew for every ε. alpha is the
    slope of ln f over ln ε under which the counts are most likely (binomial): a fit weighted by n f/(1 − f), the inverse
    variance of ln f, with f the fitted line itself, so that counts of 0 count and small ones don't bend it. Without unit.
    D0 = d − alpha is the box-counting dimension of the boundary in a d-dimensional space.

    How to read it: 1 is a smooth boundary: ten times the precision, a tenth of the uncertainty; alpha near 0 is a label
    that no precision settles. To have the label ten times surer takes 10ˆ(1/alpha) times the precision.
    Misleads: where ε exceeds the basins' width f levels off at `unrelated`, which is no small alpha; such ε are left out
    unless all are of that kind, and then the label has no structure at these ε: noise or basins too fine. Fractions of 1
    are left out too. The points' labels must be the same when asked again.

    The interval holds that of 1000 bootstrap draws of the points, each with its pairs at all ε, and that of the likelihood.

    Args:
        label_of: labels [n] of points [n, d], asked for the points and for their neighbours at every ε. Where it has an
            `origin`, a dictionary of what it was made with, as that of `basins.label_of` has, the result holds that too;
            where it has a `resolution`, no epsilon may be less.
        points: where to look [n, d]; one point is one draw, so spread them as the question is put.
        epsilons: three or more distances (L2), a decade or more apart from first to last.
        seed: of the directions and of the bootstrap.
        batch_size: points that label_of is asked for at once; all unless given. What is finished is kept so often.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if points or epsilons are too few or not finite, label_of gives no label for each point, or the
        checkpoint exists or holds other work.

    Source: Grebogi, McDonald, Ott, Yorke, Phys. Lett. A 99, 415 (1983); McDonald et al., Physica D 17, 125 (1985).
    """
    points, distances = _checked_points(points), _checked_epsilons(epsilons)
    confidence = parse_confidence(confidence)
    check_callable(label_of, "label_of", "points to whole numbers")
    if distances[0] < (least := getattr(label_of, "resolution", 0.0)):
        raise UserError(
            f"epsilon {distances[0]:g} is too small: label_of resolves points that are {least:.1e} apart; allowed: no less"
        )
    directions, bootstrap = random_generator(seed).spawn(2)
    asked = np.stack([points, *(points + eps * _directions(directions, points.shape) for eps in distances)])
    at_once = len(points) if batch_size is None else parse_integer(batch_size, "batch_size", minimum=1)
    parts = range(0, len(points), at_once)
    made_with = dict(getattr(label_of, "origin", {}))
    fresh = _unlabelled(label_of, asked, {"epsilons": distances.tolist(), "seed": seed, **made_with})
    with parse_checkpoint(checkpoint).open(fresh) as file:
        label, computed = (file.data[name].values for name in ("label", "computed"))
        for row, first in itertools.product(range(len(asked)), parts):
            left = first + np.flatnonzero(~computed[row, first : first + parts.step])
            if left.size:
                label[row, left], computed[row, left] = _labels(label_of, asked[row, left]), True
                file.save()
            file.report(int(computed.sum()), computed.size)
    here = label[0]
    uncertain = (label[1:] != here).T
    number, hits = len(points), uncertain.sum(axis=0)
    unrelated = 1 - float(((np.unique(here, return_counts=True)[1] / number) ** 2).sum())
    used, warnings = _usable(hits, number, unrelated, distances)
    x = np.log(distances)
    slope, intercept, error = _fit(x, hits, number, used)
    return UncertaintyExponent(
        value=float(slope),
        interval=_interval(x, uncertain, used, bootstrap, (slope, error), confidence)
        if math.isfinite(slope)
        else None,
        confidence=confidence,
        epsilons=distances,
        fractions=hits / number,
        fraction_intervals=wilson(hits, number, confidence=confidence),
        used=used,
        residuals=np.where(
            used & (hits > 0), np.log(np.where(hits > 0, hits, 1) / number) - slope * x - intercept, np.nan
        ),
        local_slopes=_local_slopes(x, hits, number, used & (hits > 0)),
        unrelated=unrelated,
        dimension=points.shape[1],
        origin={"points": number, "dimension": points.shape[1], "epsilons": distances.tolist(), "seed": seed}
        | made_with,
        warnings=warnings,
    )


def _checked_points(points: Any) -> np.ndarray:
    points = parse_array(points, "points")
    if points.ndim != 2 or points.dtype.kind not in "fiu" or len(points) < 2 or not points.shape[1]:
        raise UserError(
            f"points are {points.dtype} of shape {points.shape}; allowed: numbers [n, d], at least 2 of them"
        )
    if wrong := int(np.count_nonzero(~np.isfinite(points).all(axis=1))):
        raise UserError(
            f"{wrong} of {len(points)} points are not finite; allowed: finite numbers; leave them out"
        )
    return points.astype(float)


def _checked_epsilons(epsilons: Any) -> np.ndarray:
    distances = parse_array(epsilons, "epsilons")
    if distances.ndim != 1 or distances.dtype.kind not in "fiu" or len(np.unique(distances)) < 3:
        raise UserError(
            f"epsilons are {epsilons!r}; allowed: at least 3 different distances, as [0.001, 0.01, 0.1]"
        )
    if not (np.isfinite(distances).all() and (distances > 0).all()):
        raise UserError(f"epsilons are {distances.tolist()}; allowed: finite numbers above 0")
    return np.unique(distances.astype(float))


def _unlabelled(
    label_of: Callable[[np.ndarray], Any], asked: np.ndarray, settings: dict[str, Any]
) -> xarray.Dataset:
    """Labels (ask, point) of points [ask, point, d], of which the first are known: they tell one label_of from another."""
    import xarray

    first = _labels(label_of, asked[0, :PROBED])
    label = np.zeros(asked.shape[:2], np.int64)  # labels to come may not fit in the dtype of the first
    computed = np.zeros(asked.shape[:2], bool)
    label[0, : len(first)], computed[0, : len(first)] = first, True
    identity = {"points": checksum_of(asked[0].tolist()), "labels of the first": first.tolist(), **settings}
    return xarray.Dataset(
        {"label": (("ask", "point"), label), "computed": (("ask", "point"), computed)},
        attrs={IDENTITY: identity},
    )


def _labels(label_of: Callable[[np.ndarray], Any], points: np.ndarray) -> np.ndarray:
    labels = parse_array(label_of(points), "labels of label_of")
    if labels.shape != (len(points),) or labels.dtype.kind not in "iub":
        raise UserError(
            f"label_of gave {labels.dtype} of shape {labels.shape} for points {points.shape}; "
            f"allowed: one whole number a point, shape ({len(points)},)"
        )
    return labels


def _directions(draws: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Unit vectors, uniform on the sphere."""
    drawn = draws.standard_normal(shape)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _usable(
    hits: np.ndarray, number: int, unrelated: float, distances: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which fractions tell of the boundary, and a line for every kind that doesn't."""
    warnings = []
    every = hits == number
    if every.any():
        warnings.append(
            f"all pairs differ at epsilon {_listed(distances[every])}: left out; take other epsilons"
        )
    if not hits.any():
        warnings.append("no pairs differ at any epsilon: take larger ones")
    if not unrelated:
        warnings.append("all points have one label: take points from a wider region")
    level = (hits >= SATURATED * unrelated * number) & (unrelated > 0)
    if level.all() and not every.all():
        warnings.append(
            "pairs differ as unrelated points do at every epsilon: noise, or basins finer than the epsilons"
        )
    elif (level & ~every).any():
        warnings.append(f"epsilon {_listed(distances[level & ~every])} exceed the basins' width: left out")
    used = ~every & (~level | level.all())
    told = distances[used & (hits > 0)]
    if used.sum() < 3 or len(told) < 2:
        warnings.append(
            f"{used.sum()} usable fractions, {len(told)} of them above 0, where a fit takes 3 and 2: no exponent; take "
            "other epsilons or more points"
        )
        return np.zeros_like(used), tuple(warnings)
    if np.log10(told.max() / told.min()) < 1:
        warnings.append(
            "the usable epsilons span less than a decade: an exponent, but no evidence of a fractal"
        )
    return used, tuple(warnings)


def _fit(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slope and intercept [...] of ln fraction over x [e] that make counts [..., e] of pairs most likely, and the slope's
    standard error by Fisher's information; NaN where fewer than two counts are above 0.

    Iteratively reweighted least squares (McCullagh and Nelder, Generalized Linear Models, 1989), binomial with log link.
    """
    share = hits / number
    fraction = (hits + 0.5) / (number + 1)
    for _ in range(ROUNDS):
        weights = np.where(used, number * fraction / (1 - fraction), 0.0)
        slope, intercept = weighted_line(x, np.log(fraction) + share / fraction - 1, weights)
        line = slope[..., None] * x + intercept[..., None]
        # Half a pair short of all keeps the weight finite where the line passes 1.
        fraction = np.exp(np.clip(line, LEAST_LOG, math.log1p(-0.5 / number)))
    known = (used & (hits > 0)).sum(axis=-1) >= 2
    middle = (weights * x).sum(axis=-1) / weights.sum(axis=-1).clip(min=1e-300)
    information = (weights * (x - middle[..., None]) ** 2).sum(axis=-1)
    return tuple(
        np.where(known, one, np.nan) for one in (slope, intercept, information.clip(min=1e-300) ** -0.5)
    )


def _local_slopes(x: np.ndarray, hits: np.ndarray, number: int, used: np.ndarray) -> np.ndarray:
    """Slopes [e − 1] between neighbouring epsilons, NaN where one of the two is not used."""
    steps = np.diff(np.log(np.where(hits > 0, hits, 1) / number)) / np.diff(x)
    return np.where(used[:-1] & used[1:], steps, np.nan)


def _interval(
    x: np.ndarray,
    uncertain: np.ndarray,
    used: np.ndarray,
    draws: np.random.Generator,
    fitted: tuple[np.ndarray, np.ndarray],
    confidence: float,
) -> tuple[float, float]:
    """Percentiles of the slope over bootstrap draws of the points, and slope ± z·error: a count of 0 is 0 in every draw."""
    # Points of the same pattern are exchangeable: few patterns are drawn where there are many points.
    patterns, times = np.unique(uncertain, axis=0, return_counts=True)
    drawn = draws.multinomial(len(uncertain), times / len(uncertain), DRAWS) @ patterns.astype(float)
    low, high = percentile_interval(_fit(x, drawn, len(uncertain), used)[0], confidence=confidence)
    slope, reach = float(fitted[0]), normal_quantile(confidence) * float(fitted[1])
    return float(np.fmin(low, slope - reach)), float(np.fmax(high, slope + reach))


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
