"""What is measured of one level of a zoom."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray

from denoscope.basins.labelling import Labelling
from denoscope.dynamics.boundaries.audit import audit_of
from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.box_fit import hull
from denoscope.dynamics.boundaries.curvature import curvature
from denoscope.dynamics.boundaries.filled_maps import allowed_planes
from denoscope.dynamics.boundaries.label_plane import doubling_boxes
from denoscope.dynamics.boundaries.uncertainty_exponent import UncertaintyExponent, uncertainty_exponent_of
from denoscope.noise.plane_noise import PlaneNoise

DIRECTIONS = 8
"""The number of directions in which growth is measured, each by two noises."""
NONE = (math.nan, math.nan)


def of_labels(label: xarray.DataArray, plane: PlaneNoise, seed: int) -> dict[str, Any]:
    """Dimension, uncertainty exponent and curvature of the boundary in a level [ny, nx] of two labels or more.

    The label carries the audit of its filled cells, and the intervals cover as many wrong ones as it allows.
    """
    labels, sides = label.values, doubling_boxes(label.shape)
    dimension = boundary_dimension(label, boxes=sides, seed=seed)
    spacing = math.sqrt(math.prod(plane.spacing))

    def exponent_of(labels: np.ndarray) -> UncertaintyExponent:
        neighbours, points = _pairs(labels, [side - 1 for side in sides], seed)
        distances = [spacing * (side - 1) for side in sides]
        return uncertainty_exponent_of(points, neighbours, distances, dimension=2, seed=seed)

    exponent = exponent_of(labels)
    of_allowed = [exponent_of(allowed).value for allowed in allowed_planes(labels, audit_of(label))]
    bend, error = curvature(labels, plane.u, plane.v)
    return {
        "dimension": dimension.value,
        "dimension_interval": dimension.interval or NONE,
        "uncertainty_exponent": exponent.value,
        "uncertainty_interval": hull(*exponent.interval, *of_allowed) if exponent.interval else NONE,
        "box_counts": dimension.fit.counts,
        "curvature": bend,
        "curvature_error": error,
    }


def growth(labelling: Labelling, plane: PlaneNoise) -> float:
    """ln of the growth of differences between x_T and x_0, from the middle of a level to its edge; for the whole map.

    √(mean of ‖x_0(δ) − x_0(−δ)‖² / ‖2δ‖²) over directions of δ, with ‖δ‖ the half-width.
    """
    angles = math.pi * np.arange(DIRECTIONS) / DIRECTIONS
    ends = max(plane.lengths) / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x_0 = labelling.images(plane.at(np.concatenate([ends, -ends]))).double()
    apart = (x_0[:DIRECTIONS] - x_0[DIRECTIONS:]).flatten(1).norm(dim=1) / max(plane.lengths)
    square = float(apart.square().mean())
    return math.log(square) / 2 if 0 < square < math.inf else math.nan


def _pairs(labels: np.ndarray, steps: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels [e, n] of the cells `steps` [e] cells to the right, left, above or below, at random, of inner cells; and
    the labels [n] of these."""
    reach = max(steps)
    rows, columns = (
        axis.ravel() for axis in np.mgrid[reach : labels.shape[0] - reach, reach : labels.shape[1] - reach]
    )
    turn = np.random.default_rng(seed).integers(0, 4, len(rows))
    down, along = np.array([0, 0, 1, -1])[turn], np.array([1, -1, 0, 0])[turn]
    neighbours = np.stack([labels[rows + step * down, columns + step * along] for step in steps])
    return neighbours, labels[rows, columns]
