"""Checkpoints: a long computation saves its finished work to a file and resumes from it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from denoscope.foundation import html_repr
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import differences, flat
from denoscope.foundation.progress import Progress
from denoscope.foundation.random_streams import STREAMS_VERSION, version_of
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.reading.result_files import read
from denoscope.foundation.spelling import flag_of, spelled
from denoscope.foundation.validation import check_callable, check_flag, describe
from denoscope.foundation.work import Work
from denoscope.foundation.writing import claims
from denoscope.foundation.writing.atomic_files import move

if TYPE_CHECKING:
    import xarray

LOGGER = logging.getLogger(__name__)
REPLACEMENT = "replacement"
"""The hidden file that takes the place of a result once it is finished."""
NO_ARGUMENTS: Mapping[str, str] = MappingProxyType({})
IDENTITY = "identity"
"""The attribute that holds everything that determines the numbers, as a dictionary of JSON values."""


@calls_checked
@dataclass(frozen=True)
class Checkpoint:
    """The file to which a long measure saves its work, and from which it resumes.

    A path alone, `checkpoint="growth.npz"`, stands for `Checkpoint("growth.npz")`: a new file.

    >>> file = ds.Checkpoint("growth.npz", resume=True)
    >>> ds.dynamics.plane_growth(denoiser, plane, checkpoint=file)
    >>> file.read()  # an xarray.Dataset, also while the measure is still running

    Args:
        path: the file (.npz). Without a path nothing is saved.
        resume: continue from the file if it exists. It must hold the same work: same model, inputs and options.
            The result has the same bits as that of an uninterrupted run.
        overwrite: replace the file if it exists. Without `resume` and `overwrite` an existing file is an error.
        progress: called with (finished, total) after each piece of work.

    Raises: UserError if `resume` and `overwrite` are both set, or one of them without a path.
    """

    path: Path | None = None
    _: KW_ONLY
    resume: bool = False
    overwrite: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.path is not None:
            object.__setattr__(self, "path", _parse_path(self.path))
        check_flag(self.resume, "resume")
        check_flag(self.overwrite, "overwrite")
        if self.progress is not None:
            check_callable(self.progress, "progress", ("done", "total"), "nothing")
        if self.resume and self.overwrite:
            resume, overwrite = spelled("resume", True), spelled("overwrite", True)
            raise UserError(f"{resume} and {overwrite} contradict each other; allowed: one of them")
        if self.path is None and (self.resume or self.overwrite):
            flag = "resume" if self.resume else "overwrite"
            raise UserError(
                f"{spelled(flag, True)} needs the path of a file; give Checkpoint(path, {flag}=True)"
            )

    def __repr__(self) -> str:
        path = [] if self.path is None else [repr(str(self.path))]
        flags = [f"{name}=True" for name in ("resume", "overwrite") if vars(self)[name]]
        return f"Checkpoint({', '.join([*path, *flags])})"

    def _repr_html_(self) -> str:
        exists = self.path is not None and self.path.exists()
        rows = {"path": self.path, "exists": exists, "resume": self.resume, "overwrite": self.overwrite}
        return html_repr.table("Checkpoint", rows)

    @contextmanager
    def open(
        self, fresh: xarray.Dataset, *, sequential: bool = False, arguments: Mapping[str, str] = NO_ARGUMENTS
    ) -> Iterator[Work]:
        """Yield the work to do: `fresh` or, when resuming, the same work as far as the file holds it.

        The file is written periodically while the block runs, and when it ends. After an error or Ctrl-C it is
        written once more, unless the work is `sequential`: if each piece follows from the one before, only the
        last save is known to be consistent. Nothing is written until the first piece is finished, so that an earlier
        error neither creates nor replaces a file.

        With `overwrite`, the existing file keeps its content until all work is finished; a hidden file beside it holds
        the work until then. A later call with the same work and `overwrite` or `resume` continues from the hidden file;
        other work removes it.

        Args:
            fresh: the dataset before any work, with everything that determines the numbers in `attrs[IDENTITY]`.
            arguments: the arguments behind entries of the identity whose names differ from them.

        Raises: UserError if the file exists, holds other work (naming the differences), is being written by another
            process, or cannot be written.
        """
        self.check_free()
        with nullcontext() if self.path is None else claims.claimed(self.path):  # before anything is computed
            self.check_free()  # another process may have finished meanwhile
            data, place = self._begin(fresh, arguments)
            work = Work(data, place, self.progress)
            try:
                yield work
            except BaseException:
                if work.begun and not sequential:
                    with suppress(UserError):  # the disk may be the cause
                        work.write()
                raise
            work.write()
            if self.path is not None and place is not None and place != self.path:
                move(place, self.path)

    @property
    def streams(self) -> int:
        """The version of the random streams to draw from: that of the file to resume, else the current one."""
        if self.path is None or not self.resume:
            return STREAMS_VERSION
        places = [path for path in (claims.hidden_beside(self.path, REPLACEMENT), self.path) if path.exists()]
        return version_of(read(places[0]).attrs.get(IDENTITY, {})) if places else STREAMS_VERSION

    def read(self) -> xarray.Dataset:
        """The content of the file, finished or not.

        Raises: UserError if there is no path, or the file is missing, damaged or not a checkpoint.
        """
        if self.path is None:
            raise UserError("this Checkpoint has no path, so there is nothing to read; give Checkpoint(path)")
        return read(self.path)

    @property
    def how_to_continue(self) -> str:
        """What becomes of finished work if the rest fails, for messages."""
        if self.path is None:
            return "nothing is saved, since no checkpoint was given"
        return f"finished work is saved in {self.path}: continue with {spelled('resume', True)}"

    def check_free(self) -> None:
        """Refuse a file that exists, unless it may be continued or replaced."""
        if self.path is not None and not self.resume and not self.overwrite and self.path.exists():
            resume, overwrite = spelled("resume", True), spelled("overwrite", True)
            raise UserError(
                f"{self.path} exists; resume it ({resume}), replace it ({overwrite}) or name another file"
            )

    def _begin(
        self, fresh: xarray.Dataset, arguments: Mapping[str, str]
    ) -> tuple[xarray.Dataset, Path | None]:
        """The work to continue, or `fresh`, and the file that holds it until it is finished."""
        if self.path is None:
            return fresh, None
        replacement = claims.hidden_beside(self.path, REPLACEMENT)
        if replacement.exists() and (begun := _same_work(replacement, fresh)) is not None:
            LOGGER.info("continuing the replacement of %s", self.path)
            return begun, replacement
        stored = self._resumed(fresh, arguments) if self.resume else fresh
        with claims.writing(replacement):
            replacement.unlink(missing_ok=True)
        return stored, replacement if self.overwrite and self.path.exists() else self.path

    def _resumed(self, fresh: xarray.Dataset, arguments: Mapping[str, str]) -> xarray.Dataset:
        """The content of the file, which must belong to the same work, or `fresh` if there is none."""
        assert self.path is not None
        if not self.path.exists():
            LOGGER.info("nothing to resume at %s: the work starts from the beginning", self.path)
            return fresh
        stored = read(self.path, advice=f"replace it ({spelled('overwrite', True)}) or name another file")
        if differing := _differences(stored, fresh, arguments):
            raise UserError(
                f"{self.path} cannot be resumed, since it differs in {'; '.join(differing)}; name another file, "
                f"or replace it ({spelled('overwrite', True)})"
            )
        _check_variables(stored, fresh, self.path)
        LOGGER.info("resuming from %s", self.path)
        return stored


def _same_work(path: Path, fresh: xarray.Dataset) -> xarray.Dataset | None:
    """The content of a file if it belongs to the same work; None if it holds other work."""
    stored = read(path, advice="remove that file")
    return None if _differences(stored, fresh) else stored


def _differences(
    stored: xarray.Dataset, fresh: xarray.Dataset, arguments: Mapping[str, str] = NO_ARGUMENTS
) -> list[str]:
    """The entries of the identity in which two pieces of work differ, with the arguments as the caller spells them."""
    one, other = (dict(flat(data.attrs.get(IDENTITY, {}))) for data in (stored, fresh))
    return differences(one, other, lambda name: _spelled(arguments.get(name, name)))


def _spelled(name: str) -> str:
    """An entry of an identity, as the flag that sets it if there is one; "plane, center" is set by that of "center"."""
    outer, _, inner = name.partition(", ")
    return flag_of(inner or outer, name)


def _check_variables(stored: xarray.Dataset, fresh: xarray.Dataset, path: Path) -> None:
    """Refuse a file that lacks a variable of the work, or holds one of another kind."""
    for name, expected in fresh.variables.items():
        existing = stored.variables.get(name)
        kind = None if existing is None else (existing.dims, existing.dtype.kind.replace("T", "U"))
        if kind != (expected.dims, expected.dtype.kind.replace("T", "U").replace("O", "U")):
            holds = (
                "lacks" if existing is None else f"holds {list(map(str, existing.dims))} {existing.dtype} of"
            )
            raise UserError(
                f"{path} cannot be resumed: it {holds} {name}; replace it ({spelled('overwrite', True)}) or name another "
                "file"
            )


def parse_checkpoint(given: Any) -> Checkpoint:
    """The checkpoint that a measure's argument stands for.

    Raises: UserError if it is not a Checkpoint, a path or None.
    """
    return given if isinstance(given, Checkpoint) else Checkpoint(given)


def _parse_path(given: Any) -> Path:
    if not isinstance(given, (str, os.PathLike)) or not str(given) or "\0" in str(given):
        raise UserError(
            f"{spelled('checkpoint')} is {describe(given)}; allowed: the path of a file, or Checkpoint(path, resume=True)"
        )
    check_possible(given, "checkpoint")
    return Path(given)
