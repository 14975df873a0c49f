"""How far an estimate may be off: standard errors that hold for correlated series, and intervals made of them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from denoscope.errors import UserError


def batch_error(series: np.ndarray, *, batches: int) -> np.ndarray:
    """Standard error of the mean over time of a correlated series [time, …], from the means of batches.

    The series is cut into consecutive batches of (nearly) equal length. Means of batches that are longer than the
    correlation time are nearly independent: s.e. = sd(batch means)/√batches.
    Too small where the correlation time reaches the length of a batch.
    Source: Flegal and Jones, Annals of Statistics 38 (2010), non-overlapping batch means.
    """
    means = np.stack([part.mean(axis=0) for part in np.array_split(series, batches)])
    return means.std(axis=0, ddof=1) / np.sqrt(batches)


def jackknife_error(estimates: np.ndarray) -> np.ndarray:
    """Standard error of an estimate from the g estimates [g, …] that leave out one part of the data each.

    s.e.² = (g − 1)/g · Σ (estimate_i − mean)².
    Source: Efron and Stein, Annals of Statistics 9, 586 (1981).
    """
    g = len(estimates)
    return np.sqrt((g - 1) / g * ((estimates - estimates.mean(axis=0)) ** 2).sum(axis=0))


def student_quantile(confidence: float, degrees: int) -> float:
    """The t that |Student's t| of so many degrees of freedom stays below with the given confidence.

    Right to 1e-3 from 5 degrees of freedom on. Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence:g}; it lies between 0 and 1, such as 0.95")
    z, n = NormalDist().inv_cdf((1 + confidence) / 2), degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )
