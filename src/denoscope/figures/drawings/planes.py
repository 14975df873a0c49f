"""Planes of noises: the class of each, or the image that each becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from denoscope.config import Geometry
from denoscope.dynamics.statistics.arguments import parse_array, parse_numbers
from denoscope.figures import images as pictures
from denoscope.figures import style
from denoscope.figures.images import ImageLike
from denoscope.figures.plots import check_axis
from denoscope.figures.regions import wide_regions
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALEST = 0.75
"""The share of white in the colour of a cell with certainty 0."""
CERTAINTIES = (0.0, 0.5, 1.0)
"""The certainties whose shades the legend shows, from left to right in the swatch of each class."""
LUMINANCE, MIDDLE_LUMINANCE = np.array([0.299, 0.587, 0.114]), 0.55
"""The shares of red, green and blue in how light a colour is, and above what text on it is black."""
NAME_RADIUS, LEAST_NAME_RADIUS = 14.0, 5.0
"""The radius in points of a circle that fits into a region of a plane which is named, and into the widest one of its class."""


@arguments_checked
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

    Wide regions carry the number of their class, for readers of a grey copy. With certainties the swatch of each class goes
    from its palest colour, of certainty 0, to its full one.

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
    labels = parse_array(labels, "labels")
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise UserError(f"labels are {labels.dtype} {list(labels.shape)}; allowed: integers [ny, nx]")
    if isinstance(colors, str) or not isinstance(colors, Sequence) or not all(map(is_color_like, colors)):
        raise UserError(f"colors is {describe(colors)}; allowed: one color for each class, such as '#0e8ef3'")
    if labels.size and labels.max() >= len(colors):
        raise UserError(
            f"labels go up to {labels.max()} and there are {len(colors)} colors; allowed: one color for each class"
        )
    parse_choice(geometry, "geometry", get_args(Geometry))
    u, v = parse_numbers(u, "u"), parse_numbers(v, "v")
    extent = _extent(labels.shape, u, v)
    cells = np.array([to_rgba(color) for color in colors])[np.maximum(labels, 0)]
    if certainty is not None:
        certainty = parse_array(certainty, "certainty")
        if certainty.shape != labels.shape or certainty.dtype.kind not in "biuf":
            raise UserError(
                f"certainty is {certainty.dtype} {list(certainty.shape)}; allowed: a number for each of the labels "
                f"{list(labels.shape)}"
            )
        cells[..., :3] = _paled(cells[..., :3], certainty[..., None])
    # Cells without a class are transparent, and the hatched background shows.
    cells[labels < 0] = 0
    ax.imshow(cells, origin="lower", extent=extent, interpolation="nearest")
    ax.patch.set(facecolor=style.UNKNOWN, edgecolor=style.HATCHED, hatch=style.HATCH, linewidth=0)
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
            Patch(facecolor=style.UNKNOWN, edgecolor=style.HATCHED, hatch=style.HATCH, lw=0.4),
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


@arguments_checked
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
    parse_choice(geometry, "geometry", get_args(Geometry))
    u, v = parse_numbers(u, "u"), parse_numbers(v, "v")
    extent = _extent((rows, columns), u, v)
    # The first row of a picture is at the top, and v increases upwards.
    pixels = pictures.to_uint8(images.flip(0).flatten(0, 1))
    sheet = pictures.mosaic(pixels, columns, gap=0)
    ax.imshow(pictures.as_rgb(sheet), extent=extent, interpolation="antialiased")
    # Square pixels, even if that changes the proportions of the plane.
    width, height = (extent[1] - extent[0]) / sheet.shape[1], (extent[3] - extent[2]) / sheet.shape[0]
    ax.set_aspect(width / height)
    return _coordinates(ax, u, v, title, geometry)


def _extent(shape: tuple[int, ...], u: np.ndarray, v: np.ndarray) -> tuple[float, float, float, float]:
    """The left, right, bottom and top edge of a grid whose cells are centred on u and v."""
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
    style.frame(ax, title)
    return ax
