"""The page of a report, from its template."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.figures.reports.recording_section import RecordingSection
from denoscope.figures.reports.result_section import ResultSection
from denoscope.foundation.errors import escaped

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).with_name("page")
"""The template and the style of the page."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page may load nothing and run no scripts, whatever the files hold whose content it shows."""


def page(sections: Sequence[RecordingSection | ResultSection]) -> bytes:
    """The page as HTML that is also well-formed XML."""
    text = _template().render(
        sections=sections,
        policy=POLICY,
        style=(FOLDER / "style.css").read_text(),
        version=importlib.metadata.version("denoscope"),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    # A file name may hold bytes that are no UTF-8.
    return text.encode("utf-8", errors="replace")


@functools.cache
def _template() -> Template:
    """The template, which escapes all texts; what it shows may come from files of strangers."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _plain(value: Any) -> Any:
    """A text without control characters, which HTML and XML forbid."""
    return escaped(value) if type(value) is str else value
