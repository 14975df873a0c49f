"""What measures leave behind: numbers in a file, a picture beside it, lines on the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.verb import OwnFlags
from denoscope.config import InferenceConfig, Rule, option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from denoscope.foundation.checkpoint import Checkpoint


def ending(suffix: str) -> Rule:
    """Of an output: with another ending it might be what is read, or meant as a picture."""
    return f"a name that ends in {suffix}", lambda path: path.suffix == suffix


NPZ, JSON = ending(".npz"), ending(".json")


@dataclass(frozen=True)
class Measured(OwnFlags):
    """Flags of a measure that leaves its numbers behind, and further files where its `places` say so."""

    output: Path = option(
        Path("measure.json"), "The file of the numbers, with what they were computed from.", JSON
    )

    @property
    def places(self) -> list[tuple[str, Path]]:
        """Each file that is written, behind the flag that names it; FOLDER/*.pt stands for those of a folder."""
        return [("--output", self.output)]

    @contextmanager
    def claimed(
        self, asked: InferenceConfig, *, reads: Sequence[Path] = (), kept: Path | None = None
    ) -> Iterator[None]:
        """Hold the places while the block measures, having refused those that it may not write, or cannot.

        A file that exists is replaced with --overwrite alone, or with --resume where work goes on that lies in `kept`;
        one that the block `reads` never is, nor one in a recording, a folder, that it reads. After Ctrl-C it is told
        where the work is kept.
        """
        self.check()
        for flag, place in self.places:
            if source := next((one for one in reads if place.resolve().is_relative_to(one.resolve())), None):
                raise UserError(f"{flag} is {place}, a part of {source}, which is read; name another place")
            self._check_free(flag, place, asked, kept)
        try:
            yield
        except KeyboardInterrupt as stop:
            if kept is None or not _files(kept):
                raise
            raise KeyboardInterrupt(
                f"stopped; what was finished is kept in {kept}: go on with --resume"
            ) from stop

    @contextmanager
    def at_work(
        self, asked: InferenceConfig, what: str, *, unit: str, kept: Path, reads: Sequence[Path] = ()
    ) -> Iterator[Checkpoint]:
        """The places `claimed`, and the checkpoint to which a measure saves its work and reports its progress."""
        from denoscope.cli import progress
        from denoscope.foundation.checkpoint import Checkpoint

        with self.claimed(asked, reads=reads, kept=kept), progress.Counter(what, unit=unit) as counter:
            yield Checkpoint(kept, resume=asked.resume, overwrite=asked.overwrite, progress=counter)

    def check(self) -> None:
        """Refuse what could not be written, before it is measured."""
        from denoscope.foundation import atomic_files

        for _, place in self.places:
            atomic_files.check_writable(place)

    def _check_free(self, flag: str, place: Path, asked: InferenceConfig, kept: Path | None) -> None:
        """Refuse a place that is taken, unless it was asked to be written anew."""
        begun = kept is not None and bool(_files(kept))
        taken = _files(place)
        if not taken or asked.overwrite or (asked.resume and begun):
            return
        wrong = f"cannot be gone on with, since nothing of it is kept in {kept}" if asked.resume else "exists"
        go_on = "go on with it (--resume), " if begun else ""
        raise UserError(f"{taken[0]} {wrong}; {go_on}replace it (--overwrite) or name another {flag}")


def _files(place: Path) -> list[Path]:
    """The files that there are at a place."""
    if place.name.startswith("*."):
        return sorted(place.parent.glob(place.name))
    return [place] if place.exists() else []


@dataclass(frozen=True)
class Pictured(Measured):
    """Flags of a measure that writes its numbers and draws them."""

    picture: Path | None = option(
        None,
        "The picture, .png, .pdf, .svg or another ending that matplotlib writes; NAME.png beside the output unless set.",
    )

    @property
    def place(self) -> Path:
        """Of the picture."""
        return self.picture or self.output.with_suffix(".png")

    @property
    def places(self) -> list[tuple[str, Path]]:
        return [*super().places, ("--picture", self.place)]

    def check(self) -> None:
        """Refuse what could not be drawn either."""
        from denoscope.figures import plots

        plots.check_library()
        plots.form_of(self.place)
        super().check()

    def draw(self, draw: Callable[..., Any], found: Any, **options: Any) -> None:
        """Save what `draw` makes of the numbers on an axis."""
        from denoscope.figures import plots

        figure, ax = plots.figure()
        draw(ax, found, **options)
        plots.save(figure, self.place)

    def tell(self) -> None:
        """Where both lie."""
        print(self.output, self.place, sep="\n")


@dataclass(frozen=True)
class Keeping(Measured):
    """Flags of a measure that keeps what is finished in a file of its own, to be gone on with."""

    kept: Path = option(Path("measure.npz"), "The file in which what is finished is kept.", NPZ)

    @property
    def places(self) -> list[tuple[str, Path]]:
        return [*super().places, ("--kept", self.kept)]


def warn(warnings: Iterable[str]) -> None:
    """Tell where numbers end to mean what they seem to, beside what is printed."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def write_json(path: Path, content: Any) -> None:
    """The numbers as JSON."""
    from denoscope.foundation import atomic_files

    with atomic_files.replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())
