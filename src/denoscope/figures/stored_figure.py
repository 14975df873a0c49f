"""The figure of what was read from a file, which may hold anything: the panels that can be drawn, and why others are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denoscope.config import SystemConfig
from denoscope.figures.figure_of import MOST_PANELS, Panel, drawn, panels_in
from denoscope.foundation.errors import LISTED, UserError, first_line
from denoscope.foundation.spelling import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class StoredFigure:
    """A figure, and a sentence for each thing that is left out of it."""

    figure: Figure
    left_out: tuple[str, ...]


def draw_stored(
    results: Any, name: str, *, colors: Sequence[str] = SystemConfig.class_colors
) -> StoredFigure:
    """The figure of a recording, a result or a mapping to results: the first 12 panels that can be drawn.

    Args:
        name: the file, for messages.

    Raises: UserError if nothing of it can be drawn.
    """
    shown: list[Panel] = []
    figures: list[Figure] = []
    problems: list[str] = []
    panels = panels_in(results)
    for place, panel in enumerate(panels):
        if len(shown) == MOST_PANELS:
            problems.append(_rest(panels[place:]))
            break
        try:
            figures.append(_alone(panel, name, colors))
            shown.append(panel)
        except UserError as error:
            problems.append(f"{panel.name}: {error}" if panel.name else str(error))
    if not shown:
        # The panels of a recording or of one result fail for one reason.
        reasons = list(_listed(problems)) if panels and panels[0].name else problems[:1]
        raise UserError("; ".join(reasons) or f"{name} holds nothing that is drawn")
    figure = figures[0] if len(shown) == 1 else drawn(shown, colors)
    return StoredFigure(figure, tuple(_listed(problems)))


def _alone(panel: Panel, name: str, colors: Sequence[str]) -> Figure:
    """The figure of one panel.

    Raises: UserError if it cannot be drawn.
    """
    try:
        return drawn([panel], colors)
    except UserError:
        raise
    except Exception as error:  # matplotlib and NumPy fail in any way at shapes and numbers that do not fit
        raise UserError(
            f"{name} cannot be drawn, since its numbers do not fit: {first_line(error)}"
        ) from error


def _rest(panels: Sequence[Panel]) -> str:
    """A sentence about panels beyond the first ones."""
    names = list(dict.fromkeys(panel.name for panel in panels))
    listed = ", ".join([*names[:LISTED], *(["…"] if len(names) > LISTED else [])])
    return f"only the first {MOST_PANELS} panels are drawn, and {counted(len(panels), 'panel')} left out: {listed}"


def _listed(problems: Sequence[str]) -> Iterator[str]:
    """Each problem once, and not too many."""
    different = list(dict.fromkeys(problems))
    yield from different[:LISTED]
    if more := len(different[LISTED:]):
        yield f"{counted(more, 'further panel')} cannot be drawn"
