"""What a measure is given: finite float64 numbers as a series, as points, or as trajectories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from denoscope.dynamics.statistics import draws
from denoscope.foundation.errors import UserError

SMALLEST, LARGEST = 1e-60, 1e60
"""Between these fourth powers of numbers, and sums of them, are finite and not 0."""


def as_array(values: Any, name: str) -> np.ndarray:
    """The numbers of a tensor, an array of numpy or xarray, or a list, in float64; all must be finite, and so
    must their fourth powers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values if values.is_complex() else values.double()).numpy()
    array = draws.as_array(values, name)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} holds {array.dtype}; real numbers are needed")
    array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        first = np.unravel_index(int(np.argmin(finite)), array.shape)
        place = ", ".join(str(int(k)) for k in first)
        raise UserError(
            f"{name} has {np.count_nonzero(~finite)} of {array.size} numbers that are not finite,"
            f" the first at [{place}]; leave them out or record anew"
        )
    if (largest := float(np.abs(array).max(initial=0))) > LARGEST:
        _refuse_size(largest, name)
    return array


def _refuse_size(largest: float, name: str) -> None:
    raise UserError(
        f"{name} holds numbers of up to {largest:.0e}, whose products float64 does not hold; allowed: up to "
        f"{LARGEST:.0e}, and of states from {SMALLEST:.0e} on: divide all of them by {largest:.0e}"
    )


def _refuse_tiny(points: np.ndarray, name: str) -> None:
    """Refuse states whose distances would all be 0."""
    if 0 < (largest := float(np.abs(points).max(initial=0))) < SMALLEST:
        _refuse_size(largest, name)


def as_series(values: Any, *, name: str, least: int) -> np.ndarray:
    """A scalar series [time] that is long enough and not constant."""
    series = as_array(values, name)
    if series.ndim != 1:
        raise UserError(f"{name} has shape {list(series.shape)}; one number a time is needed: [time]")
    _enough(len(series), "values", name, least)
    if series.max() == series.min():
        raise UserError(f"{name} is constant at {series[0]:g}; a constant series has no dynamics to measure")
    return series


def as_points(values: Any, *, name: str, least: int) -> np.ndarray:
    """Points [n, d] of what has shape [n] or [n, …], enough of them and not all the same."""
    points = as_array(values, name)
    if points.ndim == 0 or not points.size:
        raise UserError(f"{name} has shape {list(points.shape)}; points are needed: [n] or [n, …]")
    points = points.reshape(len(points), -1)
    _enough(len(points), "points", name, least)
    _refuse_tiny(points, name)
    if (points == points[0]).all():
        raise UserError(f"all {len(points)} rows of {name} are the same; there is nothing to measure")
    return points


def as_trajectories(values: Any, *, name: str, least: int) -> np.ndarray:
    """Trajectories [sample, state, d] of what has shape [sample, state, …], of at least `least` states."""
    array = as_array(values, name)
    if array.ndim < 2 or not array.size:
        raise UserError(
            f"{name} has shape {list(array.shape)}; trajectories are needed: [sample, state, …],"
            " and a single one as [1, state, …]"
        )
    trajectories = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))
    _enough(trajectories.shape[1], "states a trajectory", name, least)
    _refuse_tiny(trajectories, name)
    return trajectories


def _enough(count: int, what: str, name: str, least: int) -> None:
    if count < least:
        raise UserError(f"{name} has {count} {what}; at least {least} are needed")
