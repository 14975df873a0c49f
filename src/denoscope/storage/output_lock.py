"""The output of a recording: its lock, the checks before it is written, and advice if it may not be."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from denoscope.config import InferenceConfig
from denoscope.foundation.errors import UserError, is_lack_of_memory
from denoscope.foundation.json_values import differences
from denoscope.foundation.reading.given_path import without_links
from denoscope.foundation.spelling import flag_of, spelled
from denoscope.storage.places import Place
from denoscope.storage.plan import FORMAT_VERSION
from denoscope.storage.root_file import Root
from denoscope.storage.stores import capabilities
from denoscope.storage.stores.byte_store import ByteStore, is_key
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.watching import start

Existing = Literal["refuse", "overwrite", "resume"]
"""What is done with a recording that exists."""
IMPOSSIBLE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of paths where nothing can be, which may appear below an output while it is written."""


@contextmanager
def claimed(
    store: ByteStore,
    lock: str,
    attributes: Mapping[str, Any],
    check: Callable[[], None],
    settle: Callable[[], None],
) -> Iterator[None]:
    """Hold the lock of a recording while the block runs; `check` raises if it must not be written.

    `settle` is called with the lock, and completes a replacement that a killed process left incomplete.

    Raises: UserError if another process writes it, or if it cannot be written.
    """
    with writing(store, attributes):
        # Before the lock's file is made, since a refused output must not be touched.
        check()
        with capabilities.lock(store, lock) as held:
            if not held:
                raise UserError(
                    f"{store} is being written by another process{capabilities.holder(store, lock)}; wait for it or name "
                    f"another output ({spelled('out')})"
                )
            start.end()
            settle()
            # Again, since another process may have written meanwhile.
            check()
            yield


@contextmanager
def writing(store: ByteStore | Place, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Report a full disk or a missing permission in one line while a recording with these attributes is written."""
    try:
        yield
    except OSError as error:
        if error.errno in IMPOSSIBLE:
            raise UserError(
                f"cannot write {store}: {error.strerror}; name another output ({spelled('out')})"
            ) from error
        raise UserError(
            f"cannot write {store}: {error.strerror or error}; finished samples are safe; solve this and "
            f"{how_to_finish(attributes)}"
        ) from error


@contextmanager
def reading(store: ByteStore | Place) -> Iterator[None]:
    """Report in one line that a recording cannot be read, whichever way its readers fail."""
    try:
        yield
    except Exception as error:
        if isinstance(error, IndexError) or is_lack_of_memory(error):
            raise  # not caused by the recording
        if isinstance(error, UserError) and not isinstance(store, (LocalStore, Path)):
            raise  # what a bucket answered, in words already
        reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise UserError(
            f"{store} cannot be read{reason}; `denoscope verify store {store}` lists what is damaged"
        ) from error


def how_to_finish(attributes: Mapping[str, Any]) -> str:
    """Say how an unfinished recording with these attributes is finished."""
    if pipeline := attributes.get("pipeline"):
        return f"record the {pipeline} call again ({spelled('overwrite', True)}), since it cannot be resumed"
    return f"resume it ({spelled('resume', True)})"


def how_to_record_anyway(store: ByteStore, attributes: Mapping[str, Any]) -> str:
    """Say what can be done where a store holds a recording with these attributes."""
    # Finished samples in object storage are not replaced.
    ways = [f"replace it ({spelled('overwrite', True)})"] if isinstance(store, LocalStore) else []
    if not attributes.get("pipeline"):
        ways.insert(0, f"resume it ({spelled('resume', True)})")
    another = f"name another output ({spelled('out')})"
    return f"{', '.join(ways)} or {another}" if ways else another


def check_same_work(store: ByteStore, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Check that a recording was begun with the same options, model and inputs.

    Raises: UserError naming what differs.
    """
    if pipeline := stored.get("pipeline"):
        raise UserError(
            f"{store} was recorded from a {pipeline} call, which cannot be resumed; {how_to_record_anyway(store, stored)}"
        )
    if differing := _differences(stored, wanted):
        raise UserError(
            f"{store} cannot be resumed: {'; '.join(differing)}; use the options it was begun with, replace it "
            f"({spelled('overwrite', True)}), or name another output ({spelled('out')})"
        )


def is_same_work(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a recording that can be continued was begun with the same options, model and inputs."""
    return not stored.get("pipeline") and not _differences(stored, wanted)


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The differences between two recordings, by their attributes."""
    differing = differences(stored.get("fingerprint", {}), wanted["fingerprint"], _option)
    differing += differences(
        {"folders of layers": stored.get("layer_folders")}, {"folders of layers": wanted["layer_folders"]}
    )
    if stored.get("inputs_sha256") != wanted["inputs_sha256"]:
        differing.append("the inputs, their names or their order")
    return differing


def _option(entry: str) -> str:
    """An entry of a fingerprint, as the flag that sets it if there is one."""
    return flag_of(InferenceConfig.ARGUMENTS.get(entry, entry), entry)


def check_root(store: ByteStore, root: Root[Any]) -> None:
    """Check that the root file, which says what the recording is, is sound.

    Raises: UserError if it is not: continuing from it would make the damage permanent.
    """
    if wrong := root.own_damage(store):
        raise UserError(
            f"{store} cannot be resumed: {wrong}; put back a copy of {root.file.name}, replace the recording "
            f"({spelled('overwrite', True)}), or name another output ({spelled('out')})"
        )


def check_inside(store: ByteStore, keys: Iterable[str], links: Iterable[Path] = ()) -> None:
    """Check that keys, and links in a local folder, stay inside of the output.

    Raises: UserError naming the first that does not.
    """
    keys = list(keys)
    advice = f"remove the link or name another output ({spelled('out')})"
    for key in keys:
        if not is_key(key):
            raise UserError(f"{store}/{key} leads out of {store}; rename it, or name another output")
    if isinstance(store, LocalStore):
        home = without_links(store.root)
        for path in [*(store.root / key for key in keys), *links]:
            target = without_links(path)
            if not target.is_relative_to(home):
                raise UserError(f"{path} leads out of {store}, to {target}; {advice}")


def check_version(store: ByteStore, root: Root[Any]) -> None:
    """Check that a recording with this root file is not of a newer format.

    A version that does not match its checksum says nothing: it passes, and whatever compares checksums finds the damage.

    Raises: UserError if it is.
    """
    version = root.attributes.get("format_version")
    is_read = isinstance(version, int) and version <= FORMAT_VERSION
    if not is_read and not root.is_changed(store, "format_version"):
        raise UserError(
            f"{store} has format version {version!r}; this denoscope reads versions up to {FORMAT_VERSION}: upgrade it, "
            f"or name another output ({spelled('out')})"
        )
