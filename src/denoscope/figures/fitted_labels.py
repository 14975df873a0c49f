"""Texts of axes and titles in lines that fit beside and above their panels."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import XAxis
    from matplotlib.figure import Figure
    from matplotlib.text import Text

TITLE_LINES, FEWEST_LETTERS = 2, 6
"""The most lines of a title, and the fewest letters of a line."""
LETTER = 5.0
"""The width of a letter in points, on average."""


def title_in_lines(text: str, width: float) -> str:
    """A title in up to two lines of about some width in points; the end of a longer one is left out."""
    letters = max(FEWEST_LETTERS, int(width / LETTER))
    lines = textwrap.wrap(text, letters)
    if len(lines) > TITLE_LINES:
        lines = [*lines[: TITLE_LINES - 1], f"{lines[TITLE_LINES - 1][: letters - 1]}…"]
    return "\n".join(lines)


def fit_labels(figure: Figure) -> None:
    """Break the labels of a laid out figure that are longer than their axis, and make room for the numbers below axes."""
    changed = 0
    for ax in figure.axes:
        changed += _spread(figure, ax.xaxis) + _name_factor(ax.xaxis)
        box = ax.get_window_extent()
        changed += _fit(ax.xaxis.label, box.width) + _fit(ax.yaxis.label, box.height)
    if changed:
        figure.draw_without_rendering()


def _spread(figure: Figure, axis: XAxis) -> bool:
    """Take fewer ticks until the numbers below them have gaps; whether that was needed."""
    from matplotlib.ticker import MaxNLocator

    locator = axis.get_major_locator()
    if not isinstance(locator, MaxNLocator) or not _touch(figure, axis):
        return False
    for intervals in range(len(axis.get_majorticklocs()), 0, -1):
        locator.set_params(nbins=intervals)
        figure.draw_without_rendering()
        if not _touch(figure, axis):
            break
    return True


def _name_factor(axis: XAxis) -> bool:
    """Write the common power of ten of the numbers behind the label, which it covers on a short axis; whether there is one."""
    factor = axis.get_offset_text()
    if not (text := factor.get_text()) or not factor.get_visible():
        return False
    axis.label.set_text(
        f"{axis.label.get_text()} × {text}" if text[0].isdigit() else f"{axis.label.get_text()} {text}"
    )
    factor.set_visible(False)
    return True


def _touch(figure: Figure, axis: XAxis) -> bool:
    """Whether the drawn numbers of two ticks are nearer to each other than a letter is wide."""
    low, high = sorted(axis.get_view_interval())
    shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [label.get_window_extent() for label in shown if label.get_text()]
    gap = LETTER * figure.dpi / 72
    return any(one.x1 + gap > other.x0 for one, other in itertools.pairwise(boxes))


def _fit(text: Text, room: float) -> bool:
    """Break a text at spaces until its lines are no longer than the room; whether that was needed."""
    content = text.get_text()
    letters = len(content)
    if "$" in content or _length(text) <= room:
        return False
    while _length(text) > room and letters > FEWEST_LETTERS:
        letters = max(FEWEST_LETTERS, min(letters - 1, int(letters * room / _length(text))))
        text.set_text("\n".join(textwrap.wrap(content, letters, break_long_words=False)))
    return True


def _length(text: Text) -> float:
    """The length of a text along its lines in pixels."""
    extent = text.get_window_extent()
    return extent.height if text.get_rotation() == 90 else extent.width
