"""The number of directions over which the states of several samples vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import FEW_ROUNDINGS, SMALLEST, parse_rounded_trajectories
from denoscope.dynamics.statistics.standard_errors import jackknife_reach
from denoscope.dynamics.trajectories.levels import state_levels
from denoscope.dynamics.trajectories.similarity import centered, gram, unbiased_product
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_real

LEAST_SAMPLES = 5
CLOSE = 0.3
"""Share of its limit n − 1 from which the participation ratio depends on the number of samples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Participation(Result):
    """The participation ratio [state] with its interval [state, 2], and related measures of each state.

    `corrected` [state] is the ratio corrected for the number of samples, `pca_dimension` [state] the number of directions
    that hold most of the variance, `shares` [state, direction] the shares of variance in descending order. `sigmas` and
    `timesteps` [state] are those of the sequence, if it has them.
    """

    ratio: np.ndarray
    intervals: np.ndarray
    corrected: np.ndarray
    pca_dimension: np.ndarray
    shares: np.ndarray
    confidence: float = 0.95
    sigmas: np.ndarray | None = None
    timesteps: np.ndarray | None = None


def participation(trajectories: Any, *, variance: float = 0.9, confidence: float = 0.95) -> Participation:
    """Participation ratio and PCA dimension over the samples of trajectories [sample, state, …], in each state.

    With λ_i the eigenvalues of the covariance over samples, the participation ratio is (Σ λ)²/Σ λ²: n for n equal
    directions. The PCA dimension is the smallest number of directions that hold the share `variance` of the variance. Both
    are dimensionless. The interval is that of the ratio, by the jackknife over 20 groups of samples.

    Interpretation: `corrected` puts unbiased estimates into the ratio, and is the one to read for independent samples; it
    scatters where it is large.

    Caveats: n samples give at most n − 1 directions; of isotropic D-dimensional states the ratio is about 1/(1/D + 1/n). A
    warning says so from a third of n − 1 on. Both measures are linear: a curved line can fill many directions.

    Args:
        trajectories: a tensor, or an array of NumPy or xarray, such as `recording.sequence`.

    Raises: UserError if there are fewer than 5 samples, or all samples are identical in a state, which it names.

    Source: Gao et al., bioRxiv 214262 (2017), eq. 4; Recanatesi et al., Patterns 3 (2022).
    """
    paths, rounding = parse_rounded_trajectories(trajectories, name="trajectories", minimum=1)
    levels = state_levels(trajectories)
    _check(paths, variance, rounding)
    grams = [gram(state) for state in paths.swapaxes(0, 1)]
    shares = np.stack([_shares(one) for one in grams])
    most = min(len(paths) - 1, paths.shape[2])
    # Rounding may lead out of the possible values.
    ratio = np.clip([_ratio(one) for one in grams], 1, most)
    reach = np.array([_reach(one, confidence) for one in grams])
    corrected = np.array([_corrected(one) for one in grams])
    return Participation(
        ratio=ratio,
        intervals=np.stack([np.maximum(ratio - reach, 1), np.minimum(ratio + reach, most)], axis=1),
        corrected=corrected,
        pca_dimension=1 + np.count_nonzero(np.cumsum(shares, axis=1) < variance - 1e-12, axis=1),
        shares=shares,
        confidence=confidence,
        sigmas=levels.get("sigma"),
        timesteps=levels.get("timestep"),
        origin={
            "samples": len(paths),
            "states": paths.shape[1],
            "numbers": paths.shape[2],
            "variance": variance,
        },
        warnings=_warnings(len(paths), ratio, corrected),
    )


def _check(paths: np.ndarray, variance: float, rounding: float) -> None:
    if len(paths) < LEAST_SAMPLES:
        raise UserError(
            f"trajectories has {len(paths)} samples; allowed: at least {LEAST_SAMPLES}, because n samples show at most n − 1 "
            "directions"
        )
    parse_real(variance, "variance", above=0, maximum=1, example="0.9")
    sizes = np.abs(paths).max(axis=(0, 2))
    # The rounding error is relative to the largest number of a state.
    relative = rounding / sizes.max(initial=SMALLEST)
    same = np.ptp(paths, axis=0).max(axis=1) <= FEW_ROUNDINGS * relative * sizes
    if same.any():
        raise UserError(
            f"in state {int(np.argmax(same))} all {len(paths)} samples are identical up to rounding, so that they vary in no direction; "
            "leave that state out"
        )


def _shares(kernel: np.ndarray) -> np.ndarray:
    """The shares of variance of the directions, in descending order."""
    values = np.maximum(np.linalg.eigvalsh(kernel)[::-1], 0)[:-1]
    return values / values.sum()


def _ratio(kernel: np.ndarray) -> float:
    squared = (kernel**2).sum()
    return float(np.trace(kernel) ** 2 / squared) if squared > 0 else float("nan")


def _reach(kernel: np.ndarray, confidence: float) -> float:
    """Half the width of the interval of the ratio."""
    return jackknife_reach(
        lambda kept: _ratio(centered(kernel[np.ix_(kept, kept)])), len(kernel), confidence=confidence
    )


def _corrected(kernel: np.ndarray) -> float:
    """(tr Σ)² / ‖Σ‖²_F with unbiased estimates of both, the first for Gaussian states; NaN for too few samples."""
    n = len(kernel)
    squared = unbiased_product(kernel, kernel)
    trace = np.trace(kernel) / (n - 1)
    return float((trace**2 - 2 * squared / (n - 1)) / squared) if squared > 0 else float("nan")


def _warnings(samples: int, ratio: np.ndarray, corrected: np.ndarray) -> tuple[str, ...]:
    warnings = []
    close = np.flatnonzero(ratio > CLOSE * (samples - 1))
    if len(close):
        warnings.append(
            f"{samples} samples show at most {samples - 1} directions, and the participation ratio reaches {ratio.max():.1f} "
            f"in {len(close)} of {len(ratio)} states: it is a lower bound"
        )
    if np.isnan(corrected).any():
        warnings.append(
            f"the corrected ratio is NaN in {np.count_nonzero(np.isnan(corrected))} states: there are too few samples"
        )
    return tuple(warnings)
