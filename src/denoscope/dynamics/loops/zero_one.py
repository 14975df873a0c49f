"""The 0–1 test for chaos in a scalar series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_series, random_generator
from denoscope.dynamics.statistics.intervals import median_interval
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.validation import parse_integer, parse_real

LEAST_POINTS = 200
FEW_POINTS = 1000
FREQUENCIES = (np.pi / 5, 4 * np.pi / 5)
"""The range of the frequencies: near 0 or π, resonances with the series and its mean disturb the test."""
LARGEST_DAMPING = 1e12
"""Damping beyond this leaves nothing of the series."""
SMOOTH = 0.95
"""The correlation of neighbours above which a series is sampled too finely for the test."""
ROUNDED = 1e-5
"""Relative differences below this may be rounding errors of float32, accumulated over some steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ZeroOne(Estimate):
    """K, the median of the correlations K_c.

    Attributes:
        correlations: [frequency] K_c.
        frequencies: [frequency] c.
    """

    rows: ClassVar[Mapping[str, str]] = {"correlations": "frequencies", "frequencies": "frequencies"}
    correlations: np.ndarray
    frequencies: np.ndarray


@calls_checked
def zero_one(series: Any, *, seed: int = 0, frequencies: int = 100, damping: float = 0.0) -> ZeroOne:
    """K of the 0–1 test for chaos: near 0 for regular, near 1 for chaotic dynamics.

    For the series φ minus its mean and a frequency c, let z_n = Σ_{j≤n} φ_j e^{ijc}. D(n) is the mean of |z_{j+n} − z_j|²
    over j ≤ N − N/10, K_c the correlation of D(n) with n for n = 1 … N/10, and K the median of K_c over frequencies drawn
    from (π/5, 4π/5). For regular series z stays bounded, for chaotic ones it diffuses. Without the mean, the term
    (mean φ)² (1 − cos nc)/(1 − cos c) of D(n) vanishes, and an offset of the series changes nothing. K is a pure number.

    Interpretation: K is meaningful for a series that is known to be deterministic. The interval is that of the median over
    all frequencies for this series (order statistics, 95 %); it does not cover the scatter between stretches of a series.

    Caveats: the test cannot distinguish noise from chaos: white noise gives 1 too. A value in between is not "weak chaos":
    the series is too short, at the edge of chaos, or noisy. A series that is sampled so finely that neighbours are alike
    gives 0 in any case, with a warning; take every n-th value. At least 1000 values are needed for a reliable K, and 200
    for any; a trajectory of 50 steps cannot be tested.

    Args:
        series: [N].
        seed: of the frequencies.
        frequencies: their number.
        damping: α adds α · var φ · sin(√2 n) to D(n), which suppresses the slow growth that weak noise causes in a regular
            series, at the expense of weak chaos; 2.5 is usual for noisy data, 0 for clean data. The published term has
            (mean φ)² in place of the variance, and changes if a constant is added to the series.

    Raises: UserError if there are fewer than 200 values, the series is constant, or an argument is out of range.
    Source: Gottwald and Melbourne, Proc. R. Soc. A 460, 603 (2004); SIAM J. Appl. Dyn. Syst. 8, 129 (2009), sec. 3;
        damping: Dawes and Freeland, "The '0–1 test for chaos' and strange nonchaotic attractors" (2008).
    """
    values = parse_series(series, name="series", minimum=LEAST_POINTS)
    parse_integer(frequencies, "frequencies", minimum=10)
    parse_real(damping, "damping", minimum=0, maximum=LARGEST_DAMPING)
    drawn = np.sort(random_generator(seed).uniform(*FREQUENCIES, frequencies))
    growth = _mean_square_displacement(values - values.mean(), drawn)
    lags = np.arange(1, growth.shape[1] + 1)
    growth += damping * values.var() * np.sin(np.sqrt(2) * lags)
    correlations = np.array([_correlation(lags, row) for row in growth])
    return ZeroOne(
        value=float(np.median(correlations)),
        interval=median_interval(correlations),
        correlations=correlations,
        frequencies=drawn,
        origin={
            "points": len(values),
            "lags": len(lags),
            "frequencies": frequencies,
            "damping": damping,
            "seed": seed,
        },
        warnings=tuple(_series_warnings(values)),
    )


def _mean_square_displacement(values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """D(n) [frequency, lag]."""
    times = np.arange(1, len(values) + 1)
    lags = len(values) // 10
    starts = len(values) - lags
    growth = np.empty((len(frequencies), lags))
    for row, c in enumerate(frequencies):
        path = np.cumsum(values * np.exp(1j * c * times))
        for n in range(1, lags + 1):
            moved = path[n : n + starts] - path[:starts]
            growth[row, n - 1] = np.vdot(moved, moved).real / starts
    return growth


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 if one of the two is constant, which is as bounded as possible."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _series_warnings(values: np.ndarray) -> list[str]:
    warnings = []
    if len(values) < FEW_POINTS:
        warnings.append(f"{len(values)} values are few: K may lie anywhere; use {FEW_POINTS} or more")
    spread = np.ptp(values) / np.abs(values).max() if np.ptp(values) else 0.0
    if 0 < spread < ROUNDED:
        warnings.append(
            f"the values differ by {spread:.1g} of their size, as by rounding: K then says nothing about the dynamics"
        )
    correlation = _correlation(values[1:], values[:-1])
    if correlation > SMOOTH:
        warnings.append(
            f"neighbours have a correlation of {correlation:.3f}: the series is sampled too finely and K tends to 0; take "
            "every n-th value, or one per maximum"
        )
    return warnings
