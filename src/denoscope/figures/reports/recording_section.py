"""What a report says about a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from denoscope.config import InferenceConfig
from denoscope.figures.reports.commands import Commands, commands
from denoscope.figures.reports.facts import Fact, described, digest_of
from denoscope.figures.reports.numbers import MOST_LINES, Cell, Table, number, shortened
from denoscope.figures.reports.recorded_images import RecordedImages, recorded_images
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import LISTED
from denoscope.foundation.json_values import flat
from denoscope.foundation.spelling import counted
from denoscope.recording.completeness import what_is_missing
from denoscope.recording.recording import Recording


@dataclass(frozen=True)
class RecordingSection:
    """What a page says about a recording.

    `notices` are what a reader must know before anything else, and `source` says where the recording is. The names of all
    `samples` are for the tables of results.
    """

    anchor: str
    title: str
    source: str
    summary: str
    notices: tuple[str, ...]
    images: RecordedImages
    commands: Commands
    fingerprint: str
    provenance: tuple[Fact, ...]
    options: Table
    arrays: Table
    details: tuple[Fact, ...]
    samples: tuple[str, ...]


def recording_section(rec: Recording, title: str, anchor: str) -> RecordingSection:
    """The section of a recording, whose images are read.

    Args:
        title: that of the section; by default its path.

    Raises: UserError if a mark is damaged, or a file cannot be read.
    """
    images, fingerprint = recorded_images(rec), digest_of(rec.attrs["fingerprint"])
    missing = what_is_missing(rec)
    return RecordingSection(
        anchor=anchor,
        title=shortened(title or rec.location),
        source=shortened(rec.location),
        summary=shortened(_summary(rec)),
        notices=(*([f"{missing}."] if missing else []), *_damaged(images), *images.notices),
        images=images,
        commands=commands(rec),
        fingerprint=fingerprint,
        provenance=tuple(_provenance(rec, images.checked)),
        options=_options(rec.attrs["config"]),
        arrays=_arrays(rec),
        details=tuple(described(rec.attrs["fingerprint"])),
        samples=tuple(rec.samples),
    )


def _summary(rec: Recording) -> str:
    steps, layers = rec.dataset.sizes["state"] - 1, list(rec.states)
    read = f"; layers {', '.join(layers)}" if layers else "; no layers"
    samples = counted(len(rec.samples), "sample")
    return f"{samples} of {rec.attrs['model']} with {rec.attrs['scheduler']}, {counted(steps, 'step')}{read}."


def _damaged(images: RecordedImages) -> Iterator[str]:
    yield from (f"Damaged: {shortened(line)}." for line in images.damage[:LISTED])
    if more := len(images.damage[LISTED:]):
        yield f"Damaged: {counted(more, 'further place')}; denoscope verify store lists all."


def _provenance(rec: Recording, checked: str) -> Iterator[Fact]:
    attrs, made_by = rec.attrs, rec.attrs["fingerprint"]
    yield "Place", shortened(rec.location)
    yield "Model", shortened(attrs["model"])
    yield "Network", shortened(made_by["network"])
    yield "Weights, SHA-256", made_by["weights_sha256"] or "not read, because they were offloaded"
    yield "Scheduler", shortened(attrs["scheduler"])
    shape = " × ".join(map(str, made_by["shape"]))
    yield "States", f"{shape} numbers, {made_by['dtype']}"
    yield "Device", shortened(f"{made_by.get('device', 'unknown')}, {counted(made_by['threads'], 'thread')}")
    yield "Inputs", shortened(_inputs(attrs.get("inputs", {})) or "unknown")
    yield "Inputs, SHA-256", shortened(attrs.get("inputs_sha256") or "unknown")
    yield "Noise floor", _noise_floor(rec)
    yield "Recorded", shortened(attrs.get("created") or "unknown")
    yield (
        "Versions",
        shortened(", ".join(f"{name} {version}" for name, version in flat(attrs.get("versions", {})))),
    )
    yield "Checksums compared", shortened(checked)


def _inputs(inputs: Mapping[str, Any]) -> str:
    """The parameters of each set of noises, in words."""
    sets = [entry for entry in inputs.get("sets", ()) if isinstance(entry, Mapping)] or [inputs]
    return "; ".join(", ".join(f"{name} {value}" for name, value in flat(entry)) for entry in sets)


def _noise_floor(rec: Recording) -> str:
    """How far rounding alone moves a state, if that was measured."""
    measured = rec.attrs.get("noise_floor")
    if not measured:
        if rec.path is None:
            return "not measured: record to a store, then denoscope verify precision"
        return shortened(f"not measured: denoscope verify precision --path {rec.path}")
    largest = max((value for value in measured.get("per_state_l2", []) if value is not None), default=None)
    return f"{number(largest).text}, the largest L2 distance in a state of one sample"


def _options(config: Mapping[str, Any]) -> Table:
    """All options with their defaults."""
    defaults = vars(InferenceConfig())
    rows = []
    for name, value in config.items():
        default = "" if name not in defaults else _text(defaults[name])
        rows.append(tuple(Cell(number(text)) for text in (name, _text(value), default)))
    return Table("All options", ("option", "value", "default"), tuple(rows[:MOST_LINES]))


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _arrays(rec: Recording) -> Table:
    """The arrays of the recording, as xarray shows them."""
    rows = []
    for name in map(str, rec.dataset.data_vars):
        array = rec[name]
        sizes = ", ".join(f"{dim} {size:,}" for dim, size in array.sizes.items())
        rows.append(
            tuple(Cell(number(text)) for text in (name, sizes, str(array.dtype), format_bytes(array.nbytes)))
        )
    more = f", the first {MOST_LINES} of {len(rows):,}" if len(rows) > MOST_LINES else ""
    return Table(f"Arrays{more}", ("array", "dimensions", "type", "size"), tuple(rows[:MOST_LINES]))
