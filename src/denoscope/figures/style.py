"""The one style of all figures: sizes in print, typeface, and colours that stay apart for every reader and in grey.

`RC` holds it as settings of matplotlib. `plots.figure` and all commands use it; for figures of your own:

>>> with ds.figures.style.context():
...     figure, ax = plt.subplots()
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.config import SystemConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform

__all__ = ["CLASSES", "CURVES", "DASHES", "MARKERS", "RC", "WIDTHS", "context", "letter"]

WIDTHS = {"single": 3.5, "double": 7.2}
"""The widths of figures in inches: one and two columns of a journal (89 and 183 mm)."""
POINTS, SMALL_POINTS = 8, 7
"""The sizes of text in points; smaller ones, for ticks and legends, are still read in print."""

CLASSES = SystemConfig.class_colors
"""The colours of the ten classes. Any two, and the grey of −1, are at least 10 apart (ΔE2000), also under simulated
deuteranopia, protanopia and tritanopia; in grey, their lightness differs by at least 4.8 (L*)."""
CURVES = tuple(CLASSES[k] for k in (0, 7, 2, 5, 8, 9, 1))
"""The colours of curves: those of the classes that are dark enough on white."""
DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (4, 1, 1, 1)),
    (0, (8, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)
"""The line styles of curves, which tell them apart in grey."""
MARKERS = "os^Dv<>"
"""The markers of curves, which tell them apart in grey."""
BACKING: dict[str, Any] = {"frameon": True, "facecolor": "white", "edgecolor": "none", "framealpha": 0.85}
"""What stands behind a legend, so that it is read where it lies over curves."""
INK, QUIET = "#333333", "#999999"
"""The colours of text and reference lines, and of what stands behind."""
UNKNOWN, HATCHED, HATCH = "#f2f2f2", "#8c8c8c", "////"
"""The colours and the hatching of cells without a class (a negative label)."""
NAMED_INSIDE, NAME_SHARE, NAMES_SHARE = 3, 0.5, 0.45
"""How many curves are named inside of an axis, how much of its width one name takes there, and how much of its height all names
take below it."""
WIDE_LETTER, LINE_HEIGHT = 0.55, 1.4
"""The width of a letter and the height of a line, as shares of the size of the text."""
BELOW, TWO_COLUMNS = 27, 180
"""How far below an axis the names of curves stand, and how wide an axis is that has room for two columns, in points."""
LINE, THIN, MARKER = 1.2, 0.8, 3.0
"""The widths of curves and of reference lines, and the size of markers, in points."""

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "axes.labelsize": POINTS,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.formatter.limits": (-3, 5),  # short numbers with a common power of ten beyond
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.labelsize": SMALL_POINTS,
    "ytick.labelsize": SMALL_POINTS,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": SMALL_POINTS,
    "legend.title_fontsize": SMALL_POINTS,
    **{f"legend.{name}": value for name, value in BACKING.items()},
    "lines.linewidth": LINE,
    "lines.markersize": MARKER,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # text as text
    "svg.fonttype": "none",
    "svg.hashsalt": "denoscope",  # the same figure gives the same file
}
"""Settings of matplotlib, for `matplotlib.rc_context` or `matplotlib.style.use`."""


def __dir__() -> list[str]:
    return __all__


def context() -> AbstractContextManager[None]:
    """The style for the figures that a block makes, with curves that differ in colour and in dashes."""
    import matplotlib
    from matplotlib.rcsetup import cycler

    colors, dashes = zip(*(look(number) for number in range(len(CURVES) * len(DASHES))), strict=True)
    settings: Any = RC | {"axes.prop_cycle": cycler(color=colors, linestyle=dashes)}
    return matplotlib.rc_context(settings)


def look(number: int) -> tuple[str, Any]:
    """The colour and the dashes of a curve; those of the first 49 curves differ."""
    return CURVES[number % len(CURVES)], DASHES[(number + number // len(CURVES)) % len(DASHES)]


def letter(axes: Iterable[Axes]) -> None:
    """Write a, b, c, … in bold at the upper left of panels."""
    for number, ax in enumerate(axes):
        ax.annotate(chr(ord("a") + number), (0, 1), xycoords="axes fraction", xytext=(-6, 6), textcoords="offset points",
                    ha="right", va="bottom", fontweight="bold", fontsize=POINTS + 1, color=INK, annotation_clip=False)  # fmt: skip


def small(ax: Axes) -> float:
    """The size of small text in points, beside the labels of an axis."""
    return float(ax.xaxis.label.get_fontsize()) * SMALL_POINTS / POINTS


def legend(ax: Axes, **options: Any) -> None:
    """Name the curves of an axis, without a line around the names: inside, or below the axis where names would cover curves.

    That is where more than three are named, or a name is wider than half of the axis and no place is asked for, unless
    little of the height would be left.
    """
    names = ax.get_legend_handles_labels()[1]
    width, height = size_in_points(ax)
    columns = 2 if width >= TWO_COLUMNS else 1
    letters = max((len(line) for name in names for line in name.split("\n")), default=0)
    wide = "loc" not in options and letters * WIDE_LETTER * small(ax) > NAME_SHARE * width
    lines = math.ceil(sum(1 + name.count("\n") for name in names) / columns)
    if (wide or len(names) > NAMED_INSIDE) and lines * LINE_HEIGHT * small(ax) <= NAMES_SHARE * height:
        options |= {
            "loc": "upper left",
            "bbox_to_anchor": (0, 0),
            "bbox_transform": _below(ax),
            "ncols": columns,
        }
    ax.legend(**BACKING, fontsize=small(ax), **options)


def _below(ax: Axes) -> Transform:
    """Where names stand below the label of x."""
    from matplotlib.transforms import ScaledTranslation

    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.transAxes + ScaledTranslation(0, -BELOW / 72, figure.dpi_scale_trans)


def title(ax: Axes, text: str) -> None:
    """Write a title at the left, in the size of the labels of the axis."""
    ax.set_title(text, fontsize=ax.xaxis.label.get_fontsize(), loc="left")


def frame(ax: Axes, text: str | None = None) -> None:
    """Draw all four sides of an axis, and a title if there is one."""
    ax.tick_params(colors=INK, labelsize=small(ax))
    for spine in ax.spines.values():
        spine.set(color=INK, linewidth=0.6, visible=True)
    if text:
        title(ax, text)


def size_in_points(ax: Axes) -> tuple[float, float]:
    """The width and the height of an axis in points; before a figure is drawn, about what its layout will make of them."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    (width, height), place = figure.get_size_inches(), ax.get_position()
    return 72 * width * place.width, 72 * height * place.height


