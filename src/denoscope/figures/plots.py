"""Figures and files, and drawings of images: contact sheets, strips, planes of classes and of images."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from denoscope.config import Geometry
from denoscope.figures import images as pictures
from denoscope.figures import style
from denoscope.figures.images import ImageLike
from denoscope.figures.regions import wide_regions
from denoscope.foundation.errors import UserError, missing_library
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.validation import describe
from denoscope.foundation.writing.atomic_files import write_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["draw_contact_sheet", "draw_images_plane", "draw_plane", "draw_strip", "figure", "save"]

UNKNOWN, HATCHED, HATCH = "#f2f2f2", "#8c8c8c", "////"
"""Colours and hatching of cells without a class (a negative label)."""
PALEST = 0.75
"""The share of white in the colour of a cell with certainty 0."""
CERTAINTIES = (0.0, 0.5, 1.0)
"""The certainties whose shades the legend shows, from left to right in the swatch of each class."""
GAP = 1
MOST_POWERS = 5
"""Ticks at powers of ten, of which names such as 1e-12 do not overlap."""
MOST_LETTERS = 24
"""Letters of a name beside a drawing."""
SCREEN_DPI = 150
LUMINANCE, MIDDLE_LUMINANCE = np.array([0.299, 0.587, 0.114]), 0.55
"""The shares of red, green and blue in how light a colour is, and above what text on it is black."""
NAME_RADIUS, LEAST_NAME_RADIUS = 14.0, 5.0
"""The radius in points of a circle that fits into a region of a plane which is named, and into the widest one of its class."""


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
    wide = style.WIDTHS[width] if isinstance(width, str) else width
    high = 0.75 * wide / columns * rows if height is None else height
    with style.context():
        new = Figure(figsize=(wide, high), layout="constrained", dpi=SCREEN_DPI)
        axes = new.subplots(rows, columns)
        if rows * columns > 1:
            style.letter(axes.flat)
    return new, axes


def save(figure: Figure, path: str | Path, *, dpi: int = 300) -> None:
    """Write a figure atomically, in the format of the file name's ending (.png, .pdf, .svg).

    Text in .pdf and .svg stays text. The same figure gives the same bytes.
    """
    form = form_of(path)
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(form)
    with style.context(), write_output(path) as file:
        figure.savefig(file, format=form, dpi=dpi, facecolor="white", bbox_inches="tight", metadata=undated)


def form_of(path: str | Path) -> str:
    """The format of a picture by the ending of its name.

    Raises: UserError if matplotlib does not write this format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    form, allowed = (
        Path(path).suffix.lower().removeprefix("."),
        sorted(FigureCanvasBase.get_supported_filetypes()),
    )
    if form not in allowed:
        raise UserError(f"{path} does not end with a format of pictures; allowed: {', '.join(allowed)}")
    return form


