"""Whether workers see the store of this process."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from distributed import Client

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled


def check_store(client: Client, path: Path) -> None:
    """Check that each worker can read and write where `path` is, or will be.

    Raises: UserError naming a worker that cannot.
    """
    for address, problem in problems(client, path).items():
        raise UserError(f"worker {address} {problem}; name an output that all workers see ({spelled('out')})")


def problems(client: Client, path: Path) -> dict[str, str]:
    """Why workers, by their addresses, cannot read and write where `path` is, or will be.

    Raises: UserError if this process cannot write there.
    """
    found = {}
    with _token(path) as (folder, name):
        for address, error in client.run(_answer, str(folder), name).items():
            seen = (folder / _reply(name, address)).exists()
            if reason := error or ("" if seen else "it writes to another disk"):
                found[address] = f"cannot write into {folder} ({reason})"
    return found


@contextmanager
def _token(path: Path) -> Iterator[tuple[Path, str]]:
    """A small file in the nearest folder of a path that exists; the answers to it are removed, too."""
    absolute = path.absolute()
    folder = next(place for place in absolute.parents if place.is_dir())
    name = f".{uuid.uuid4().hex}.partial"
    try:
        (folder / name).touch()
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield folder, name
    finally:
        with suppress(OSError):
            for file in folder.glob(f"{name}*"):
                file.unlink(missing_ok=True)


def _answer(folder: str, name: str, dask_worker: object) -> str:
    """Write an answer beside a token, on a worker; returns what is wrong, or an empty text."""
    place = Path(folder)
    try:
        if not (place / name).exists():
            return "it does not see the files there"
        (place / _reply(name, dask_worker.address)).touch()  # type: ignore[attr-defined]
    except OSError as error:
        return str(error.strerror or error)
    return ""


def _reply(name: str, address: str) -> str:
    return name + re.sub(r"\W+", "-", address)
