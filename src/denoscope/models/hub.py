"""Models of the Hugging Face hub: the local copy of a repository's files, downloaded if necessary."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from denoscope.foundation.errors import UserError, first_line
from denoscope.models import bundled, model_folder, weight_files

_ID = re.compile(
    r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>refs/[^/@]+/[^/@]+|[^/@]+))?(/(?P<file>[^@]+))?",
    re.ASCII,
)
_COMPONENTS = ("", *(f"{part}/" for part in (*model_folder.COMPONENTS, "scheduler")))
_CONFIGURATIONS = [
    f"{part}{name}"
    for part in _COMPONENTS
    # Code is never run, but its presence shows that a model needs it.
    for name in ("model_index.json", "config.json", "scheduler_config.json", "*.py")
]

_LAYOUT = "allowed: a repository with a network in diffusers' layout"


@dataclass(frozen=True)
class HubId:
    """OWNER/NAME, followed by @REVISION for another revision than main, and by /FILE for one file of weights."""

    repository: str
    revision: str | None
    file: str | None

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The id in a string; None if it is not an id."""
        match = _ID.fullmatch(name)
        if match is None or (match["file"] and not weight_files.is_weights(match["file"])):
            return None
        return cls(match["repository"], match["revision"], match["file"])

    def __str__(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "")


def configurations(model: HubId) -> Path:
    """The local copy of a repository with its configurations.

    Raises: UserError saying why the repository cannot be read.
    """
    beside = f"{model.file.rpartition('/')[0]}/config.json".lstrip("/") if model.file else "config.json"
    folder = _download(model, [*_CONFIGURATIONS, beside])
    parts = ("", *model_folder.COMPONENTS)
    if not model.file and not any((folder / part / "config.json").is_file() for part in parts):
        raise UserError(
            f"{model} has no config.json at its top or in {' or '.join(f'{part}/' for part in parts[1:])}; {_LAYOUT}"
        )
    return folder


def weights(model: HubId, part: str, variant: str | None) -> None:
    """Complete the local copy by the weights of the network in the folder `part`, as safetensors if there are any.

    Raises: UserError saying why they cannot be read.
    """
    kinds = (
        [[model.file]]
        if model.file
        else [[f"{part}{name}" for name in kind] for kind in weight_files.names(variant)]
    )
    for kind in kinds:
        folder = _download(model, kind)
        file = next((folder / name for name in kind if (folder / name).is_file()), None)
        if file and weight_files.is_index(file.name):
            place = file.parent.relative_to(folder)
            _download(model, [(place / shard).as_posix() for shard in weight_files.shards(file)])
        if file:
            return
    wanted = model.file or f"{kinds[0][0]} or .bin"
    raise UserError(f"{model} has no weights {wanted}{_available(model, wanted.rpartition('/')[0])}")


def _available(model: HubId, folder: str) -> str:
    """The weights that a repository holds in a folder, for a message; nothing if the hub cannot be asked."""
    from huggingface_hub import HfApi

    files: list[str] = []
    with contextlib.suppress(Exception):
        files = HfApi().list_repo_files(model.repository, revision=model.revision)
    there = sorted(name for name in files if name.startswith(folder) and weight_files.is_weights(name))
    if not there:
        return f"; {_LAYOUT}"
    return f"; it holds {', '.join(there[:5])}; pass one of them as {model}/{there[0]}"


def _download(model: HubId, patterns: Sequence[str]) -> Path:
    """The local copy of a repository, in which all files that match the patterns are complete."""
    from huggingface_hub import snapshot_download

    try:
        with _silent_client():
            return Path(
                snapshot_download(model.repository, revision=model.revision, allow_patterns=list(patterns))
            )
    except Exception as error:  # the hub's client raises over a dozen unrelated kinds
        raise UserError(f"{model} {_reason(error, model)}") from error


def _reason(error: Exception, model: HubId) -> str:
    """Why a repository could not be downloaded, and what to do about it."""
    from huggingface_hub import constants, errors

    causes = list(_chain(error))

    def any_is(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    elsewhere = f"or pass a folder that holds the model, or a bundled model ({', '.join(bundled.names())})"
    if any_is(errors.GatedRepoError, errors.DisabledRepoError):
        page = f"{constants.ENDPOINT}/{model.repository}"
        return f"is gated: accept its terms at {page} and log in with `hf auth login`"
    if any_is(errors.RevisionNotFoundError):
        return f"is not on the hub: {model.repository} has no revision {model.revision!r}; allowed: one of its branches, tags or commits"
    if any_is(errors.RepositoryNotFoundError):
        return "is not on the hub, or is private: correct the name, or log in with `hf auth login`"
    if any_is(errors.HFValidationError):
        return f"is not a valid hub id ({first_line(causes[-1])}); allowed: OWNER/NAME or OWNER/NAME@REVISION"
    if any_is(errors.IncompleteSnapshotError):
        return (
            f"is cached in part only, and {_unreachable(causes)}; load it once with a connection, {elsewhere}"
        )
    if any_is(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        return f"is not cached in {constants.HF_HUB_CACHE}, and {_unreachable(causes)}; load it once with a connection, {elsewhere}"
    return (
        f"cannot be downloaded: {first_line(error)}; load it again, which continues the download, {elsewhere}"
    )


def _unreachable(causes: Sequence[BaseException]) -> str:
    """Why the hub was not asked, or did not answer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return f"the hub {constants.ENDPOINT} does not answer ({first_line(causes[-1])})"


@contextlib.contextmanager
def _silent_client() -> Iterator[None]:
    """Silence the client's log while the block runs, and its progress unless a terminal shows it."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    verbosity = logging.get_verbosity()
    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


@contextlib.contextmanager
def silent_diffusers() -> Iterator[None]:
    """Silence diffusers' log while the block runs: denoscope reports each error itself."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, the root last."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
