"""How many directions states of several samples spread over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_trajectories
from denoscope.dynamics.statistics.standard_errors import jackknife_reach
from denoscope.dynamics.trajectories.similarity import centered, gram, unbiased_product
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_real

LEAST_SAMPLES = 5
CLOSE = 0.3
"""From this share of its limit n − 1 on, the participation ratio tells more of the samples than of the states."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Participation(Result):
    """Per state: participation ratio [state] with its interval [state, 2], the ratio corrected for the number of samples,
    the PCA dimension, and the shares of variance [state, direction], largest first.
    """

    ratio: np.ndarray
    intervals: np.ndarray
    corrected: np.ndarray
    pca_dimension: np.ndarray
    shares: np.ndarray
    confidence: float = 0.95


def participation(trajectories: Any, *, variance: float = 0.9, confidence: float = 0.95) -> Participation:
    """Participation ratio and PCA dimension over samples of trajectories [sample, state, …], at each state.

    With λ_i the eigenvalues of the covariance over samples: participation ratio (Σ λ)²/Σ λ², n equal directions give n;
    PCA dimension: the smallest number of directions that hold the share `variance` of the variance. Pure numbers.
    Both are linear: a curved line can fill many directions.

    n samples give at most n − 1, whatever the states are; of isotropic D-dimensional states about 1/(1/D + 1/n). Warned of
    from a third of n − 1 on. `corrected` puts unbiased estimates into the ratio and is right for independent samples
    (noisy when large). The interval is of the ratio itself, by the jackknife over 20 groups of samples.

    Raises: UserError under 5 samples, or naming the state at which all samples are the same.
    Source: Gao et al., bioRxiv 214262 (2017), eq. 4; Recanatesi et al., Patterns 3 (2022).
    """
    paths = parse_trajectories(trajectories, name="trajectories", minimum=1)
    _check(paths, variance)
    grams = [gram(state) for state in paths.swapaxes(0, 1)]
    shares = np.stack([_shares(one) for one in grams])
    ratio = np.array([_ratio(one) for one in grams])
    reach = np.array([_reach(one, confidence) for one in grams])
    corrected = np.array([_corrected(one) for one in grams])
    return Participation(
        ratio=ratio,
        intervals=np.stack([np.maximum(ratio - reach, 1), ratio + reach], axis=1),
        corrected=corrected,
        pca_dimension=1 + np.count_nonzero(np.cumsum(shares, axis=1) < variance - 1e-12, axis=1),
        shares=shares,
        confidence=confidence,
        origin={
            "samples": len(paths),
            "states": paths.shape[1],
            "numbers": paths.shape[2],
            "variance": variance,
        },
        warnings=_beware(len(paths), ratio, corrected),
    )


def _check(paths: np.ndarray, variance: float) -> None:
    if len(paths) < LEAST_SAMPLES:
        raise UserError(
            f"trajectories has {len(paths)} samples; at least {LEAST_SAMPLES} are needed, and n samples show at most"
            " n − 1 directions"
        )
    parse_real(variance, "variance", above=0, maximum=1, example="0.9")
    same = (paths == paths[:1]).all(axis=(0, 2))
    if same.any():
        raise UserError(
            f"at state {int(np.argmax(same))} all {len(paths)} samples are the same: they spread over no direction;"
            " leave that state out"
        )


def _shares(kernel: np.ndarray) -> np.ndarray:
    """The shares of variance of the directions, from the largest."""
    values = np.maximum(np.linalg.eigvalsh(kernel)[::-1], 0)[:-1]
    return values / values.sum()


def _ratio(kernel: np.ndarray) -> float:
    squared = (kernel**2).sum()
    return float(np.trace(kernel) ** 2 / squared) if squared > 0 else float("nan")


def _reach(kernel: np.ndarray, confidence: float) -> float:
    """Half of the interval of the ratio."""
    return jackknife_reach(
        lambda kept: _ratio(centered(kernel[np.ix_(kept, kept)])), len(kernel), confidence=confidence
    )


def _corrected(kernel: np.ndarray) -> float:
    """(tr Σ)² / ‖Σ‖²_F with unbiased estimates of both, the first for Gaussian states; NaN if too few samples."""
    n = len(kernel)
    squared = unbiased_product(kernel, kernel)
    trace = np.trace(kernel) / (n - 1)
    return float((trace**2 - 2 * squared / (n - 1)) / squared) if squared > 0 else float("nan")


def _beware(samples: int, ratio: np.ndarray, corrected: np.ndarray) -> tuple[str, ...]:
    warnings = []
    close = np.flatnonzero(ratio > CLOSE * (samples - 1))
    if len(close):
        warnings.append(
            f"{samples} samples show at most {samples - 1} directions, and the participation ratio reaches"
            f" {ratio.max():.1f} at {len(close)} of {len(ratio)} states: read it as a lower bound"
        )
    if np.isnan(corrected).any():
        warnings.append(
            f"the corrected ratio is NaN at {np.count_nonzero(np.isnan(corrected))} states: too few samples"
        )
    return tuple(warnings)
