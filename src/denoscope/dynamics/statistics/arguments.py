"""Arguments of measures: series, points and trajectories of finite numbers, seeds and confidence levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.validation import describe, parse_integer, parse_real

EPSILON = float(np.finfo(np.float64).eps)
WITHOUT_NUMPY = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
"""Dtypes that NumPy lacks, all of whose numbers float32 contains."""
FEW_ROUNDINGS = 4
LEVELS = 1e-15, 0.999999999999999
"""The confidence levels that messages allow."""
SMALLEST, LARGEST = 1e-60, 1e60
"""Fourth powers of numbers between these bounds, and sums of such powers, neither overflow nor underflow."""


def parse_array(values: Any, name: str) -> np.ndarray:
    """The values of a list or of a PyTorch, NumPy or xarray array, as an array of any dtype.

    A tensor may be in bfloat16, which becomes float32, on any device, and in a graph of gradients; a list may hold
    tensors.

    Raises: UserError if the rows have unequal lengths, or the array is masked, sparse or quantized.
    """
    check_unmasked(values, name)
    values = _without_tensors(values, name)
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(
            f"{name} has rows of unequal length; allowed: an array, with rows of equal length"
        ) from None
    except TypeError:
        raise UserError(f"{name} is {describe(values)}; allowed: an array") from None


def parse_numbers(values: Any, name: str) -> np.ndarray:
    """The values of a list or of a PyTorch, NumPy or xarray array, in float64.

    Raises: UserError if a value is not real, not finite, or so large that its fourth power overflows.
    """
    return parse_rounded(values, name)[0]


def parse_rounded(values: Any, name: str) -> tuple[np.ndarray, float]:
    """The values as from `parse_numbers`, and their absolute rounding error as they were given.

    The error is ε of their dtype, at least that of float64, times the largest value.
    """
    array = parse_array(values, name)
    epsilon = _epsilon(values, array)
    if array.ndim == 0 and array.dtype == object:
        raise UserError(
            f"{name} is {describe(values)}; allowed: an array of real numbers, such as the sequence of a recording"
        )
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} holds {array.dtype}; allowed: real numbers")
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused
        array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        first = np.unravel_index(int(np.argmin(finite)), array.shape)
        place = ", ".join(str(int(k)) for k in first)
        raise UserError(
            f"{name} holds {np.count_nonzero(~finite)} NaN or Inf among {array.size} numbers, the first at "
            f"[{place}]; allowed: finite numbers"
        )
    if (largest := float(np.abs(array).max(initial=0))) > LARGEST:
        raise _out_of_range(largest, name)
    return array, epsilon * largest


def parse_series(values: Any, *, name: str, minimum: int) -> np.ndarray:
    """A scalar series [time] of at least `minimum` values that are not all equal."""
    series = parse_numbers(values, name)
    if series.ndim != 1:
        raise UserError(f"{name} has shape {list(series.shape)}; allowed: one number per time, [time]")
    _check_length(len(series), "values", name, minimum)
    check_not_tiny(series, name)
    if series.max() == series.min():
        raise UserError(f"{name} is constant at {series[0]:g}; a constant series has no dynamics to measure")
    return series


def parse_points(values: Any, *, name: str, minimum: int) -> np.ndarray:
    """Points [n, d] from an array [n] or [n, …], at least `minimum` of them and not all equal."""
    return parse_rounded_points(values, name=name, minimum=minimum)[0]


def parse_rounded_points(values: Any, *, name: str, minimum: int) -> tuple[np.ndarray, float]:
    """Points as from `parse_points`, and the absolute rounding error of their coordinates as they were given."""
    points, rounding = parse_rounded(values, name)
    if points.ndim == 0 or not points.size:
        raise UserError(f"{name} has shape {list(points.shape)}; allowed: points [n] or [n, …]")
    points = points.reshape(len(points), -1)
    _check_length(len(points), "points", name, minimum)
    check_not_tiny(points, name)
    if are_equal(points, rounding):
        raise UserError(
            f"all {len(points)} rows of {name} are equal, or differ by rounding only; allowed: points that differ"
        )
    return points, rounding


def are_equal(points: np.ndarray, rounding: float) -> bool:
    """Whether points [n, …] differ by at most a few times the absolute rounding error of their coordinates."""
    return bool(np.ptp(points, axis=0).max(initial=0) <= FEW_ROUNDINGS * rounding)


def parse_trajectories(values: Any, *, name: str, minimum: int) -> np.ndarray:
    """Trajectories [sample, state, d] from an array [sample, state, …], of at least `minimum` states each."""
    return parse_rounded_trajectories(values, name=name, minimum=minimum)[0]


def parse_rounded_trajectories(values: Any, *, name: str, minimum: int) -> tuple[np.ndarray, float]:
    """Trajectories as from `parse_trajectories`, and the absolute rounding error of their numbers as they were given."""
    array, rounding = parse_rounded(values, name)
    if array.ndim < 2 or not array.size:
        raise UserError(
            f"{name} has shape {list(array.shape)}; allowed: trajectories [sample, state, …], a single one as "
            "[1, state, …]"
        )
    trajectories = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))
    _check_length(trajectories.shape[1], "states per trajectory", name, minimum)
    check_not_tiny(trajectories, name)
    return trajectories, rounding


def parse_confidence(confidence: Any) -> float:
    """A confidence level between 0 and 1, both excluded, whose quantiles are finite and differ from 0."""
    level = parse_real(confidence, "confidence", above=0, below=1, example="0.95")
    if not 0.5 < (1 + level) / 2 < 1:
        raise UserError(
            f"confidence is {level!r}, which rounding cannot tell from {round(level)}; allowed: {LEVELS[0]:g} to {LEVELS[1]!r}"
        )
    return level


def random_generator(seed: Any) -> np.random.Generator:
    """NumPy's random generator for a seed."""
    return np.random.default_rng(parse_integer(seed, "seed"))


