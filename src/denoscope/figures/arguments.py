"""Validation of the arguments of drawings."""

from __future__ import annotations

from typing import Any

import xarray

from denoscope.figures.plots import check_axis
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe


def check_drawing(ax: Any, result: Any, measure: str, kind: type = xarray.Dataset, *variables: str) -> None:
    """Refuse anything but a matplotlib axis and the result of a measure, such as the two in the wrong order.

    Args:
        measure: its name, for messages.
        kind: the class of its results.
        variables: variables that a Dataset of the measure has.
    """
    check_axis(ax)
    if not isinstance(result, kind):
        raise UserError(f"result is {describe(result)}; allowed: a result of {measure}")
    present = result.variables if isinstance(result, xarray.Dataset) else ()
    if missing := [name for name in variables if name not in present]:
        raise UserError(f"result has no {missing[0]}; allowed: a result of {measure}")
