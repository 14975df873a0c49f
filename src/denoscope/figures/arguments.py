"""Validation of the arguments of drawings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray

from denoscope.figures.plots import check_axis
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe


def check_values(results: Mapping[Any, Any], name: str, kind: type, measure: str) -> None:
    """Refuse a mapping that holds anything but results of a measure."""
    if not isinstance(results, Mapping):
        raise UserError(f"{name} is {describe(results)}; allowed: a mapping to results of {measure}")
    for key, result in results.items():
        if not isinstance(result, kind):
            raise UserError(f"{name}[{key!r}] is {describe(result)}; allowed: a result of {measure}")


def check_label(label: Any) -> None:
    """Refuse a label that is not a string."""
    if label is not None and not isinstance(label, str):
        raise UserError(f"label is {describe(label)}; allowed: a string")


def check_drawing(ax: Any, result: Any, measure: str, kind: type = xarray.Dataset, *variables: str) -> None:
    """Refuse anything but a matplotlib axis and the result of a measure, such as the two in the wrong order.

    Args:
        measure: its name, for messages.
        kind: the class of its results.
        variables: variables that a Dataset of the measure has.
    """
    check_axis(ax)
    check_result(result, measure, kind, *variables)


def check_result(result: Any, measure: str, kind: type = xarray.Dataset, *variables: str) -> None:
    """Refuse anything but the result of a measure; the arguments are those of `check_drawing`."""
    if not isinstance(result, kind):
        raise UserError(f"result is {describe(result)}; allowed: a result of {measure}")
    present = result.variables if isinstance(result, xarray.Dataset) else ()
    if missing := [name for name in variables if name not in present]:
        raise UserError(f"result has no {missing[0]}; allowed: a result of {measure}")
