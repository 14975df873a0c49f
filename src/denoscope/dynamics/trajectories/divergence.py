"""How perturbed trajectories leave their base: in x_t, in the estimate of x_0 and in every recorded layer, step by step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_real
from denoscope.recording.recording import Recording
from denoscope.recording.replay import opened
from denoscope.storage.plan import COMPLETE, ESTIMATES

if TYPE_CHECKING:
    import xarray

X = "x"
"""The states x_t among the places where trajectories are compared."""
ESTIMATE = "x_0_estimate"
"""The scheduler's estimate of x_0 among them."""
MEASURES = ("separation", "cosine", "relative")


def divergence(
    recording: Recording | str | os.PathLike[str],
    *,
    threshold: float = 2.0,
    layers: Sequence[str] | None = None,
) -> xarray.Dataset:
    """How far each perturbed trajectory of a recording is from its base, in x_t, the estimate of x_0 and every layer.

    For the state h of a sample and h_b of its base:
    `separation` ‖h − h_b‖, L2, in the units of the state; `cosine` 1 − h·h_b/(‖h‖‖h_b‖), without a unit;
    `relative` ‖h − h_b‖/‖h_b‖. Of these in x_t, over (sample, state): `growth` ln(separation_{k+1}/separation_k), per
    step, (sample, step); `growth_rate` ln(separation_N/separation_0)/N, per step. Layers are over (sample, step), named
    "ADDRESS separation" and so on, and so is the estimate of x_0 where it was recorded (`extract_estimates`), as
    "x_0_estimate separation". Their growth, "ADDRESS growth" (sample, step), is that from a step to the next, NaN in the
    last one. A step whose states were not kept is NaN; so is growth from or to it, or from or to identical states, of
    which `warnings` tells.

    `diverged_at` is the first state whose separation is more than `threshold` times that of x_T, −1 where none is;
    `survival` (state) the share of the pairs not diverged up to there, with its 95 % Wilson interval.

    `usable` (state) is false where a separation of x_t is below the recording's measured noise floor (the attribute
    `noise_floor`, see `denoscope verify precision --path`): rounding alone makes as much. Without one, it is all true
    and `warnings` says so.

    How to read it: a straight line of ln separation over steps is exponential growth, over which its slope is a rate.
    When it misleads: separations that reach the size of the data saturate; perturbations larger than the linear range
    tell of the basin, not of the exponent (`epsilon_sweep`).

    Reads one sample of one array at a time: memory is flat in the number of samples.

    Args:
        recording: of noises made by `noise.perturbed`, one or several sets; or its path.
        threshold: factor of x_T's separation from which a pair counts as diverged.
        layers: addresses; all that were recorded unless given.

    Raises: UserError if the recording has no perturbed noises, lacks a layer or a base, is not finite, or
        damaged.
    """
    import xarray

    parse_real(threshold, "threshold", above=1)
    recording = opened(recording)
    pairs, source = _pairs(recording), recording.dataset
    places = _places(recording, layers)
    recording.check("sequence", *(ESTIMATES if place == ESTIMATE else place for place in places))
    x = _measured(recording.sequence, pairs, X)
    separation, steps = x[0], x.shape[2] - 1
    _need_apart(separation, source["sample"].to_numpy()[[row for row, _ in pairs]])
    variables: dict[str, Any] = {
        name: (("sample", "state"), values) for name, values in zip(MEASURES, x, strict=True)
    }
    warnings = []
    for place, array in places.items():
        measured = np.full((len(MEASURES), len(pairs), steps), np.nan)
        measured[:, :, source["step"].to_numpy()] = _measured(array, pairs, place)
        for name, values in zip(MEASURES, measured, strict=True):
            variables[f"{place} {name}"] = (("sample", "step"), values)
        variables[f"{place} growth"] = (("sample", "step"), _growth(measured[0]))
        if same := int((measured[0] == 0).sum()):
            warnings.append(
                f"{place}: {same} of {measured[0].size} states are their base's, bit for bit: growth is NaN there"
            )
    logs, diverged = np.log(separation), separation > threshold * separation[:, :1]
    together = 1 - np.maximum.accumulate(diverged, axis=1)
    usable, told = _above_floor(recording, separation)
    variables |= {
        "growth": (("sample", "step"), np.diff(logs, axis=1)),
        "growth_rate": ("sample", (logs[:, -1] - logs[:, 0]) / steps),
        "diverged_at": ("sample", np.where(diverged.any(1), diverged.argmax(1), -1)),
        "survival": ("state", together.mean(0)),
        "survival_interval": (("state", "end"), wilson(together.sum(0), len(together))),
        "usable": (("sample", "state"), usable),
    }
    rows = [row for row, _ in pairs]
    return xarray.Dataset(
        variables,
        coords={
            "sample": source["sample"].to_numpy()[rows],
            "base": ("sample", source["base"].to_numpy()[rows]),
            "epsilon": ("sample", source["epsilon"].to_numpy()[rows]),
            "state": np.arange(steps + 1),
            "step": np.arange(steps),
        },
        attrs={**recording.origin, "threshold": threshold, "warnings": [*told, *warnings]},
    )


