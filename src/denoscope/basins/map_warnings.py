"""What the labels of a finished map should not be taken for."""

from __future__ import annotations

import numpy as np

from denoscope.dynamics.boundaries.audit import Audit
from denoscope.foundation.spelling import spelled
from denoscope.noise.plane_noise import PlaneNoise


def map_warnings(nonfinite: np.ndarray, audit: Audit, plane: PlaneNoise, *, requested: int = 0) -> list[str]:
    """One line each on lost cells, on filled ones, and on a plane that leaves the norms of Gaussian noise.

    Args:
        nonfinite: whether x_0 of each cell is NaN or infinite, in any shape.
        requested: the number of filled cells to check.
    """
    warnings, cells = [], nonfinite.size
    if lost := np.count_nonzero(nonfinite):
        warnings.append(f"{lost} of {cells} cells became NaN or infinite and have the label −1")
    if audit.filled and audit.checked == audit.filled < requested:
        warnings.append(
            f"{spelled('audit')} is {requested}, and only {audit.filled} cells were filled: all were checked"
        )
    if audit.filled:
        warnings.append(
            f"{audit.filled} of {cells} cells were filled; of {audit.checked} that were then computed to check them, "
            f"{audit.wrong} had another label: up to {audit.bound(0.95):.2%} may be wrong (95 %)"
        )
    return [*warnings, *plane.warnings]
