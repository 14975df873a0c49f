"""The sizes of a perturbation for which its growth is that of the derivative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.dynamics.statistics.intervals import median_interval
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer, parse_real

if TYPE_CHECKING:
    import xarray

SHORTEST = 3
"""The smallest number of epsilons in a plateau."""
REQUIRED = ("separation", "usable", "epsilon")
"""Variables and coordinates that `divergence` gives its result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpsilonSweep(Estimate):
    """The growth on the linear plateau, ln(separation/separation of x_T) for the whole map, and that at every epsilon.

    `value` is the mean of `growth` over the plateau, or NaN, with a warning, if there is no plateau. `interval` is the
    interval of the median over pairs, from order statistics, averaged over the plateau; it is None, with a warning, if
    there are too few pairs (6 for 95 %).

    Attributes:
        epsilons: [n] in ascending order.
        growth: [n] the median over pairs.
        spread: [n, 2] the quartiles over pairs.
        usable: [n] whether all pairs lie above the noise floor.
        linear: [n] whether the epsilon belongs to the plateau.
    """

    pictured: ClassVar[str] = "growth"
    rows: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("epsilons", "growth", "spread", "usable", "linear"), "epsilons"
    )
    epsilons: np.ndarray
    growth: np.ndarray
    spread: np.ndarray
    usable: np.ndarray
    linear: np.ndarray


@arguments_checked
def epsilon_sweep(
    divergence: xarray.Dataset,
    *,
    state: int = -1,
    tolerance: float = 0.05,
    confidence: float = 0.95,
) -> EpsilonSweep:
    """The linear plateau of perturbations of several sizes, where growth does not depend on the size epsilon.

    For each epsilon, growth is the median over its pairs of ln(separation in `state` / separation in x_T), for the whole
    map up to that state. The plateau is the longest run of three or more neighbouring epsilons that are usable and whose
    growths differ by at most `tolerance`.

    Interpretation: on the plateau a perturbation measures the derivative. For larger epsilons growth changes as the
    perturbation leaves the basin or reaches the size of the data; for smaller ones rounding dominates. Separations
    below the recording's noise floor are not usable.

    Caveats: with different directions for each epsilon the medians scatter; the sets of `noise.perturbed` with one
    `perturb_seed` share their directions. The growth of a random direction is an average over all directions, far below
    the leading exponent (`spectrum`).

    Args:
        divergence: the result of `divergence` for a recording of sets with one base and several epsilons.
        state: the index of the x_t in which growth is measured; −1 is x_0.
        tolerance: the largest difference of growths (ln) within the plateau.

    Raises: UserError if there are fewer than three epsilons, or an argument is out of range.
    """
    confidence = parse_confidence(confidence)
    parse_real(tolerance, "tolerance", minimum=0)
    _check_divergence(divergence)
    state = _parse_state(state, divergence.sizes["state"])
    epsilons, growths, usable = _growth_by_epsilon(divergence, state)
    medians = np.array([np.median(growth) for growth in growths])
    first, end = _longest_plateau(medians, usable, tolerance)
    plateau = growths[first:end]
    value, interval = _mean_of_medians(plateau, confidence)
    place = np.arange(len(epsilons))
    return EpsilonSweep(
        value=value,
        interval=interval,
        confidence=confidence,
        epsilons=epsilons,
        growth=medians,
        spread=np.array([np.quantile(growth, (0.25, 0.75)) for growth in growths]),
        usable=usable,
        linear=(place >= first) & (place < end),
        origin={
            name: divergence.attrs[name] for name in ("recording", "fingerprint") if name in divergence.attrs
        }
        | {"state": state, "tolerance": tolerance},
        warnings=(*divergence.attrs["warnings"], *_plateau_warnings(plateau, interval, tolerance)),
    )


def _check_divergence(divergence: Any) -> None:
    """Refuse anything but the result of `divergence`, such as the recording itself."""
    import xarray

    problem = (
        f"divergence is {describe(divergence)}; allowed: the result of ds.dynamics.divergence(recording)"
    )
    if not isinstance(divergence, xarray.Dataset):
        raise UserError(problem)
    if missing := [name for name in REQUIRED if name not in divergence.variables]:
        raise UserError(f"{problem}, which has {missing[0]!r}")


def _parse_state(state: Any, states: int) -> int:
    """The index of a state counted from x_T, which itself has no growth."""
    index = (
        parse_integer(state, "state", minimum=-states, maximum=states - 1, note="where −1 is x_0") % states
    )
    if index == 0:
        raise UserError(f"{spelled('state', state)} is x_T; allowed: 1 to {states - 1}, or -1 for x_0")
    return index


def _growth_by_epsilon(
    divergence: xarray.Dataset, state: int
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """The epsilons [n], the growth of each one's pairs, and whether all its pairs are usable [n]."""
    epsilon_of = divergence["epsilon"].to_numpy()
    epsilons = np.unique(epsilon_of)
    if len(epsilons) < SHORTEST:
        raise UserError(
            f"the recording has pairs of {len(epsilons)} epsilons; allowed: {SHORTEST} or more, recorded together"
        )
    separation, usable = (divergence[name].to_numpy()[:, [0, state]] for name in ("separation", "usable"))
    growth = np.log(separation[:, 1] / separation[:, 0])
    growths = [growth[epsilon_of == epsilon] for epsilon in epsilons]
    return epsilons, growths, np.array([usable[epsilon_of == epsilon].all() for epsilon in epsilons])


def _longest_plateau(growth: np.ndarray, usable: np.ndarray, tolerance: float) -> tuple[int, int]:
    """First index and end of the longest run, at the smallest epsilons if several are longest; (0, 0) if there is none."""
    runs = [
        (first, end)
        for first in range(len(growth))
        for end in range(first + SHORTEST, len(growth) + 1)
        if usable[first:end].all() and np.ptp(growth[first:end]) <= tolerance
    ]
    return max(runs, key=lambda run: (run[1] - run[0], -run[0]), default=(0, 0))


def _mean_of_medians(
    plateau: list[np.ndarray], confidence: float
) -> tuple[float, tuple[float, float] | None]:
    """The mean of the medians and of their intervals: the groups share their directions, so that their errors agree."""
    if not plateau:
        return float("nan"), None
    value = float(np.mean([np.median(growth) for growth in plateau]))
    intervals = [median_interval(growth, confidence=confidence) for growth in plateau]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(plateau):
        return value, None
    low, high = np.mean(known, axis=0)
    return value, (float(low), float(high))


def _plateau_warnings(
    plateau: list[np.ndarray], interval: tuple[float, float] | None, tolerance: float
) -> list[str]:
    if not plateau:
        return [f"no {SHORTEST} neighbouring epsilons agree within {tolerance:g}: there is no linear range"]
    if interval is None:
        pairs = min(map(len, plateau))
        return [f"{pairs} pairs are too few for an interval of their median; record more pairs"]
    return []
