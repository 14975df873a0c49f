"""The place that a recording goes to: free, replaceable, or to be gone on with; one writer at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from denoscope.foundation.checkpoint import differences
from denoscope.foundation.errors import UserError
from denoscope.storage import remedy
from denoscope.storage.plan import FORMAT_VERSION

Existing = Literal["refuse", "overwrite", "resume"]


@contextmanager
def taken(
    target: Path, lock: Path, attributes: Mapping[str, Any], permit: Callable[[], None]
) -> Iterator[None]:
    """Hold the place of a recording while the block runs, where `permit` does not refuse it."""
    with writing(target, attributes):
        # Before the lock's file is made: what is refused is not touched.
        permit()
        with _locked(lock, target):
            # Once more, since another process may have come and gone in between.
            permit()
            yield


@contextmanager
def writing(target: Path, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Tell a full disk or a missing permission in one line, where a recording with these attributes is written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; what was finished is safe: mend that and "
            f"{remedy.of_unfinished(attributes)}"
        ) from error


@contextmanager
def _locked(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs; it is free again even after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{target} is being written by another process; wait for it or name another output"
            ) from error
        yield


def same_work(target: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with a recording that was begun with other options, models or inputs."""
    if pipeline := stored.get("pipeline"):
        raise UserError(
            f"{target} was recorded from a {pipeline} call, which cannot be gone on with; {remedy.of_taken(stored)}, "
            "or name another output"
        )
    differs = differences(stored.get("fingerprint", {}), wanted["fingerprint"])
    folders = (
        {"folders of layers": stored.get("layer_folders")},
        {"folders of layers": wanted["layer_folders"]},
    )
    differs += differences(*folders)
    if stored.get("inputs_sha256") != wanted["inputs_sha256"]:
        differs.append("the inputs, their names or their order")
    if differs:
        raise UserError(
            f"{target} cannot be resumed, since this differs: {'; '.join(differs)}. Run it as it was begun, "
            "replace it with --overwrite, or name another output"
        )


def as_written(target: Path, root: str, problems: Iterable[str]) -> bool:
    """Whether the layout is whole.

    Raises: UserError where `root`, which says what was asked for, is not as it was written: to go on would make its
    damage official.
    """
    found = list(problems)
    if wrong := next((line for line in found if line.startswith(f"{root} ")), None):
        raise UserError(f"{target}: {wrong}; replace the recording with --overwrite, or name another output")
    return not found


def inside(root: Path, paths: Iterable[Path]) -> None:
    """Refuse paths that lie outside of the output or that a symbolic link leads out of it."""
    home = root.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(home):
            raise UserError(
                f"{path} leads out of {root}, to {path.resolve()}; remove the link or name another output"
            )


def readable_version(target: Path, stored: Mapping[str, Any]) -> None:
    """Refuse a recording that a newer denoscope wrote."""
    version = stored.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UserError(
            f"{target} has format version {version}; this denoscope reads up to {FORMAT_VERSION}: upgrade it, "
            "or name another output"
        )


def remove_partial(folders: Iterable[Path]) -> None:
    """Remove what a killed process left unfinished."""
    for folder in folders:
        for path in folder.rglob(".*.partial"):
            path.unlink(missing_ok=True)
