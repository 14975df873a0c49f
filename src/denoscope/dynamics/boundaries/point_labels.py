"""A function from points to labels, with a description of what determines the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.html_repr import table
from denoscope.foundation.validation import check_callable


@calls_checked
@dataclass(frozen=True, eq=False, repr=False)
class PointLabels:
    """A function from points [n, d] to labels [n], with a description of everything that determines the labels.

    `resolution` is the smallest distance (L2) between points that it distinguishes.
    """

    label: Callable[[np.ndarray], Any]
    origin: Mapping[str, Any] = field(default_factory=dict)
    resolution: float = 0.0

    def __post_init__(self) -> None:
        check_callable(self.label, "label", ("points [n, d]",), "integers [n]")

    def __call__(self, points: Any) -> np.ndarray:
        """The labels [n] of points [n, d], −1 for no class.

        Raises: UserError if the function does not return one integer for each point.
        """
        points = parse_array(points, "points")
        labels = parse_array(self.label(points.copy()), "labels of label_of")  # it may work in place
        if labels.shape != (len(points),) or labels.dtype.kind not in "iub":
            raise UserError(
                f"label_of returned {labels.dtype} of shape {list(labels.shape)} for points {list(points.shape)}; "
                f"allowed: one integer for each point, [{len(points)}]"
            )
        return labels

    def _repr_html_(self) -> str:
        rows = {
            name: value for name, value in self.origin.items() if isinstance(value, (str, int, float, bool))
        }
        return table("PointLabels", {**rows, "resolution": f"{self.resolution:.2g}"})

    def __repr__(self) -> str:
        made_with = ", ".join(
            f"{name}={self.origin[name]!r}" for name in ("model", "classifier") if name in self.origin
        )
        return f"<PointLabels {made_with or 'of a function'}, resolution={self.resolution:.2g}>"
