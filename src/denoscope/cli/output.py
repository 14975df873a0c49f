"""The output of measures: a file of numbers, a picture beside it, lines on the terminal."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.verb import OwnFlags
from denoscope.config import InferenceConfig
from denoscope.foundation.checked import Rule, option
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.writing.output_path import check_not_read

if TYPE_CHECKING:
    from denoscope.foundation.checkpoint import Checkpoint

LOGGER = logging.getLogger(__name__)


def ending(*suffixes: str) -> Rule:
    """The rule that a path has one of these suffixes, which keeps an output from replacing an input or a picture."""
    return f"a name that ends in {' or '.join(suffixes)}", lambda path: path.suffix in suffixes


NPZ, JSON, ANIMATION = ending(".npz"), ending(".json"), ending(".gif", ".mp4")


@dataclass(frozen=True)
class MeasureFlags(OwnFlags):
    """Flags of a measure that writes its numbers."""

    output: Path = option(Path("measure.json"), "Output file: the numbers and their provenance.", JSON)

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        """(flag, path) of each file that is written; FOLDER/*.pt stands for the files of a folder."""
        return [("--output", self.output)]

    @property
    def kept(self) -> list[tuple[str, Path]]:
        """(flag, path) of each file that the command reads and extends."""
        return []

    @contextmanager
    def reserved(
        self, inference: InferenceConfig, *, reads: Sequence[Path] = (), saved: Path | None = None
    ) -> Iterator[None]:
        """Refuse outputs that may not or cannot be written, claim them, then let the block measure.

        An existing file is replaced only with --overwrite, or with --resume if the block resumes from `saved`. The
        files that the block `reads` are never replaced, nor is any part of a recording among them. Ctrl-C reports
        where the finished work is saved. The claims last until the command ends; `saved` is claimed by the block.
        """
        from denoscope.foundation.writing import claims

        check_apart([*self.kept, *self.outputs])
        for flag, path in self.outputs:
            check_possible(path, flag)  # also where it is made of another path
            for source in reads:
                check_not_read(flag, path, source)
            self._check_free(flag, path, inference, saved)
        self.check()
        for flag, path in self.outputs:
            if path == saved:
                with claims.claimed(path):
                    pass  # only a check that it can be written
            else:
                claims.claim(path)
            # Another process may have finished meanwhile.
            self._check_free(flag, path, inference, saved)
        try:
            yield
        except KeyboardInterrupt as stop:
            if saved is None or not _existing(saved):
                raise
            raise KeyboardInterrupt(
                f"stopped; finished work is saved in {saved}: resume with --resume"
            ) from stop

    @contextmanager
    def checkpointed(
        self,
        inference: InferenceConfig,
        description: str,
        *,
        unit: str,
        saved: Path,
        reads: Sequence[Path] = (),
        most: int | None = None,
    ) -> Iterator[Checkpoint]:
        """Like `reserved`; the block gets the checkpoint to which it saves its work and reports its progress.

        Args:
            most: the most pieces of work that there can be, if the measure does not know their number.
        """
        with self.reserved(inference, reads=reads, saved=saved):
            from denoscope.cli import progress
            from denoscope.foundation.checkpoint import Checkpoint

            with progress.Counter(description, unit=unit, most=most) as counter:
                yield Checkpoint(
                    saved, resume=inference.resume, overwrite=inference.overwrite, progress=counter
                )

    def check(self) -> None:
        """Refuse, before anything is measured, outputs that cannot be written for reasons other than their path."""

    def _check_free(self, flag: str, path: Path, inference: InferenceConfig, saved: Path | None) -> None:
        """Refuse a path that exists, unless it may be replaced."""
        if path.is_dir():
            raise UserError(f"{flag} is {path}, which is a folder; name a file")
        resumable = saved is not None and bool(_existing(saved))
        existing = _existing(path)
        if not existing or inference.overwrite or (inference.resume and resumable):
            return
        problem = f"cannot be resumed, since nothing is saved in {saved}" if inference.resume else "exists"
        resume = "resume it (--resume), " if resumable else ""
        raise UserError(f"{existing[0]} {problem}; {resume}replace it (--overwrite) or name another {flag}")


def check_apart(files: Sequence[tuple[str, Path]]) -> None:
    """Refuse two flags that name one file, which one of them would destroy.

    Args:
        files: (flag, path) of each file that is written.
    """
    from denoscope.foundation.writing import claims

    for (flag, path), (other, second) in itertools.combinations(files, 2):
        if claims.same_file(path, second):
            raise UserError(f"{flag} is {path}, the same file as {other} {second}; name another path")


def _existing(path: Path) -> list[Path]:
    """The existing files at a path, which may end in `*.pt`."""
    if path.name.startswith("*."):
        return sorted(path.parent.glob(path.name))
    return [path] if path.exists() else []


@dataclass(frozen=True)
class PictureFlags(MeasureFlags):
    """Flags of a measure that writes its numbers and draws them."""

    picture: Path | None = option(
        None,
        "Picture: .png, .pdf, .svg or another format of matplotlib; by default NAME.png beside the output.",
    )

    @property
    def picture_path(self) -> Path:
        """The picture's file."""
        return self.picture or self.output.with_suffix(".png")

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        return [*super().outputs, ("--picture", self.picture_path)]

    def check(self) -> None:
        """Also refuse pictures that cannot be drawn."""
        from denoscope.figures import plots

        plots.check_library()
        plots.form_of(self.picture_path)

    def draw(self, draw: Callable[..., Any], result: Any, **options: Any) -> None:
        """Draw the result with `draw(axis, result)`, and save the picture."""
        from denoscope.figures import plots

        figure, ax = plots.figure()
        draw(ax, result, **options)
        self.save(figure)

    def save(self, figure: Any) -> None:
        """Save a figure as the picture."""
        from denoscope.figures import plots

        plots.save(figure, self.picture_path)

    def print_paths(self) -> None:
        """Print the path of each file that was written."""
        for _, path in self.outputs:
            print(path)


@dataclass(frozen=True)
class CheckpointFlags(MeasureFlags):
    """Flags of a measure that saves its finished work to a file of its own."""

    checkpoint: Path = option(
        Path("measure.npz"), "File of the finished work, from which --resume continues.", NPZ
    )

    @property
    def outputs(self) -> list[tuple[str, Path]]:
        return [*super().outputs, ("--checkpoint", self.checkpoint)]


def note_geometry(geometry: str) -> None:
    """Say that a plane is spherical, which commands of basins choose by default."""
    if geometry == "spherical":
        LOGGER.info(
            "the plane is spherical: each noise has the norm of the base (--geometry flat: a flat plane)"
        )


def warn(warnings: Iterable[str]) -> None:
    """Log the warnings of a result."""
    for warning in warnings:
        LOGGER.warning(warning)


def write_json(path: Path, content: Any) -> None:
    """Write numbers as JSON."""
    from denoscope.foundation.writing import atomic_files

    with atomic_files.write_output(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def write_measured(path: Path, source: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    """Write the numbers of a measure of arrays as JSON, with what they were computed from and by how many threads."""
    import torch

    write_json(path, {"computed_from": {**source, "threads": torch.get_num_threads()}, **content})
