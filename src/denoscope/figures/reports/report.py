"""Reports: one page of HTML about recordings and results."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray

from denoscope.figures.reports.page import page
from denoscope.figures.reports.recording_section import RecordingSection, recording_section
from denoscope.figures.reports.result_section import ResultSection, result_section
from denoscope.figures.reports.source import ALLOWED, Source, parse_source
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims
from denoscope.foundation.writing.atomic_files import write_output
from denoscope.foundation.writing.output_path import check_not_read
from denoscope.recording.recording import Recording

LOGGER = logging.getLogger(__name__)


@arguments_checked
def report(sources: Any, out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one page of HTML about recordings and results, and return its path.

    >>> ds.report(["run.zarr", "divergence.npz"], "report.html")
    >>> ds.report({"perturbed noises": rec, "divergence": ds.dynamics.divergence(rec)}, "report.html")

    The page shows the images of recordings, the figures and numbers of results with their intervals and warnings, how to make
    the same recordings again, and where each number comes from. It needs no other file, loads nothing and runs no
    scripts. docs/report.md says what is left out of large recordings.

    Args:
        sources: recordings and results, one, a list, or a mapping from titles: paths and URLs, recordings that `ds.open`
            or `ds.record` returned, results and datasets of measures.
        out: the page, NAME.html.
        overwrite: replace the file if it exists.

    Raises: UserError if a source cannot be read or is neither a recording nor a result, the page exists or cannot be
        written, or matplotlib, which draws results, is not installed.
    """
    path = Path(out)
    if path.suffix != ".html":
        raise UserError(f"{spelled('out')} is {path}; allowed: a name that ends in .html")
    titled = _titled(sources)
    if not titled:
        raise UserError(f"{spelled('sources')} is empty; allowed: {ALLOWED}")
    _check_free(path, [source for _, source in titled], overwrite=overwrite)
    with claims.claimed(path):
        # Again, since another process may have finished meanwhile.
        _check_free(path, [source for _, source in titled], overwrite=overwrite)
        sections = _sections([(title, parse_source(source)) for title, source in titled])
        content = page(sections)
        with write_output(path) as file:
            file.write(content)
    for section in sections:
        for notice in section.notices:
            LOGGER.warning("%s: %s", section.title, notice)
    return path


def _titled(sources: Any) -> list[tuple[str, Any]]:
    """The sources, each with the title that the caller gave it, or ""."""
    if isinstance(sources, Mapping) and not isinstance(sources, xarray.Dataset):
        return [(str(title), source) for title, source in sources.items()]
    return [("", source) for source in (sources if isinstance(sources, (list, tuple)) else [sources])]


def _check_free(path: Path, sources: Sequence[Any], *, overwrite: bool) -> None:
    """Refuse a page that exists, and one that is a source or lies in one."""
    for source in sources:
        place = source.path if isinstance(source, Recording) else source
        if not isinstance(place, (str, os.PathLike)) or is_url(place):
            continue
        check_possible(place, "sources")
        check_not_read(spelled("out"), path, Path(place))
    if path.exists() and not overwrite:
        raise UserError(
            f"{path} exists; replace it ({spelled('overwrite', True)}) or name another path ({spelled('out')})"
        )


def _sections(sources: Sequence[tuple[str, Source]]) -> list[RecordingSection | ResultSection]:
    """The section of each source, in their order."""
    sections: dict[int, RecordingSection | ResultSection] = {}
    recordings = []
    for number, (title, source) in enumerate(sources, 1):
        if isinstance(source, Recording):
            sections[number] = section = recording_section(source, title, f"source-{number}")
            recordings.append((source, section))
    for number, (title, source) in enumerate(sources, 1):
        if not isinstance(source, Recording):
            sections[number] = result_section(source, title, f"source-{number}", recordings)
    return [section for _, section in sorted(sections.items())]
