"""How perturbed trajectories separate from their base, measured on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray

from denoscope.dynamics.statistics.arguments import parse_array, parse_numbers
from denoscope.dynamics.statistics.intervals import clustered_interval
from denoscope.dynamics.trajectories.levels import state_levels
from denoscope.dynamics.trajectories.separations import MEASURES, Pair, growth, separations
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_real

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

X = "x"
"""The name of the states x_t in messages and labels."""
Measured = Callable[[str | None], np.ndarray]
"""The `separations` of the states of a place by its name; None stands for x_t."""


@arguments_checked
def divergence_of(
    sequence: Any,
    bases: ArrayLike,
    *,
    layers: Mapping[str, Any] | None = None,
    threshold: float = 2.0,
    noise_floor: ArrayLike | None = None,
) -> xarray.Dataset:
    """The separation of perturbed trajectories from their base, in x_t and in other states of the same samples.

    For the state h of a sample and h_b of its base:
    `separation` ‖h − h_b‖ (L2, in the units of the state);
    `cosine` 1 − h·h_b/(‖h‖‖h_b‖), dimensionless;
    `relative` ‖h − h_b‖/‖h_b‖, dimensionless. Where a state is 0, `cosine` is NaN, and where that of the base is 0,
    `relative` is infinite, or NaN if both are; a warning counts these.
    These are over (sample, state) for x_t, and over (sample, step) for the other states, where they are named
    "NAME separation" and so on. `growth` (sample, step) is ln(separation_{k+1}/separation_k) in x_t, per step, and
    `growth_rate` (sample) its mean ln(separation_N/separation_0)/N. "NAME growth" is the same from a step to the
    next: NaN in the last step, next to steps without states, and next to states that are identical, which a warning counts.

    `diverged_at` (sample) is the first state whose separation exceeds `threshold` times that of x_T, −1 if there is none;
    `survival` (state) is the share of pairs that have not diverged by then. `survival_interval` (state, end) is its 95 %
    Wilson interval. Because the pairs of one base depend on each other, it counts as many independent pairs as would
    scatter like the bases; the pairs of a single base count as independent, and say nothing about other bases. `usable`
    (sample, state) is whether the separation in x_t exceeds the noise floor, below which rounding alone explains it.

    Coordinates `sigma` and `timestep` along the states of `sequence` are kept (as `step_sigma` and `step_timestep` along
    the steps), as are the names and coordinates of the samples.

    >>> rec = ds.open("run.zarr")
    >>> ds.dynamics.divergence_of(rec.sequence, [0, 0, 0])  # samples 1 and 2 are perturbations of sample 0

    Interpretation: a straight line of ln separation over steps is exponential growth, and its slope the rate.

    Caveats: separations that reach the size of the data saturate. Perturbations beyond the linear range measure the basin
    rather than the exponent (`epsilon_sweep`).

    Args:
        sequence: states x_t [sample, state, …], x_T first; a tensor, or an array of NumPy or xarray, lazy or not.
        bases: the row of each sample's base; a base is its own base.
        layers: further states [sample, step, …] by name; an xarray.DataArray with a `step` coordinate may lack steps.
        threshold: factor of the separation in x_T from which a pair counts as diverged.
        noise_floor: L2 distance [state] that rounding makes.

    Raises: UserError if the arrays do not fit together, are not finite, or a sample is identical to its base in a state.
    """
    return divergence_from(sequence, bases, layers or {}, threshold=threshold, noise_floor=noise_floor)


def divergence_from(
    sequence: Any,
    bases: ArrayLike,
    layers: Mapping[str, Any],
    *,
    threshold: float,
    noise_floor: ArrayLike | None,
    measured: Measured | None = None,
) -> xarray.Dataset:
    """The result of `divergence_of`.

    Args:
        measured: the separations, if they are measured elsewhere.
    """
    threshold = parse_real(threshold, "threshold", above=1)
    for name, states in {"sequence": sequence, **layers}.items():
        _check_states(states, name, 2 if name == "sequence" else 1)
        if len(states) != len(sequence):
            raise UserError(
                f"layer {name!r} has {len(states)} samples; allowed: {len(sequence)}, those of the sequence"
            )
    pairs, names = parse_pairs(bases, len(sequence)), names_of(sequence)
    x = separations(sequence, pairs, X, names) if measured is None else measured(None)
    _check_apart(x[0], [names[row] for row, _ in pairs])
    variables = _x_variables(x, [base for _, base in pairs], threshold)
    warnings = _zero_warnings(X, x)
    if noise_floor is not None:
        floor = parse_numbers(noise_floor, "noise_floor")
        if floor.ndim > 1 or floor.size not in (1, x.shape[2]):
            raise UserError(
                f"noise_floor has shape {list(floor.shape)}; allowed: [{x.shape[2]}], a distance for each state"
            )
        variables["usable"] = ("sample", "state"), x[0] > floor
        if lost := int((~variables["usable"][1]).sum()):
            warnings.append(f"{lost} of {x[0].size} separations are below the noise floor")
    for name, states in layers.items():
        found = separations(states, pairs, name, names) if measured is None else measured(name)
        in_steps = _in_steps(states, found, x.shape[2] - 1, name)
        variables |= _layer_variables(name, in_steps)
        warnings += _zero_warnings(name, in_steps)
        if same := int((in_steps[0] == 0).sum()):
            warnings.append(
                f"{name}: {same} of {in_steps[0].size} states are identical to those of their base, where growth is NaN"
            )
    return xarray.Dataset(
        variables,
        coords=_coords(sequence, pairs, names),
        attrs={"threshold": threshold, "warnings": warnings},
    )


def _x_variables(x: np.ndarray, bases: Sequence[int], threshold: float) -> dict[str, Any]:
    """The variables of x_t from its measures [measure, pair, state] and the base of each pair."""
    separation, steps = x[0], x.shape[2] - 1
    logs, diverged = np.log(separation), separation > threshold * separation[:, :1]
    undiverged = 1 - np.maximum.accumulate(diverged, axis=1)
    return {name: (("sample", "state"), values) for name, values in zip(MEASURES, x, strict=True)} | {
        "growth": (("sample", "step"), np.diff(logs, axis=1)),
        "growth_rate": ("sample", (logs[:, -1] - logs[:, 0]) / steps),
        "diverged_at": ("sample", np.where(diverged.any(1), diverged.argmax(1), -1)),
        "survival": ("state", undiverged.mean(0)),
        "survival_interval": (("state", "end"), _survival_interval(undiverged, bases)),
        "usable": (("sample", "state"), np.ones(separation.shape, bool)),
    }


def _zero_warnings(name: str, measured: np.ndarray) -> list[str]:
    """A warning about states that are 0, where measures [measure, pair, entry] other than the separation are undefined."""
    separation, cosine, relative = measured
    undefined = np.isfinite(separation) & ~(np.isfinite(cosine) & np.isfinite(relative))
    if not undefined.any():
        return []
    return [
        f"{name}: in {np.count_nonzero(undefined)} of {np.count_nonzero(np.isfinite(separation))} states the sample or its "
        "base is 0, where cosine is NaN; relative is infinite or NaN where the base is"
    ]


def _survival_interval(undiverged: np.ndarray, bases: Sequence[int]) -> np.ndarray:
    """The interval [state, 2] of the share of `undiverged` pairs [pair, state]; the pairs of one base are a cluster."""
    names, base_of = np.unique(bases, return_inverse=True)
    pairs = np.bincount(base_of)
    shares = np.stack([undiverged[base_of == base].mean(axis=0) for base in range(len(names))])
    return clustered_interval(shares, pairs)


def _layer_variables(name: str, measured: np.ndarray) -> dict[str, Any]:
    """The variables of other states from their measures [measure, pair, step]."""
    variables: dict[str, Any] = {
        f"{name} {measure}": (("sample", "step"), values)
        for measure, values in zip(MEASURES, measured, strict=True)
    }
    return variables | {f"{name} growth": (("sample", "step"), growth(measured[0]))}


def _in_steps(states: Any, measured: np.ndarray, steps: int, name: str) -> np.ndarray:
    """Measures [measure, pair, step] of all steps from those of the steps that the states have; the others are NaN."""
    at = (
        states["step"].to_numpy()
        if isinstance(states, xarray.DataArray) and "step" in states.coords
        else None
    )
    if at is None and measured.shape[2] != steps:
        raise UserError(
            f"layer {name!r} has {measured.shape[2]} steps; allowed: {steps}, those of the sequence"
        )
    in_all_steps = np.full((*measured.shape[:2], steps), np.nan)
    in_all_steps[:, :, slice(None) if at is None else at] = measured
    return in_all_steps


def _coords(sequence: Any, pairs: Sequence[Pair], names: Sequence[Any]) -> dict[str, Any]:
    """Coordinates of the result: samples, their bases, states and steps, with what `sequence` has along them."""
    rows, states = [row for row, _ in pairs], sequence.shape[1]
    coords: dict[str, Any] = {
        "sample": [names[row] for row in rows],
        "base": ("sample", [names[base] for _, base in pairs]),
        "state": np.arange(states),
        "step": np.arange(states - 1),
    }
    if isinstance(sequence, xarray.DataArray) and "epsilon" in sequence.coords:
        coords["epsilon"] = ("sample", sequence["epsilon"].to_numpy()[rows])
    for name, levels in state_levels(sequence).items():
        coords |= {name: ("state", levels), f"step_{name}": ("step", levels[:-1])}
    return coords


def names_of(sequence: Any) -> Sequence[Any]:
    """The names of the samples, or their numbers."""
    if isinstance(sequence, xarray.DataArray) and "sample" in sequence.coords:
        return sequence["sample"].to_numpy().tolist()
    return range(len(sequence))


def parse_pairs(bases: ArrayLike, samples: int) -> list[Pair]:
    """The rows of every perturbed sample and of its base."""
    rows = parse_array(bases, "bases")
    if rows.shape != (samples,) or rows.dtype.kind not in "iu" or not ((rows >= 0) & (rows < samples)).all():
        raise UserError(
            f"bases is {describe(bases)}; allowed: for each of the {samples} samples the row of its base, 0 to {samples - 1}"
        )
    pairs = [(row, int(base)) for row, base in enumerate(rows) if row != base]
    if not pairs:
        raise UserError("bases names every sample as its own base; allowed: at least one perturbed sample")
    return pairs


def _check_states(states: Any, name: str, minimum: int) -> None:
    is_array = isinstance(states, (np.ndarray, torch.Tensor, xarray.DataArray))
    shape = list(states.shape) if is_array else []
    if len(shape) < (3 if minimum > 1 else 2) or shape[1] < minimum:
        raise UserError(
            f"{name} is {f'an array {shape}' if is_array else describe(states)}; allowed: states [sample, state, …] of at "
            f"least {minimum} states, as a PyTorch, NumPy or xarray array"
        )


def _check_apart(separation: np.ndarray, names: Sequence[Any]) -> None:
    if (same := (separation == 0).any(1)).any():
        raise UserError(
            f"{names[int(same.argmax())]} and its base are identical in some state, so that nothing grows; take a larger "
            "epsilon"
        )
