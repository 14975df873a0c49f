"""How the perturbed trajectories of a recording separate from their base."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from denoscope.dynamics.trajectories.divergence_of import divergence_of
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import on_command_line
from denoscope.foundation.validation import parse_real
from denoscope.hooks.queries import as_queries
from denoscope.recording.opening import parse_recording
from denoscope.recording.recording import Recording
from denoscope.storage.plan import COMPLETE, ESTIMATES

if TYPE_CHECKING:
    import xarray

LOGGER = logging.getLogger(__name__)

ESTIMATE = "x_0_estimate"
"""The name of the scheduler's estimates of x_0 among the layers."""


@calls_checked
def divergence(
    recording: Recording | str | os.PathLike[str],
    *,
    threshold: float = 2.0,
    layers: str | Sequence[str] | None = None,
) -> xarray.Dataset:
    """The separation of every perturbed trajectory of a recording from its base, as `divergence_of` measures it.

    The places are x_t, the estimate of x_0 if it was recorded (`extract_estimates`) as "x_0_estimate", and the recorded
    layers. Steps whose states were not recorded are NaN. `usable` compares with the noise floor of the recording
    (attribute `noise_floor`, see `denoscope verify precision --path`); without one all is usable and a warning says so.

    Reads one sample of one array at a time, so that memory does not grow with the number of samples.

    Args:
        recording: a recording of one or several sets of noises made by `noise.perturbed`, or its path.
        threshold: factor of the separation in x_T from which a pair counts as diverged.
        layers: one address or several; by default all that were recorded.

    Raises: UserError if the recording has no perturbed noises, lacks a layer or a base, is not finite, or is damaged.
    """
    parse_real(threshold, "threshold", above=1)
    recording = parse_recording(recording)
    bases = _bases(recording)
    places = _places(recording, layers)
    recording.check("sequence", *(ESTIMATES if place == ESTIMATE else place for place in places))
    result = divergence_of(
        recording.sequence,
        bases,
        layers=places,
        threshold=threshold,
        noise_floor=recording.attrs.get("noise_floor", {}).get("per_state_l2"),
    )
    warnings = result.attrs["warnings"]
    if "noise_floor" not in recording.attrs:
        stored = "" if recording.path else "record to a store, then "
        advice = f"{stored}denoscope verify precision --path {recording.path or 'RUN.zarr'}"
        missing = f"no noise floor was measured: {advice}"
        if not on_command_line():  # the command shows all warnings of the result
            LOGGER.warning(missing)
        warnings = [missing, *warnings]
    return result.assign_attrs(recording.origin | {"threshold": threshold, "warnings": warnings})


def _places(recording: Recording, layers: str | Sequence[str] | None) -> dict[str, xarray.DataArray]:
    """The estimate of x_0, if it was recorded, and the chosen layers, by name."""
    chosen = list(recording.states) if layers is None else as_queries(layers)
    if unknown := [name for name in chosen if name not in recording.states]:
        recorded = ", ".join(recording.states) or "none"
        raise UserError(f"layer {unknown[0]!r} was not recorded; recorded layers: {recorded}")
    estimates = {ESTIMATE: recording.estimates} if ESTIMATES in recording.dataset else {}
    return estimates | {name: recording.states[name] for name in chosen}


def _bases(recording: Recording) -> list[int]:
    """The row of each sample's base; a sample that is not perturbed is its own base."""
    source = recording.dataset
    if "base" not in source.coords or not (source["epsilon"].to_numpy() > 0).any():
        raise UserError(
            f"{recording.location} holds no perturbed noises; make some with "
            "ds.noise.perturbed or `denoscope noise perturbed`, and record them"
        )
    names, complete = source["sample"].to_numpy().tolist(), source[COMPLETE].to_numpy()
    bases = []
    for row, (base, epsilon) in enumerate(
        zip(source["base"].to_numpy(), source["epsilon"].to_numpy(), strict=True)
    ):
        if epsilon > 0 and base not in names:
            raise UserError(
                f"{recording.location} lacks {base}, the base of {names[row]}; record them together"
            )
        bases.append(names.index(base) if epsilon > 0 else row)
    pairs = [(row, base) for row, base in enumerate(bases) if row != base]
    if unfinished := [names[row] for pair in pairs for row in pair if not complete[row]]:
        raise UserError(
            f"{unfinished[0]} of {recording.location} is not finished; resume the recording (--resume)"
        )
    return bases
