"""The perturbed samples of a recording with their bases, and the places in which they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.queries import as_queries
from denoscope.recording.recording import Recording
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.plan import ESTIMATES

if TYPE_CHECKING:
    import xarray

ESTIMATE = "x_0_estimate"
"""The name of the scheduler's estimates of x_0 among the layers."""


def check_array(recording: Recording, place: str | None) -> None:
    """Compare the array of a place with its checksums; None stands for x_t."""
    recording.check("sequence" if place is None else ESTIMATES if place == ESTIMATE else place)


def places_of(recording: Recording, layers: str | Sequence[str] | None) -> dict[str, xarray.DataArray]:
    """The estimate of x_0, if it was recorded, and the chosen layers, by name."""
    chosen = list(recording.states) if layers is None else as_queries(layers)
    if unknown := [name for name in chosen if name not in recording.states]:
        recorded = ", ".join(recording.states) or "none"
        raise UserError(
            f"{spelled('layers')}: layer {unknown[0]!r} was not recorded; recorded layers: {recorded}"
        )
    estimates = {ESTIMATE: recording.estimates} if ESTIMATES in recording.dataset else {}
    return estimates | {name: recording.states[name] for name in chosen}


def bases_of(recording: Recording) -> list[int]:
    """The row of each sample's base; a sample that is not perturbed is its own base."""
    source = recording.dataset
    if "base" not in source.coords or not (source["epsilon"].to_numpy() > 0).any():
        raise UserError(
            f"{recording.location} holds no perturbed noises; make some with "
            "ds.noise.perturbed or `denoscope noise perturbed`, and record them"
        )
    names, finished = recording.samples, set(recording.finished.tolist())
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
    if unfinished := [names[row] for pair in pairs for row in pair if row not in finished]:
        raise UserError(
            f"{unfinished[0]} of {recording.location} is not finished; {how_to_finish(recording.attrs)}"
        )
    return bases
