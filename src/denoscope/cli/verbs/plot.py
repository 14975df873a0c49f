"""`denoscope plot`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.output import ANIMATION, MeasureFlags, warn
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PlotFlags(MeasureFlags):
    """What is drawn, and where."""

    path: Path = option(
        Path("result.json"),
        "A recording, or a file of a measure, a map, a zoom or patching.",
        positional=True,
        takes_url=True,
    )
    result: str | None = option(None, "One of several results in the file; all unless given.")
    output: Path = option(
        Path("figure.png"),
        "The figure: .png, .pdf, .svg or another format of matplotlib; .mp4 or .gif for a film of a recording or of a zoom.",
    )

    @property
    def is_film(self) -> bool:
        """Whether the output moves."""
        return ANIMATION[1](self.output)

    def check(self) -> None:
        from denoscope.figures import animation_files, plots

        if self.is_film:
            animation_files.check_path(self.output, "output")
            return
        plots.check_library()
        plots.form_of(self.output, besides=["for a film gif, mp4"])


def run(settings: Settings, flags: PlotFlags) -> None:
    with flags.reserved(settings.inference, reads=[flags.path]):
        results = _results(flags)
        if flags.is_film:
            _save_film(results, flags, settings.system.class_colors)
        else:
            _save_figure(results, flags, settings.system.class_colors)
        _warn_of_missing(results)
    print(flags.output)


def _save_figure(results: Any, flags: PlotFlags, colors: tuple[str, ...]) -> None:
    from denoscope import figures
    from denoscope.figures.stored_figure import draw_stored

    drawn = draw_stored(results, str(flags.path), colors=colors)
    figures.plots.save(drawn.figure, flags.output)
    warn(f"not drawn: {problem}" for problem in drawn.left_out)


def _save_film(results: Any, flags: PlotFlags, colors: tuple[str, ...]) -> None:
    """Write the film of a recording, or of a zoom.

    Raises: UserError for anything else, of which nothing moves.
    """
    from denoscope import figures
    from denoscope.recording.recording import Recording

    if isinstance(results, Recording):
        figures.save_sequences(results, flags.output)
        return
    result = next(iter(results.values()))
    if "decade_dimension" not in getattr(result, "variables", ()):
        raise UserError(
            f"--output is {flags.output}, and there is no film of {flags.path}; allowed: a picture, such as "
            f"{flags.output.with_suffix('.png')}, or a film of a recording or of a zoom"
        )
    figures.save_zoom(result, flags.output, colors=colors)


def _warn_of_missing(results: Any) -> None:
    """Warn if a recording lacks samples."""
    from denoscope.recording.completeness import what_is_missing
    from denoscope.recording.recording import Recording

    if isinstance(results, Recording):
        warn(filter(None, [what_is_missing(results)]))


def _results(flags: PlotFlags) -> Any:
    """The recording at the path, or the results in the file there."""
    from denoscope.figures import result_files
    from denoscope.recording import opening

    if flags.path.suffix not in (".json", ".npz"):
        return opening.open(flags.path)
    found: Mapping[str, Any] = result_files.read(flags.path)
    if flags.result is None:
        return found
    if flags.result not in found:
        names = ", ".join(filter(None, found)) or "none, since the file holds one result"
        raise UserError(f"--result is {flags.result!r}; allowed: {names}")
    return {flags.result: found[flags.result]}


VERB = Verb(
    run, "Draw a recording or a result.", {"system": "class_colors", "inference": "overwrite"}, PlotFlags
)