def reference(ax: Axes, *, x: float | None = None, y: float | None = None, label: str | None = None) -> None:
    """Draw a thin dashed line across an axis, at x or at y."""
    looks: dict[str, Any] = {"color": INK, "linewidth": THIN, "linestyle": "--", "label": label}
    if x is not None:
        ax.axvline(x, **looks)
    if y is not None:
        ax.axhline(y, **looks)


def curve(ax: Axes, x: Any, y: Any, ends: Any, form: str = "-", **looks: Any) -> Line2D:
    """Draw a curve in a band of its own colour between `ends` [2, n].

    Args:
        form: the marker and the dashes, as `plot` takes them.
        looks: further options of `plot`.
    """
    (line,) = ax.plot(x, y, form, **{"markersize": MARKER, "linewidth": LINE} | looks)
    ax.fill_between(x, *ends, color=line.get_color(), alpha=0.2, linewidth=0)
    return line


def points(ax: Axes, x: Any, y: Any, intervals: Any, form: str = "o", **looks: Any) -> None:
    """Draw points with bars from end to end of their intervals [n, 2]; an interval of NaN has no bar.

    Args:
        form: the marker and the dashes, as `plot` takes them.
        looks: further options of `errorbar`.
    """
    apart = np.abs(np.reshape(np.asarray(intervals, dtype=float), (-1, 2)).T - y)
    ax.errorbar(x, y, apart, fmt=form, **{"markersize": MARKER, "linewidth": LINE, "capsize": 2} | looks)
    _keep_clear(
        ax,
        np.repeat(np.ravel(np.asarray(x, dtype=float)), 3),
        np.insert(np.reshape(intervals, (-1, 2)), 1, y, axis=1),
    )


def _keep_clear(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Keep legends clear of bars, which matplotlib leaves out when it looks for a place: a line along them that is not drawn."""
    from matplotlib.lines import Line2D

    ax.add_line(Line2D(x, np.ravel(y), linestyle="none"))


def colorbar(ax: Axes, image: Any, label: str) -> None:
    """Explain the colours of an image beside its axis."""
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(label, fontsize=ax.xaxis.label.get_fontsize())
    bar.ax.tick_params(labelsize=small(ax))
    bar.outline.set_linewidth(0.6)