def _places(recording: Recording, layers: Sequence[str] | None) -> dict[str, xarray.DataArray]:
    """Where trajectories are compared beside x_t, by name."""
    if isinstance(layers, str) or not isinstance(layers, Iterable | None):
        raise UserError(f"layers is {describe(layers)}; needed is a list of addresses, or None for all")
    chosen = list(recording.states) if layers is None else [str(name) for name in layers]
    if unknown := [name for name in chosen if name not in recording.states]:
        recorded = ", ".join(recording.states) or "none"
        raise UserError(f"layer {unknown[0]!r} was not recorded; recorded were: {recorded}")
    estimates = {ESTIMATE: recording.estimates} if ESTIMATES in recording.dataset else {}
    return estimates | {name: recording.states[name] for name in chosen}


def _growth(separation: np.ndarray) -> np.ndarray:
    """ln of the factor from each step to the next [pair, step]; NaN in the last, and where one of both is 0."""
    logs = np.log(separation, out=np.full(separation.shape, np.nan), where=separation > 0)
    return np.diff(logs, axis=1, append=np.nan)


def _pairs(recording: Recording) -> list[tuple[int, int]]:
    """The place of each perturbed sample and of its base."""
    source = recording.dataset
    if "base" not in source.coords or not (source["epsilon"].to_numpy() > 0).any():
        raise UserError(
            f"{recording.path} holds no perturbed noises; record some: denoscope noise perturbed, or ds.noise.perturbed"
        )
    names = source["sample"].to_numpy().tolist()
    pairs = []
    for row, (base, epsilon) in enumerate(
        zip(source["base"].to_numpy(), source["epsilon"].to_numpy(), strict=True)
    ):
        if not epsilon > 0:
            continue
        if base not in names:
            raise UserError(f"{recording.path} lacks {base}, the base of {names[row]}; record them together")
        pairs.append((row, names.index(base)))
    unfinished = [names[row] for pair in pairs for row in pair if not bool(source[COMPLETE].to_numpy()[row])]
    if unfinished:
        raise UserError(
            f"{unfinished[0]} of {recording.path} is not finished; go on with the recording (--resume)"
        )
    return pairs


def _measured(array: xarray.DataArray, pairs: Sequence[tuple[int, int]], place: str) -> np.ndarray:
    """The measures of every pair at every entry along time, [measure, pair, entry]."""
    found, known, base_states = np.empty((len(MEASURES), len(pairs), array.shape[1])), -1, np.empty(0)
    # Pairs of one base lie side by side, so that each base is read once.
    for index, (row, base) in sorted(enumerate(pairs), key=lambda item: item[1][::-1]):
        if base != known:
            known, base_states = base, _flat(array, base)
            lengths = np.sqrt(_dots(base_states, base_states))
        states = _flat(array, row)
        apart, own = states - base_states, np.sqrt(_dots(states, states))
        separation = np.sqrt(_dots(apart, apart))
        with np.errstate(divide="ignore", invalid="ignore"):
            cosine = 1 - _dots(states, base_states) / (own * lengths)
            found[:, index] = separation, cosine, separation / lengths
        if not np.isfinite(separation).all():
            entry = int(np.flatnonzero(~np.isfinite(separation))[0])
            raise UserError(
                f"{place} of {array['sample'].to_numpy()[row]} or its base is NaN or Inf at entry {entry}; leave it out"
            )
    return found


def _flat(array: xarray.DataArray, row: int) -> np.ndarray:
    """One sample's states as [entry, numbers]."""
    states = array[row].to_numpy()
    return states.reshape(len(states), -1)


def _dots(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The scalar product of each pair of rows, added up in double precision."""
    return np.einsum("ij,ij->i", one, other, dtype=np.float64)


def _need_apart(separation: np.ndarray, names: np.ndarray) -> None:
    if (same := (separation == 0).any(1)).any():
        raise UserError(
            f"{names[same.argmax()]} and its base are identical in some state, so that nothing grows; take a larger epsilon"
        )


def _above_floor(recording: Recording, separation: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which separations of x_t rounding does not explain, and what is to be said of them."""
    floor = recording.attrs.get("noise_floor", {}).get("per_state_l2")
    if floor is None:
        told = f"no noise floor was measured: denoscope verify precision --path {recording.path}"
        return np.ones(separation.shape, bool), [told]
    usable = separation > np.asarray(floor)
    lost = int((~usable).sum())
    return usable, [f"{lost} of {usable.size} separations lie below the noise floor"] if lost else []
