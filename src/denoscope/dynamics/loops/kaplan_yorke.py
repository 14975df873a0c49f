"""The Kaplan–Yorke dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.loops.lyapunov import Lyapunov
from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_array, parse_numbers
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe


@dataclass(frozen=True, kw_only=True, eq=False)
class KaplanYorke(Estimate):
    """The Kaplan–Yorke (Lyapunov) dimension."""


@calls_checked
def kaplan_yorke(exponents: Any) -> KaplanYorke:
    """The Kaplan–Yorke dimension of Lyapunov exponents.

    D = j + (λ_1 + … + λ_j)/|λ_{j+1}|, with the exponents in descending order and j the largest number of them with a
    sum that is not negative; D is 0 if all are negative. It is a pure number between 0 and the number of exponents.

    Interpretation: it is conjectured to equal the information dimension of a typical attractor.

    Caveats: the conjecture fails for systems that decompose. For a finite map, D only counts the directions that together
    do not lose volume. If even the sum of all given exponents is not negative, D is their number, with a warning: it is a
    lower bound if the system has more exponents.

    Args:
        exponents: [k] in any order and unit, or the result of `lyapunov`. The latter gives an interval, from the dimension
            of all lower ends to that of all upper ends (D grows with each exponent); its true confidence is above the
            stated level. If the exponents have no intervals, it is None, and a warning says why.
    Source: Kaplan and Yorke, Lecture Notes in Mathematics 730, 204 (1979); Frederickson et al., J. Differential
        Equations 49, 185 (1983).
    """
    given = exponents.exponents if isinstance(exponents, Lyapunov) else exponents
    values = _descending(given)
    warnings, interval, origin = [], None, {}
    if values.sum() >= 0:
        warnings.append(
            f"the {len(values)} exponents sum to {values.sum():.4g}, which is not negative: the dimension is at least "
            f"{len(values)}, and exactly that if the system has no more exponents"
        )
    if isinstance(exponents, Lyapunov):
        origin = dict(exponents.origin)
        if not np.isnan(exponents.intervals).any():
            low, high = (_dimension(_descending(ends)) for ends in exponents.intervals.T)
            interval = (low, high)
        warnings += exponents.warnings
    return KaplanYorke(
        value=_dimension(values),
        interval=interval,
        origin={"exponents": values, **origin},
        warnings=tuple(warnings),
    )


def _descending(exponents: Any) -> np.ndarray:
    """The exponents in descending order; −∞ is the exponent of a singular derivative."""
    given = parse_array(exponents, "exponents")
    if given.ndim != 1 or not given.size:
        found = f"have shape {list(given.shape)}" if given.ndim else f"is {describe(exponents)}"
        raise UserError(f"exponents {found}; allowed: a list of at least one, [k]")
    singular = np.isneginf(given) if given.dtype.kind == "f" else np.zeros(given.shape, bool)
    numbers = parse_numbers(np.where(singular, 0, given) if singular.any() else given, "exponents")
    return np.sort(np.where(singular, -np.inf, numbers))[::-1]


def _dimension(values: np.ndarray) -> float:
    sums = np.cumsum(values)
    count = int(np.count_nonzero(sums >= 0))
    if count == len(values):
        return float(count)
    return count + float(sums[count - 1] / -values[count]) if count else 0.0
