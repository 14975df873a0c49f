"""Whether workers can write where this process does."""

from __future__ import annotations

import pickle
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from distributed import Client

from denoscope.cluster.crew import addresses
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled


class SharedPlace(Protocol):
    """A folder or a bucket as a store of bytes by key, which is pickled. `str(place)` names it in messages."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...
    def delete(self, key: str) -> None: ...


def check_place(client: Client, place: SharedPlace) -> None:
    """Check that each worker reads and writes where this process does.

    Raises: UserError naming a worker that does not.
    """
    for address, problem in problems(client, place).items():
        raise UserError(f"worker {address} {problem}; name an output that all workers see ({spelled('out')})")


def problems(client: Client, place: SharedPlace) -> dict[str, str]:
    """Why workers, by their addresses, cannot read and write where this process does.

    Raises: UserError if this process cannot write there.
    """
    found = {}
    with _token(client, place) as token:
        for address, error in client.run(_answer, pickle.dumps(place), token).items():
            if reason := error or _unseen(place, _reply(token, address)):
                found[address] = f"cannot write into {place} ({reason})"
    return found


@contextmanager
def _token(client: Client, place: SharedPlace) -> Iterator[str]:
    """The key of a value in a place; the answers to it are removed, too."""
    token, asked = f".{uuid.uuid4().hex}.partial", addresses(client)
    try:
        place.put(token, b"")
    except OSError as error:
        raise _unusable(place, error) from error
    try:
        yield token
    finally:
        for key in (token, *(_reply(token, address) for address in {*asked, *addresses(client)})):
            with suppress(OSError):
                place.delete(key)


def _unseen(place: SharedPlace, reply: str) -> str:
    """Why the reply of a worker is not there, or an empty text."""
    try:
        return "" if place.get(reply) is not None else "it writes to another place"
    except OSError as error:
        raise _unusable(place, error) from error


def _unusable(place: SharedPlace, error: OSError) -> UserError:
    return UserError(f"cannot write into {place}: {error.strerror or error}")


def _answer(pickled: bytes, token: str, dask_worker: object) -> str:
    """Write an answer to a token, on a worker; returns what is wrong, or an empty text."""
    try:
        place: SharedPlace = pickle.loads(pickled)
        if place.get(token) is None:
            return "it does not see what is there"
        place.put(_reply(token, dask_worker.address), b"")  # type: ignore[attr-defined]
    except OSError as error:
        return str(error.strerror or error)
    except UserError as error:  # a library is missing
        return first_line(error)
    return ""


def _reply(token: str, address: str) -> str:
    return token + re.sub(r"\W+", "-", address)
