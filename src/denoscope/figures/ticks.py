"""Ticks of axes that count, and of logarithmic ones; names beside a drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from denoscope.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MOST_POWERS = 5
"""Ticks at powers of ten, of which names such as 1e-12 do not overlap."""
MOST_LETTERS = 24
"""Letters of a name beside a drawing."""


def whole(axis: Axis) -> None:
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