def whole_ticks(axis: Axis) -> None:
    """Place the ticks of an axis that counts, such as steps or ranks, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def shortened(name: str) -> str:
    """A name of at most 24 letters, without the middle of longer ones."""
    return (
        name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS // 2 - 1]}…{name[-MOST_LETTERS // 2 :]}"
    )


def logarithmic(ax: Axes, *names: Literal["x", "y"]) -> None:
    """Make x or y of an axis logarithmic, with ticks such as 0.2 or 3e-4, which need little room."""
    for name in names:
        ax.set(**{f"{name}scale": "log"})
        _short_log_ticks(ax.xaxis if name == "x" else ax.yaxis)


def _short_log_ticks(axis: Axis) -> None:
    from matplotlib.ticker import LogFormatter, LogLocator

    class Short(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            if not super().__call__(x, pos):
                return ""
            if 0.01 <= x < 1000:
                return f"{x:g}"
            digits, _, exponent = f"{x:.1e}".partition("e")
            return f"{digits.removesuffix('.0')}e{int(exponent)}"

    axis.set_major_locator(LogLocator(numticks=MOST_POWERS))
    axis.set_major_formatter(Short())
    axis.set_minor_formatter(Short())
    axis.set_tick_params(
        which="both", labelsize=float(axis.label.get_fontsize()) * style.SMALL_POINTS / style.POINTS
    )


def draw_contact_sheet(
    ax: Axes, images: ImageLike, *, columns: int | None = None, title: str | None = None
) -> Axes:
    """Draw images [n, C, H, W] row by row; by default the sheet is about square."""
    check_axis(ax)
    pixels = pictures.to_uint8(images)
    columns = pictures.square_columns(len(pixels)) if columns is None else columns
    return _bare(_show(ax, pictures.mosaic(pixels, columns, gap=GAP)), title)


def draw_strip(ax: Axes, sequence: ImageLike, *, count: int = 10, title: str | None = None) -> Axes:
    """Draw `count` evenly spread states of a sequence [state, C, H, W], x_T on the left, labelled by finished steps."""
    check_axis(ax)
    states = pictures.as_tensor(sequence)
    chosen = pictures.evenly(len(states), count)
    pixels = pictures.to_uint8(states[chosen])
    _bare(_show(ax, pictures.mosaic(pixels, len(chosen), gap=GAP)), title)
    pitch = pixels.shape[2] + GAP
    names = [str(k) for k in chosen]
    names[0], names[-1] = "$x_T$", f"$x_0$ ({chosen[-1]})"
    ax.set_xticks(pitch * np.arange(len(chosen)) + GAP + (pixels.shape[2] - 1) / 2, names)
    ax.tick_params(axis="x", length=0, labelsize=style.small(ax), labelcolor=style.INK)
    ax.set_xlabel(pictures.STRIP_TITLE, fontsize=style.small(ax), color=style.INK)
    return ax


def draw_plane(
    ax: Axes,
    labels: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    *,
    colors: Sequence[str],
    certainty: np.ndarray | None = None,
    title: str | None = None,
    geometry: Geometry = "flat",
) -> Axes:
    """Draw a grid of classes, each cell centred on its coordinates, with a legend that counts the cells of each class.

    Wide regions carry the number of their class, for readers of a grey copy. With certainties the swatch of each class goes from its palest colour, of certainty 0, to its full one.

    Args:
        labels: integers [ny, nx], rows along v and columns along u; negative for no class.
        u, v: [nx] and [ny] evenly spaced coordinates of the columns and the rows.
        colors: one for each class.
        certainty: [ny, nx] from 0 (the palest colour) to 1 (the full colour).
        geometry: what u and v are: distances on a "flat" plane, lengths of arcs on a "spherical" one.

    Raises: UserError if labels, coordinates and colours do not fit together.
    """
    from matplotlib.colors import is_color_like, to_rgba

    check_axis(ax)
    check_unmasked(labels, "labels")
    check_unmasked(certainty, "certainty")
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise UserError(f"labels are {labels.dtype} {list(labels.shape)}; allowed: integers [ny, nx]")
    if isinstance(colors, str) or not isinstance(colors, Sequence) or not all(map(is_color_like, colors)):
        raise UserError(f"colors is {describe(colors)}; allowed: one color for each class, such as '#0e8ef3'")
    if labels.size and labels.max() >= len(colors):
        raise UserError(
            f"labels go up to {labels.max()} and there are {len(colors)} colors; allowed: one color for each class"
        )
    extent = _extent(labels.shape, u, v)
    cells = np.array([to_rgba(color) for color in colors])[np.maximum(labels, 0)]
    if certainty is not None:
        cells[..., :3] = _paled(cells[..., :3], np.asarray(certainty)[..., None])
    # Cells without a class are transparent, and the hatched background shows.
    cells[labels < 0] = 0
    ax.imshow(cells, origin="lower", extent=extent, interpolation="nearest")
    ax.patch.set(facecolor=UNKNOWN, edgecolor=HATCHED, hatch=HATCH, linewidth=0)
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    # True proportions, unless the plane is too narrow to see.
    if not 1 / 8 < width / height < 8:
        ax.set(aspect="auto", box_aspect=1 / 8 if width > height else 8)
    _class_legend(ax, labels, colors, has_certainty=certainty is not None)
    _name_regions(ax, labels, u, v, cells)
    return _coordinates(ax, u, v, title, geometry)


def _name_regions(ax: Axes, labels: np.ndarray, u: np.ndarray, v: np.ndarray, cells: np.ndarray) -> None:
    """Write the class into the regions that are wide enough."""
    cell = min(np.array(style.size_in_points(ax)) / labels.shape[::-1])
    for label, row, column in wide_regions(labels, NAME_RADIUS / cell, always=LEAST_NAME_RADIUS / cell):
        light = cells[int(row), int(column), :3] @ LUMINANCE > MIDDLE_LUMINANCE
        ax.text(float(u[int(column)]), float(v[int(row)]), str(label), ha="center", va="center", fontsize=style.small(ax),
                color="black" if light else "white")  # fmt: skip


def _paled(colors: np.ndarray, certainty: np.ndarray) -> np.ndarray:
    return colors + PALEST * (1 - certainty) * (1 - colors)


def _class_legend(ax: Axes, labels: np.ndarray, colors: Sequence[str], *, has_certainty: bool) -> None:
    """A legend of the classes with the number of their cells, in the shades of certainties, beside the axis."""
    from matplotlib.colors import to_rgb
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.patches import Patch

    def swatch(color: str) -> tuple[Patch, ...]:
        shades = [_paled(np.array(to_rgb(color)), np.array(share)) for share in certainties]
        return tuple(Patch(facecolor=tuple(shade), edgecolor=style.INK, lw=0.4) for shade in shades)

    certainties = CERTAINTIES if has_certainty else (1.0,)
    present = np.unique(labels[labels >= 0])
    entries = {f"{k}  ({int((labels == k).sum()):,})": swatch(colors[k]) for k in present}
    if unknown := int((labels < 0).sum()):
        entries[f"no class  ({unknown:,})"] = (
            Patch(facecolor=UNKNOWN, edgecolor=HATCHED, hatch=HATCH, lw=0.4),
        )
    values = ", ".join(f"{share:g}" for share in CERTAINTIES)
    ax.legend(
        handles=list(entries.values()),
        labels=list(entries),
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        title=f"class (cells); shades:\nconfidence {values}" if has_certainty else "class (cells)",
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=style.small(ax),
        title_fontsize=style.small(ax),
        alignment="left",
        labelspacing=0.55,
        handlelength=1.2 * len(certainties),
        handleheight=1.2,
    )


def draw_images_plane(
    ax: Axes,
    images: ImageLike,
    u: np.ndarray,
    v: np.ndarray,
    *,
    title: str | None = None,
    geometry: Geometry = "flat",
) -> Axes:
    """Draw a grid of images [ny, nx, C, H, W], rows along v and columns along u, each at the coordinates of its x_T.

    Args:
        geometry: as in `draw_plane`.
    """
    check_axis(ax)
    images = pictures.as_tensor(images)
    if images.ndim != 5:
        raise UserError(f"images have shape {list(images.shape)}; allowed: [ny, nx, C, H, W]")
    rows, columns = images.shape[:2]
    extent = _extent((rows, columns), u, v)
    # The first row of a picture is at the top, and v increases upwards.
    pixels = pictures.to_uint8(images.flip(0).flatten(0, 1))
    sheet = pictures.mosaic(pixels, columns, gap=0)
    ax.imshow(_rgb(sheet), extent=extent, interpolation="antialiased")
    # Square pixels, even if that changes the proportions of the plane.
    width, height = (extent[1] - extent[0]) / sheet.shape[1], (extent[3] - extent[2]) / sheet.shape[0]
    ax.set_aspect(width / height)
    return _coordinates(ax, u, v, title, geometry)


def _extent(shape: tuple[int, ...], u: np.ndarray, v: np.ndarray) -> tuple[float, float, float, float]:
    """The left, right, bottom and top edge of a grid whose cells are centred on u and v."""
    check_unmasked(u, "u")
    check_unmasked(v, "v")
    u, v = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    if shape[0] < 1 or shape[1] < 1 or (v.shape, u.shape) != ((shape[0],), (shape[1],)):
        raise UserError(
            f"a grid of {shape[0]} rows and {shape[1]} columns has {v.size} v and {u.size} u coordinates; allowed: one v for "
            "each row and one u for each column"
        )
    steps = [_spacing(u, "u"), _spacing(v, "v")]
    # A single row or column has no spacing, and its cells are drawn square.
    known = next((step for step in steps if step), 1.0)
    du, dv = (step or known for step in steps)
    return u[0] - du / 2, u[-1] + du / 2, v[0] - dv / 2, v[-1] + dv / 2


def _spacing(x: np.ndarray, name: str) -> float | None:
    if len(x) == 1:
        return None
    step = (x[-1] - x[0]) / (len(x) - 1)
    if not step > 0 or not np.allclose(np.diff(x), step, rtol=1e-3):
        raise UserError(
            f"{name} coordinates are not evenly spaced and ascending; allowed: evenly spaced, ascending coordinates"
        )
    return float(step)


def label_coordinates(ax: Axes, geometry: Geometry) -> None:
    """Label the axes of a plane: its coordinates are distances, or lengths of arcs from the base on a sphere."""
    length = "arc length" if geometry == "spherical" else "L2 distance"
    ax.set_xlabel(f"u  ({length})", color=style.INK)
    ax.set_ylabel(f"v  ({length})", color=style.INK)


def _coordinates(ax: Axes, u: np.ndarray, v: np.ndarray, title: str | None, geometry: Geometry) -> Axes:
    label_coordinates(ax, geometry)
    # A single row or column has one coordinate, and no room for a long name.
    if len(v) == 1:
        ax.set(yticks=v, yticklabels=[f"{v[0]:g}"], ylabel="v")
    if len(u) == 1:
        ax.set(xticks=u, xticklabels=[f"{u[0]:g}"], xlabel="u")
    return _framed(ax, title)


def _framed(ax: Axes, title: str | None) -> Axes:
    ax.tick_params(colors=style.INK, labelsize=style.small(ax))
    for spine in ax.spines.values():
        spine.set(color=style.INK, linewidth=0.6, visible=True)
    if title:
        ax.set_title(title, fontsize=ax.xaxis.label.get_fontsize(), color=style.INK, loc="left")
    return ax


def _bare(ax: Axes, title: str | None) -> Axes:
    _framed(ax, title).set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _show(ax: Axes, sheet: np.ndarray) -> Axes:
    ax.imshow(_rgb(sheet), interpolation="antialiased")
    return ax


def _rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey pixels as RGB, so that matplotlib applies no colour map."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
