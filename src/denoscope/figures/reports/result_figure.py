"""The figure of a result inside of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from denoscope.figures import plots, style
from denoscope.figures.reports.numbers import shortened
from denoscope.figures.reports.picture import webp
from denoscope.figures.reports.source import Measured
from denoscope.figures.result_files import results_of, unreadable
from denoscope.figures.stored_figure import draw_stored
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_SVG = 200_000
"""Bytes from which a figure becomes a picture."""
DPI = 160
"""Of figures that become pictures."""
CSS_PIXELS, NARROWEST = 2.0, 1.2
"""CSS pixels of a point, and the fewest to which a narrow screen shrinks one."""
NAMESPACE = re.compile(r"\{[^}]*\}")
REFERENCE = re.compile(r"(url\(#|^#)([^)]+)")


@dataclass(frozen=True)
class ResultFigure:
    """A figure: its SVG or the URL of a picture, its width and least width in CSS pixels, and what it shows and leaves out."""

    svg: str
    url: str
    width: int
    least: int
    description: str
    left_out: tuple[str, ...] = ()


def result_figure(measured: Measured, anchor: str) -> ResultFigure | str:
    """The figure that `denoscope plot` draws of a result, or why there is none.

    Raises: UserError if matplotlib is not installed.
    """
    plots.check_library()
    try:
        results, unread = measured.result, list[str]()
        if results is None:
            results, unread = results_of(measured.content, measured.name), [*unreadable(measured.content)]
        drawn = draw_stored(results, measured.name)
        left_out = tuple(map(shortened, [*drawn.left_out, *unread]))
        return replace(inline(drawn.figure, anchor), left_out=left_out)
    except UserError as error:
        return shortened(error)


def inline(figure: Figure, anchor: str) -> ResultFigure:
    """A figure as a page holds it.

    Args:
        anchor: begins the ids in the figure, so that they are unique in the page.
    """
    points = figure.get_figwidth() * 72
    sizes = round(points * CSS_PIXELS), round(points * NARROWEST)
    svg = _svg(figure, anchor)
    if len(svg) <= LARGEST_SVG:
        return ResultFigure(svg, "", *sizes, described(figure))
    return ResultFigure("", _url(figure), *sizes, described(figure))


def _svg(figure: Figure, anchor: str) -> str:
    """A figure as an SVG element with its texts as text, without anything that refers to another place."""
    import matplotlib

    file = io.BytesIO()
    with style.context(), matplotlib.rc_context({"svg.hashsalt": anchor}):
        figure.savefig(file, format="svg", bbox_inches="tight", facecolor="white")
    root = ElementTree.fromstring(file.getvalue())
    for element in list(root.iter()):
        for child in list(element):
            if _plain(child.tag) in ("metadata", "style"):
                element.remove(child)
        element.tag = _plain(element.tag)
        element.attrib = dict(_attributes(element, anchor))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": described(figure)}
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element, anchor: str) -> Iterator[tuple[str, str]]:
    """The attributes of an SVG element in HTML, which has no namespaces; ids begin with the anchor."""
    for name, value in element.attrib.items():
        plain = _plain(name)
        if plain == "id":
            yield plain, f"{anchor}-{value}"
        elif plain == name or plain == "href":
            yield plain, REFERENCE.sub(rf"\g<1>{anchor}-\2", value)


def _plain(name: str) -> str:
    return NAMESPACE.sub("", name)


def _url(figure: Figure) -> str:
    """A figure as the URL of a picture."""
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    return webp(np.asarray(Image.open(file).convert("RGB")))


def described(figure: Figure) -> str:
    """What a figure shows, in words: the titles, axes and curves of its panels."""
    panels = [text for ax in figure.axes if (text := _panel(ax))]
    count = f"{len(panels)} panels. " if len(panels) > 1 else ""
    return shortened(f"{count}{'. '.join(panels)}" or "Figure")


def _panel(ax: Axes) -> str:
    titles = [ax.get_title(loc=place) for place in ("left", "center", "right")]
    axes = [_axis(ax.get_ylabel(), ax.get_yscale()), _axis(ax.get_xlabel(), ax.get_xscale())]
    legend = ax.get_legend()
    curves = [text.get_text() for text in legend.get_texts()] if legend else []
    parts = [*titles, " against ".join(filter(None, axes)), ", ".join(curves)]
    return re.sub(r"[$\\{}]", "", "; ".join(" ".join(part.split()) for part in parts if part))


def _axis(label: str, scale: str) -> str:
    return f"{label} (logarithmic)" if label and scale == "log" else label
