"""What measures leave behind: numbers in a file, a picture beside it, lines on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoscope.config import option
from denoscope.errors import UserError
from denoscope.verbs.verb import OwnFlags


@dataclass(frozen=True)
class Pictured(OwnFlags):
    """Flags of a measure that writes its numbers and draws them."""

    output: Path = option(Path("measure.npz"), "The file of the numbers.")
    picture: Path | None = option(
        None, "The picture (.png, .pdf, .svg); NAME.png beside the output unless set."
    )

    @property
    def place(self) -> Path:
        """Of the picture."""
        return self.picture or self.output.with_suffix(".png")

    def check(self) -> None:
        """Refuse what could not be drawn or written, before it is measured."""
        from denoscope import files, plots

        plots.check_library()
        check_ending(self.output, type(self).output)
        plots.form_of(self.place)
        for folder in {self.output.parent, self.place.parent}:
            files.writable(folder)

    def draw(self, draw: Callable[..., Any], found: Any, **options: Any) -> None:
        """Save what `draw` makes of the numbers on an axis."""
        from denoscope import plots

        figure, ax = plots.figure()
        draw(ax, found, **options)
        plots.save(figure, self.place)

    def tell(self) -> None:
        """Where both lie."""
        print(self.output, self.place, sep="\n")


def check_ending(output: Path, usual: Path) -> None:
    """Refuse an output that does not end as the usual one: it might be what is read, or meant as a picture."""
    if output.suffix != usual.suffix:
        raise UserError(
            f"--output is {output}; allowed: a name that ends in {usual.suffix}"
            + ("" if usual.suffix == ".json" else "; --picture names the picture")
        )


def warn(warnings: Iterable[str]) -> None:
    """Tell where numbers end to mean what they seem to, beside what is printed."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def write_json(path: Path, content: Any) -> None:
    """The numbers as JSON."""
    from denoscope import files

    with files.replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())
