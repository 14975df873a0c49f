"""`denoscope report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoscope.cli.flag_groups import ARRAYS
from denoscope.cli.output import ending
from denoscope.cli.verb import OwnFlags, Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option


@dataclass(frozen=True)
class ReportFlags(OwnFlags):
    """What the page is about, and where it is written."""

    sources: tuple[Path, ...] = option(
        (),
        "Recordings (NAME.zarr, a folder, a URL) and results (.json, .npz).",
        positional=True,
        takes_url=True,
    )
    output: Path = option(Path("report.html"), "Output file: the page.", ending(".html"))


def run(settings: Settings, flags: ReportFlags) -> None:
    from denoscope.figures.reports.report import report

    print(report(flags.sources, flags.output, overwrite=settings.inference.overwrite))


VERB = Verb(
    run,
    "Write one page of HTML about recordings and results, to send or to print.",
    ARRAYS,
    ReportFlags,
)
