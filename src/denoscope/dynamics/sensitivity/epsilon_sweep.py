"""Over which sizes of a perturbation its growth is that of the derivative."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.result import Estimate
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.dynamics.statistics.intervals import median_interval
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_real

if TYPE_CHECKING:
    import xarray

LEAST = 3
"""Epsilons that a plateau has at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EpsilonSweep(Estimate):
    """`value` is the mean of `growth` on the plateau: ln(separation/separation of x_T), for the whole map.

    For each of `epsilons` [n], the smallest first: `growth` [n], the median over pairs; `spread` [n, 2], the middle half
    of them; `usable` [n], whether all pairs lie above the noise floor; `linear` [n], whether it belongs to the plateau.
    The interval is that of the median over pairs, from order statistics, in the mean over the plateau; None, with a
    warning, where pairs are too few (6 for 95 %). `value` is NaN, with a warning, where there is no plateau.
    """

    epsilons: np.ndarray
    growth: np.ndarray
    spread: np.ndarray
    usable: np.ndarray
    linear: np.ndarray


def epsilon_sweep(
    found: xarray.Dataset,
    *,
    state: int = -1,
    tolerance: float = 0.05,
    confidence: float = 0.95,
) -> EpsilonSweep:
    """The linear plateau of a `divergence` of several epsilons: where growth does not depend on the perturbation's size.

    For each epsilon the median over its pairs of ln(separation in `state` / separation in x_T), the whole map up to
    there. The plateau is the longest run of neighbouring epsilons, three or more, that are usable and whose growths
    differ by no more than `tolerance`.

    How to read it: on the plateau a perturbation measures the derivative. Above it, growth bends as the perturbation
    leaves the basin or reaches the size of the data; below it, rounding takes over, and what lies under the recording's
    noise floor counts for nothing. When it misleads: with other directions for each epsilon the medians scatter; the
    sets of `noise.perturbed` with one `perturb_seed` share theirs. A random direction's growth is a mean over all, and
    far below the leading exponent (`spectrum`).

    Args:
        found: what `divergence` gave for a recording of sets with the same base and several epsilons.
        state: up to which x_t; −1 is x_0.

    Raises: UserError if there are fewer than three epsilons or no such state, or the confidence is none.
    """
    confidence = parse_confidence(confidence)
    parse_real(tolerance, "tolerance", minimum=0)
    _need_divergence(found)
    epsilons = np.unique(found["epsilon"].to_numpy())
    if len(epsilons) < LEAST:
        raise UserError(
            f"there are pairs of {len(epsilons)} epsilons; allowed: {LEAST} or more, recorded together"
        )
    states = found.sizes["state"]
    is_whole = isinstance(state, numbers.Integral) and not isinstance(state, bool)
    if not (is_whole and -states <= state < states and state % states):
        raise UserError(f"state is {describe(state)}; allowed: 1 to {states - 1}, or -1 for x_0")
    separation, usable = (found[name].to_numpy()[:, [0, state]] for name in ("separation", "usable"))
    growths = np.log(separation[:, 1] / separation[:, 0])
    groups = [growths[found["epsilon"].to_numpy() == epsilon] for epsilon in epsilons]
    fine = np.array([usable[found["epsilon"].to_numpy() == epsilon].all() for epsilon in epsilons])
    growth = np.array([np.median(group) for group in groups])
    first, end = _longest_plateau(growth, fine, tolerance)
    value, interval = _on_plateau(groups[first:end], confidence)
    warnings = list(found.attrs["warnings"])
    if end > first and interval is None:
        warnings.append(
            f"{min(map(len, groups[first:end]))} pairs are too few for an interval of their median; take more"
        )
    if end == first:
        warnings.append(
            f"no {LEAST} neighbouring epsilons agree within {tolerance:g}: there is no linear range here"
        )
    return EpsilonSweep(
        value=value,
        interval=interval,
        confidence=confidence,
        epsilons=epsilons,
        growth=growth,
        spread=np.array([np.quantile(group, (0.25, 0.75)) for group in groups]),
        usable=fine,
        linear=(np.arange(len(epsilons)) >= first) & (np.arange(len(epsilons)) < end),
        origin={name: found.attrs[name] for name in ("recording", "fingerprint") if name in found.attrs}
        | {"state": state % states, "tolerance": tolerance},
        warnings=tuple(warnings),
    )


def _need_divergence(found: Any) -> None:
    """Refuse what `divergence` did not give, such as the recording itself."""
    given = set(getattr(found, "variables", ()))
    if missing := [name for name in ("separation", "usable", "epsilon") if name not in given]:
        raise UserError(
            f"found is a {type(found).__name__} without {missing[0]}; give what divergence(recording) gives"
        )


def _longest_plateau(growth: np.ndarray, usable: np.ndarray, tolerance: float) -> tuple[int, int]:
    """First place and end of the longest run; the one of smaller epsilons where two are as long; (0, 0) if none."""
    runs = [
        (first, end)
        for first in range(len(growth))
        for end in range(first + LEAST, len(growth) + 1)
        if usable[first:end].all() and np.ptp(growth[first:end]) <= tolerance
    ]
    return max(runs, key=lambda run: (run[1] - run[0], -run[0]), default=(0, 0))


def _on_plateau(groups: list[np.ndarray], confidence: float) -> tuple[float, tuple[float, float] | None]:
    """The mean of the medians, and that of their intervals: groups share their directions, so that they err alike."""
    if not groups:
        return float("nan"), None
    value = float(np.mean([np.median(group) for group in groups]))
    intervals = [median_interval(group, confidence=confidence) for group in groups]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(groups):
        return value, None
    low, high = np.mean(known, axis=0)
    return value, (float(low), float(high))
