"""The uncertainty exponent: how the uncertainty of the label vanishes with the uncertainty of the initial condition."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.fraction_fit import (
    fit_fractions,
    local_slopes,
    residuals,
    slope_interval,
    usable_fractions,
)
from denoscope.dynamics.boundaries.label_plane import label_array
from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_array, parse_confidence, random_generator
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.checksum import checksum_of_json
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_callable, describe, parse_integer

if TYPE_CHECKING:
    import xarray

PROBED = 16
"""Number of points whose labels identify a function in a checkpoint."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UncertaintyExponent(Estimate):
    """The exponent `value`, and the fraction of uncertain pairs [e] at each epsilon [e] with its Wilson interval [e, 2].

    `used` [e] marks the fractions in the fit, `residuals` [e] are those of ln fraction (NaN if not used or 0),
    `local_slopes` [e − 1] the slopes between neighbouring epsilons. `unrelated` is the fraction of pairs of unrelated
    points that differ, 1 − Σ p_j². `value` is NaN and `interval` None if too few fractions can be used.
    """

    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("epsilons", "fractions", "fraction_intervals", "used", "residuals"), "epsilons"
    )
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
        """The box-counting dimension of the boundary, D = d − α, where d is the dimension of the points."""
        return self.dimension - self.value


@calls_checked
def uncertainty_exponent(
    label_of: Callable[[np.ndarray], Any],
    points: Any,
    epsilons: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    batch_size: int | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> UncertaintyExponent:
    """The exponent α in f(ε) ~ εˆα, where f is the share of points that have another label at distance ε.

    Each point is compared with one neighbour in a random direction at each ε. α is the slope of ln f over ln ε that
    makes the counts most likely (binomial): a fit with the weights n f/(1 − f), the inverse variance of ln f, where f is
    the fitted line itself, so that counts of 0 contribute and small counts do not bias it. Dimensionless. The
    box-counting dimension of the boundary in d dimensions is d − α.

    Interpretation: α = 1 is a smooth boundary: a tenth of the distance leaves a tenth of the uncertainty. Near α = 0 no
    precision determines the label. Ten times less uncertainty takes 10ˆ(1/α) times the precision.

    Caveats: where ε exceeds the width of the basins, f saturates at `unrelated`, which is not a small α. Such ε are left
    out unless all are of this kind, which means that the labels have no structure at these ε: noise, or finer basins.
    Fractions of 1 are left out too. A point must have the same label whenever it is evaluated.

    The interval is the union of the bootstrap interval (1000 samples of points with their pairs at all ε) and that of the
    likelihood, widened by the misfit: the part of the difference between the slopes of the smaller and the larger ε that
    scatter does not explain. A warning says if f is not a power law. The interval is that of the slope over the given ε: a slope
    that still changes towards smaller ε, by less than scatter shows, is not noticed. The measured coverage is in
    `docs/intervals.md`.

    Args:
        label_of: a function from points [n, d] to integers [n]. The result of `basins.label_of`, or a `PointLabels` of
            your own, also describes its origin and the smallest ε that it resolves.
        points: the points [n, d], each an independent draw from the region in question.
        epsilons: at least three distances (L2), preferably over a decade or more.
        seed: of the directions and of the bootstrap.
        batch_size: points that label_of receives at once, by default all; the checkpoint is saved between batches.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if points or epsilons are too few or not finite, label_of does not return one integer for each
        point, or the checkpoint exists or holds other work.

    Source: Grebogi, McDonald, Ott, Yorke, Phys. Lett. A 99, 415 (1983); McDonald et al., Physica D 17, 125 (1985).
    """
    points, distances = _parse_points(points), _parse_epsilons(epsilons)
    confidence = parse_confidence(confidence)
    check_callable(label_of, "label_of", ("points [n, d]",), "integers [n]")
    point_labels = label_of if isinstance(label_of, PointLabels) else PointLabels(label_of)
    if distances[0] < point_labels.resolution:
        raise UserError(
            f"{spelled('epsilons')} starts at {distances[0]:g}; allowed: at least {point_labels.resolution:.1e}, "
            "the smallest distance that the labels resolve"
        )
    points_per_batch = (
        len(points) if batch_size is None else parse_integer(batch_size, "batch_size", minimum=1)
    )
    probes = _probes(points, distances, seed)
    settings = {"epsilons": distances.tolist(), "seed": seed, **point_labels.origin}
    with parse_checkpoint(checkpoint).open(_unlabelled(point_labels, probes, settings)) as work:
        label, computed = (work.data[name].values for name in ("label", "computed"))
        work.run(_label_probes(point_labels, probes, label, computed, points_per_batch), computed.size)
    return _exponent(label, distances, points.shape[1], seed, confidence, point_labels.origin)


@calls_checked
def uncertainty_exponent_of(
    labels: Any,
    neighbour_labels: Any,
    epsilons: Sequence[float] | np.ndarray,
    *,
    dimension: int,
    seed: int = 0,
    confidence: float = 0.95,
) -> UncertaintyExponent:
    """`uncertainty_exponent` from labels that are already known.

    Args:
        labels: integers [n], the label of each point.
        neighbour_labels: integers [e, n], the label of its neighbour at each distance.
        epsilons: the distances [e], ascending.
        dimension: that of the points.
        seed: of the bootstrap.

    Raises: UserError if labels and epsilons do not fit together, or labels come from a map with filled cells.
    """
    distances, at_points, at_neighbours = (
        _parse_epsilons(epsilons),
        label_array(labels),
        label_array(neighbour_labels),
    )
    if audit_of(labels).filled or audit_of(neighbour_labels).filled:
        raise UserError(
            "labels come from a map with filled cells, which hide the differences that this measure counts; allowed: computed "
            f"labels, from ds.basins.label_of or from a map with {spelled('method', 'exact')}"
        )
    if distances.tolist() != [float(epsilon) for epsilon in epsilons]:
        raise UserError(
            f"{spelled('epsilons')} is {describe(epsilons)}; allowed: different distances in ascending order"
        )
    expected = (len(distances), *at_points.shape)
    if (
        at_points.ndim != 1
        or at_neighbours.shape != expected
        or {at_points.dtype.kind, at_neighbours.dtype.kind} - set("iub")
    ):
        raise UserError(
            f"labels are {at_points.dtype} {list(at_points.shape)} and neighbour_labels {at_neighbours.dtype} "
            f"{list(at_neighbours.shape)} for {len(distances)} epsilons; allowed: integers [n] and [epsilon, n]"
        )
    confidence = parse_confidence(confidence)
    parse_integer(dimension, "dimension", minimum=1)
    return _exponent(
        np.concatenate([at_points[None], at_neighbours]), distances, dimension, seed, confidence, {}
    )


def _exponent(
    label: np.ndarray,
    distances: np.ndarray,
    dimension: int,
    seed: int,
    confidence: float,
    origin: Mapping[str, Any],
) -> UncertaintyExponent:
    """The exponent from the labels [1 + e, n] of the points and of their neighbours."""
    number, x = label.shape[1], np.log(distances)
    uncertain = (label[1:] != label[0]).T
    hits = uncertain.sum(axis=0)
    unrelated = 1 - float(((np.unique(label[0], return_counts=True)[1] / number) ** 2).sum())
    used, warnings = usable_fractions(hits, number, unrelated, distances)
    fit, (_, bootstrap) = fit_fractions(x, hits, number, used), random_generator(seed).spawn(2)
    interval, misfit = (
        slope_interval(x, uncertain, used, fit, bootstrap, confidence)
        if math.isfinite(fit.slope)
        else (None, ())
    )
    return UncertaintyExponent(
        value=float(fit.slope),
        interval=interval,
        confidence=confidence,
        epsilons=distances,
        fractions=hits / number,
        fraction_intervals=wilson(hits, number, confidence=confidence),
        used=used,
        residuals=residuals(x, hits, number, used, fit),
        local_slopes=local_slopes(x, hits, number, used),
        unrelated=unrelated,
        dimension=dimension,
        origin={
            "points": number,
            "dimension": dimension,
            "epsilons": distances.tolist(),
            "seed": seed,
            **origin,
        },
        warnings=(*warnings, *misfit),
    )


def _parse_points(points: Any) -> np.ndarray:
    points = parse_array(points, "points")
    if points.ndim != 2 or points.dtype.kind not in "fiu" or len(points) < 2 or not points.shape[1]:
        raise UserError(
            f"points are {points.dtype} of shape {list(points.shape)}; allowed: at least 2 points [n, d] of real numbers"
        )
    if wrong := int(np.count_nonzero(~np.isfinite(points).all(axis=1))):
        raise UserError(
            f"{wrong} of {len(points)} points are not finite; allowed: finite numbers; leave them out"
        )
    return points.astype(float)


def _parse_epsilons(epsilons: Any) -> np.ndarray:
    distances = parse_array(epsilons, "epsilons")
    if distances.ndim != 1 or distances.dtype.kind not in "fiu" or len(np.unique(distances)) < 3:
        raise UserError(
            f"{spelled('epsilons')} is {describe(epsilons)}; allowed: at least 3 different distances, such as [0.001, 0.01, 0.1]"
        )
    if not (np.isfinite(distances).all() and (distances > 0).all()):
        raise UserError(f"{spelled('epsilons')} is {distances.tolist()}; allowed: finite numbers above 0")
    return np.unique(distances.astype(float))


def _probes(points: np.ndarray, distances: np.ndarray, seed: int) -> np.ndarray:
    """The points, followed by their neighbours at each distance [1 + e, n, d]."""
    directions, _ = random_generator(seed).spawn(2)
    return np.stack([points, *(points + eps * _unit_vectors(directions, points.shape) for eps in distances)])


def _unit_vectors(draws: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Unit vectors, uniform on the sphere."""
    drawn = draws.standard_normal(shape)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _unlabelled(label_of: PointLabels, probes: np.ndarray, settings: dict[str, Any]) -> xarray.Dataset:
    """Labels (ask, point) of probes [ask, point, d] before any work: only the first points, which identify label_of, have
    theirs."""
    import xarray

    first = label_of(probes[0, :PROBED])
    label = np.zeros(probes.shape[:2], np.int64)  # later labels may exceed the dtype of the first
    computed = np.zeros(probes.shape[:2], bool)
    label[0, : len(first)], computed[0, : len(first)] = first, True
    identity = {
        "points": checksum_of_json(probes[0].tolist()),
        "labels of the first": first.tolist(),
        **settings,
    }
    return xarray.Dataset(
        {"label": (("ask", "point"), label), "computed": (("ask", "point"), computed)},
        attrs={IDENTITY: identity},
    )


def _label_probes(
    label_of: PointLabels, probes: np.ndarray, label: np.ndarray, computed: np.ndarray, points_per_batch: int
) -> Iterator[int]:
    """Fill in the labels that are not computed yet, and yield the number of finished labels after each batch."""
    for row in range(len(probes)):
        for first in range(0, probes.shape[1], points_per_batch):
            pending = first + np.flatnonzero(~computed[row, first : first + points_per_batch])
            if pending.size:
                label[row, pending], computed[row, pending] = label_of(probes[row, pending]), True
                yield int(computed.sum())