def _epsilon(values: Any, array: np.ndarray) -> float:
    """ε of the dtype of values, at least that of float64; `array` holds them."""
    first = values[0] if isinstance(values, (list, tuple)) and len(values) else values
    if isinstance(first, torch.Tensor) and first.is_floating_point():
        return max(torch.finfo(first.dtype).eps, EPSILON)
    return max(float(np.finfo(array.dtype).eps), EPSILON) if array.dtype.kind == "f" else EPSILON


def _without_tensors(values: Any, name: str) -> Any:
    """The values with NumPy's arrays in place of tensors."""
    if isinstance(values, (list, tuple)):
        return [_without_tensors(value, name) for value in values]
    if not isinstance(values, torch.Tensor):
        return values
    if values.layout != torch.strided or values.is_meta or values.is_quantized:
        kind = "meta" if values.is_meta else values.dtype if values.is_quantized else values.layout
        raise UserError(f"{name} is a {kind} tensor {list(values.shape)}; allowed: dense tensors with values")
    values = values.detach().cpu().resolve_conj().resolve_neg()
    return (values.float() if values.dtype in WITHOUT_NUMPY else values).numpy()


def _check_length(count: int, what: str, name: str, minimum: int) -> None:
    if count < minimum:
        raise UserError(f"{name} has {count} {what}; allowed: at least {minimum}")


def check_not_tiny(points: np.ndarray, name: str) -> None:
    """Refuse numbers that are so small that all their distances would be 0."""
    if 0 < (largest := float(np.abs(points).max(initial=0))) < SMALLEST:
        raise _out_of_range(largest, name)


def _out_of_range(largest: float, name: str) -> UserError:
    return UserError(
        f"{name} holds numbers of up to {largest:.0e}, whose products overflow or underflow in float64; "
        f"allowed: {SMALLEST:.0e} to {LARGEST:.0e}; divide all of them by {largest:.0e}"
    )
