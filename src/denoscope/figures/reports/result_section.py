"""What a report says about a result of a measure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from denoscope.figures.reports.facts import Fact, described, digest_of
from denoscope.figures.reports.numbers import Part, parts_of, shortened
from denoscope.figures.reports.recording_section import RecordingSection
from denoscope.figures.reports.result_figure import ResultFigure, result_figure
from denoscope.figures.reports.source import Measured
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import LISTED
from denoscope.foundation.reading.regular_files import open_regular
from denoscope.foundation.spelling import spelled
from denoscope.recording.recording import Recording


@dataclass(frozen=True)
class ResultSection:
    """What a page says about a result.

    `source` says where the result is. `recording` is the section of what it was computed from, if the page has it.
    Without a figure, `figure` is a sentence that says why.
    """

    anchor: str
    title: str
    source: str
    notices: tuple[str, ...]
    warnings: tuple[str, ...]
    figure: ResultFigure | str
    parts: tuple[Part, ...]
    recording: RecordingSection | None
    fingerprint: str
    provenance: tuple[Fact, ...]
    details: tuple[Fact, ...]


def result_section(
    measured: Measured, title: str, anchor: str, recordings: Sequence[tuple[Recording, RecordingSection]]
) -> ResultSection:
    """The section of a result, with its figure.

    Args:
        title: that of the section; by default the name of the file or of the kind of result.
        recordings: those that the page shows.
    """
    origin = measured.origin
    fingerprint = digest_of(_fingerprint(origin))
    named = origin.get("recording")
    found = _recording_of(named, fingerprint, recordings) if "recording" in origin else None
    strange = tuple(_strange(named, fingerprint, found))
    place = shortened(measured.file or f"the {measured.name} in memory")
    axes = measured.axes if strange or found is None else measured.axes.named(found.samples)
    parts = parts_of(measured.content, axes, place)
    warnings = [f"{part.title}: {line}" if part.title else line for part in parts for line in part.warnings]
    more = len(warnings) - LISTED
    return ResultSection(
        anchor=anchor,
        title=shortened(title or measured.name),
        source=place,
        notices=(*strange, *_unfinished(measured.content)),
        warnings=(*warnings[:LISTED], *([f"{more:,} further warnings are left out"] if more > 0 else [])),
        figure=result_figure(measured, anchor),
        parts=tuple(parts),
        recording=found,
        fingerprint=fingerprint,
        provenance=tuple(_provenance(measured, found)),
        details=tuple(described(origin)),
    )


def _fingerprint(origin: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fingerprint in the origin of a result, otherwise what identifies its work, otherwise all of the origin."""
    for name in ("fingerprint", "identity"):
        if isinstance(origin.get(name), Mapping):
            return origin[name]
    return origin


def _recording_of(
    named: Any, fingerprint: str, recordings: Sequence[tuple[Recording, RecordingSection]]
) -> RecordingSection | None:
    """The recording that a result was computed from: the one of its path, otherwise of its name and fingerprint."""
    for rec, section in recordings:
        if str(rec.path) == str(named) and (rec.path is not None or section.fingerprint == fingerprint):
            return section
    for rec, section in recordings:
        same_name = rec.path is not None and PurePath(str(rec.path)).name == PurePath(str(named)).name
        if same_name and section.fingerprint == fingerprint:
            return section
    return None


def _strange(named: Any, fingerprint: str, found: RecordingSection | None) -> Iterator[str]:
    """What is wrong with the recording that a result names."""
    if named is not None and found is None:
        yield f"Its recording, {shortened(named)}, is not on this page; add it to the sources."
    if found is not None and found.fingerprint != fingerprint:
        yield f"It was computed from an earlier recording at {found.title}, which had another fingerprint; measure it again."


def _unfinished(content: Mapping[str, Any]) -> Iterator[str]:
    """How much of a result is computed, if not all of it is; cells of an adaptive map may be filled instead."""
    known = next((content[name] for name in ("status", "computed", "done") if name in content), None)
    if isinstance(known, np.ndarray) and known.dtype.kind in "biu" and not (known > 0).all():
        yield f"{int((known > 0).sum()):,} of {known.size:,} entries are computed; resume it ({spelled('resume', True)})."


def _provenance(measured: Measured, found: RecordingSection | None) -> Iterator[Fact]:
    """Where a result is stored, and what it was computed from, besides the recording that the page shows."""
    for name in ("model", "plane", *(() if found else ("recording",))):
        if isinstance(measured.origin.get(name), str):
            yield f"Computed from the {name}", shortened(measured.origin[name])
    if measured.file is None:
        yield "File", "none: the result was in memory"
        return
    digest = hashlib.sha256()
    with open_regular(measured.file) as file:
        while block := file.read(2**20):
            digest.update(block)
        yield "File", f"{shortened(measured.file)}, {format_bytes(file.tell())}"
    yield "File, SHA-256", digest.hexdigest()
