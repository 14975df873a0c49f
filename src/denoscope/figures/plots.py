"""Figures in the one style, and their files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from denoscope.figures import style
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError, missing_library
from denoscope.foundation.validation import describe, parse_integer, parse_real
from denoscope.foundation.writing.atomic_files import write_output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure", "save"]

SCREEN_DPI, LEAST_DPI = 150, 30
"""Dots per inch on screens, and the fewest at which letters can still be drawn."""


def __dir__() -> list[str]:
    return __all__


def check_axis(ax: object) -> None:
    """Refuse anything but a matplotlib axis."""
    check_library()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise UserError(
            f"ax is {describe(ax)}; allowed: a matplotlib axis, such as figure, ax = ds.figures.plots.figure()"
        )


def check_library() -> None:
    """Refuse to draw without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_library("drawing", "matplotlib", "plots")


@arguments_checked
def figure(
    width: float | Literal["single", "double"] = "single",
    height: float | None = None,
    *,
    rows: int = 1,
    columns: int = 1,
) -> tuple[Figure, Any]:
    """A figure in the style of `figures.style` and its axis, independent of the state of pyplot.

    Args:
        width: that of one column of a journal (3.5 inches) or of two (7.2), or a number of inches.
        height: in inches; by default three quarters of a panel's width for each row.
        rows, columns: how many panels it has, named by letters; with several, axes [rows, columns] are returned.
    """
    check_library()
    from matplotlib.figure import Figure

    if isinstance(width, str) and width not in style.WIDTHS:
        raise UserError(f"width is {width!r}; allowed: 'single', 'double' or a number of inches")
    wide = style.WIDTHS[width] if isinstance(width, str) else parse_real(width, "width", above=0)
    rows, columns = parse_integer(rows, "rows", minimum=1), parse_integer(columns, "columns", minimum=1)
    high = 0.75 * wide / columns * rows if height is None else parse_real(height, "height", above=0)
    with style.context():
        new = Figure(figsize=(wide, high), layout="constrained", dpi=SCREEN_DPI)
        axes = new.subplots(rows, columns)
        if rows * columns > 1:
            style.letter(axes.flat)
    return new, axes


@arguments_checked
def save(figure: Figure, path: str | Path, *, dpi: int = 300) -> None:
    """Write a figure atomically, in the format of the file name's ending (.png, .pdf, .svg).

    Text in .pdf and .svg stays text. The same figure gives the same bytes.

    Args:
        dpi: dots per inch of .png and of images within .pdf and .svg.
    """
    check_library()
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise UserError(
            f"figure is {describe(figure)}; allowed: a matplotlib figure, such as that of figures.draw"
        )
    form, dpi = form_of(path), parse_integer(dpi, "dpi", minimum=LEAST_DPI)
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    with style.context(), write_output(path) as file:
        figure.savefig(file, format=form, dpi=dpi, facecolor="white", bbox_inches="tight", metadata=undated)


def form_of(path: str | Path, *, besides: Sequence[str] = ()) -> str:
    """The format of a picture by the ending of its name.

    Args:
        besides: what the caller allows besides the formats of matplotlib.

    Raises: UserError if matplotlib does not write this format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    form, allowed = (
        Path(path).suffix.lower().removeprefix("."),
        sorted(FigureCanvasBase.get_supported_filetypes()),
    )
    if form not in allowed:
        raise UserError(
            f"{path} does not end with a format of pictures; allowed: {', '.join([*allowed, *besides])}"
        )
    return form
