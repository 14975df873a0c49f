"""The 0–1 test for chaos of a scalar series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_series, random_generator
from denoscope.foundation.validation import parse_integer, parse_real

LEAST_POINTS = 200
FEW_POINTS = 1000
FREQUENCIES = (np.pi / 5, 4 * np.pi / 5)
"""Where frequencies are drawn: nearer to 0 or π, resonances with the series and its mean disturb the test."""
SMOOTH = 0.95
"""A correlation of neighbours above this says that a series is sampled too finely for the test."""
ROUNDED = 1e-5
"""Values that differ by less of their size may do so by the rounding of float32 alone, added up over some steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ZeroOne(Estimate):
    """K, the median of the K_c [frequency] at the frequencies c [frequency]."""

    correlations: np.ndarray
    frequencies: np.ndarray


def zero_one(series: Any, *, seed: int = 0, frequencies: int = 100, damping: float = 0.0) -> ZeroOne:
    """K of the 0–1 test: near 0 for regular, near 1 for chaotic dynamics.

    Of the series φ less its mean, so that an offset changes nothing: for a frequency c, z_n = Σ_{j≤n} φ_j e^{ijc}; D(n)
    is the mean of |z_{j+n} − z_j|² over j ≤ N − N/10, whose term of the mean, (mean φ)² (1 − cos nc)/(1 − cos c), is 0.
    K_c is the correlation of D(n) with n for n = 1 … N/10, and K the median of K_c over frequencies drawn from
    (π/5, 4π/5). z stays bounded for regular series, diffuses for chaotic ones. A pure number; the series has no unit of
    time.

    It cannot tell noise from chaos: white noise gives 1 as well, so it says something only of a series that is known
    to be deterministic. A value between is no "weak chaos" but a series too short, at the edge of chaos or with noise.
    A series sampled so finely that neighbours are alike gives 0 whatever it is: take every few-th value (warned of).
    It needs 1000 values, better more; refused under 200, so a trajectory of 50 steps cannot be tested.

    Args:
        series: [N].
        seed: of the frequencies.
        damping: α adds α · var φ · sin(√2 n) to D(n), which drowns the slow growth that weak noise gives to a regular
            series, at the price of weak chaos; 2.5 is usual for noisy data, 0 for clean. The published term
            has (mean φ)² in place of the variance, which changes if a constant is added to the series.
    The interval is of the median over frequencies (order statistics, 95 %): it tells the scatter from c, and not how
    another stretch of the series would come out.
    Source: Gottwald and Melbourne, Proc. R. Soc. A 460, 603 (2004); SIAM J. Appl. Dyn. Syst. 8, 129 (2009), sec. 3;
        damping: Dawes and Freeland, "The '0–1 test for chaos' and strange nonchaotic attractors" (2008).
    """
    values = parse_series(series, name="series", minimum=LEAST_POINTS)
    parse_integer(frequencies, "frequencies", minimum=10)
    parse_real(damping, "damping", minimum=0)
    drawn = np.sort(random_generator(seed).uniform(*FREQUENCIES, frequencies))
    # Without its mean the term of it is 0, which would take a large offset out again in theory alone.
    growth = _displacement(values - values.mean(), drawn)
    lags = np.arange(1, growth.shape[1] + 1)
    growth += damping * values.var() * np.sin(np.sqrt(2) * lags)
    correlations = np.array([_correlation(lags, row) for row in growth])
    return ZeroOne(
        value=float(np.median(correlations)),
        interval=_median_interval(correlations),
        correlations=correlations,
        frequencies=drawn,
        origin={
            "points": len(values),
            "lags": len(lags),
            "frequencies": frequencies,
            "damping": damping,
            "seed": seed,
        },
        warnings=_beware(values),
    )


def _displacement(values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """D(n) [frequency, lag] of the test."""
    times = np.arange(1, len(values) + 1)
    lags = len(values) // 10
    kept = len(values) - lags
    growth = np.empty((len(frequencies), lags))
    for row, c in enumerate(frequencies):
        path = np.cumsum(values * np.exp(1j * c * times))
        for n in range(1, lags + 1):
            moved = path[n : n + kept] - path[:kept]
            growth[row, n - 1] = np.vdot(moved, moved).real / kept
    return growth


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of the two does not vary, which is as bounded as can be."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _median_interval(values: np.ndarray) -> tuple[float, float]:
    """The order statistics that hold the median of what the values are drawn from, at 95 %."""
    ordered = np.sort(values)
    reach = 1.96 * np.sqrt(len(values)) / 2
    low = max(int(np.floor(len(values) / 2 - reach)), 0)
    return float(ordered[low]), float(ordered[len(values) - 1 - low])


def _beware(values: np.ndarray) -> tuple[str, ...]:
    warnings = []
    if len(values) < FEW_POINTS:
        warnings.append(
            f"{len(values)} values are few: the test is asked to have {FEW_POINTS} or more, and K may lie anywhere"
        )
    spread = np.ptp(values) / np.abs(values).max() if np.ptp(values) else 0.0
    if 0 < spread < ROUNDED:
        warnings.append(
            f"the values differ by {spread:.1g} of their size, as rounding does: K says nothing of the dynamics then"
        )
    alike = _correlation(values[1:], values[:-1])
    if alike > SMOOTH:
        warnings.append(
            f"neighbours correlate by {alike:.3f}: the series is sampled too finely and K tends to 0;"
            " take every few-th value, or one at each maximum"
        )
    return tuple(warnings)
