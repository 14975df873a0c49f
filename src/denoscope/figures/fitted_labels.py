"""Texts of axes and titles in lines that fit beside and above their panels."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """Break the labels of a laid out figure that are longer than their axis."""
    broken = 0
    for ax in figure.axes:
        box = ax.get_window_extent()
        broken += _fit(ax.xaxis.label, box.width) + _fit(ax.yaxis.label, box.height)
    if broken:
        figure.draw_without_rendering()


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
