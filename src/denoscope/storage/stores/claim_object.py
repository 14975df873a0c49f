"""Claims on an output in a store without locks: an object that its owner signs again and again.

The claim is made by a conditional put, so that one process gets it. Its owner signs it every `SIGNED_EVERY` seconds. A
claim that was not signed for `STALE_AFTER` seconds, or whose owner ran on this machine and has ended, may be taken
over, again by a conditional put. A process that lost its claim finds out when it signs next, and stops; it signs before it goes
on if its last signature is old, since it may have been suspended or cut off meanwhile.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage.stores import this_machine

SIGNED_EVERY = 60.0
"""Seconds between two signatures of a claim."""
SIGNED_FOR = 2 * SIGNED_EVERY
"""Seconds that a signature is trusted without another one. A request that begins then ends before the claim is stale."""
STALE_AFTER = 300.0
"""Seconds after its last signature when a claim may be taken over. Clocks may differ by less than this."""


@dataclass(frozen=True)
class Version:
    """One version of an object: its bytes, the tag that names it in conditions, and when it was stored."""

    data: bytes
    tag: Any
    stored: datetime


class ConditionalStore(Protocol):
    """What a claim needs of a store."""

    def put_if_absent(self, key: str, data: bytes) -> bool: ...
    def put_if_unchanged(self, key: str, data: bytes, tag: Any) -> bool: ...
    def version(self, key: str) -> Version | None: ...
    def delete(self, key: str) -> None: ...


class Claim:
    """A claim that this process holds."""

    def __init__(self, store: ConditionalStore, key: str):
        self._store, self._key, self._token = store, key, uuid.uuid4().hex
        self._lost = False
        self._signed = now()
        self._ended = threading.Event()

    def take(self) -> bool:
        """Take the claim; returns whether it is ours."""
        self._signed = now()
        if self._store.put_if_absent(self._key, self._signature()):
            return True
        if (found := self._store.version(self._key)) is None:  # released meanwhile
            return self._store.put_if_absent(self._key, self._signature())
        # A put whose answer was lost and that was sent again finds itself.
        return self._is_ours(found) or (is_abandoned(found) and self._replace(found))

    def sign(self) -> None:
        """Sign the claim again, or note that it is lost."""
        # The time before the request, and of the clock: others see it later, and the monotonic clock stops in a suspend.
        begun = now()
        found = self._store.version(self._key)
        if found is None or not self._is_ours(found) or not self._replace(found):
            self._lost = True
        else:
            self._signed = begun

    def check(self) -> None:
        """Refuse to go on with a claim that is lost; sign it first if the last signature is old.

        Raises: OSError if it is, or if it cannot be signed.
        """
        if not self._lost and (now() - self._signed).total_seconds() > SIGNED_FOR:
            self.sign()
        if self._lost:
            raise OSError("another process has taken over, since this one was not heard of for some minutes")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Sign the claim while the block runs, and release it at the end."""
        signing = threading.Thread(target=self._sign_again, name="claim", daemon=True)
        signing.start()
        try:
            yield
        finally:
            self._ended.set()
            signing.join()
            with suppress(OSError):  # what remains becomes stale
                found = self._store.version(self._key)
                if found is not None and self._is_ours(found):
                    self._store.delete(self._key)

    def _sign_again(self) -> None:
        while not self._ended.wait(SIGNED_EVERY) and not self._lost:
            with suppress(OSError):  # the next signature may succeed
                self.sign()

    def _replace(self, found: Version) -> bool:
        """Put our signature in the place of a version; returns whether it is there."""
        if self._store.put_if_unchanged(self._key, self._signature(), found.tag):
            return True
        now = self._store.version(self._key)
        return now is not None and self._is_ours(now)

    def _is_ours(self, found: Version) -> bool:
        return _content(found.data).get("token") == self._token

    def _signature(self) -> bytes:
        content = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "signed": now().isoformat(timespec="seconds"),
            "machine": this_machine.identity(),
            "token": self._token,
        }
        return json.dumps(content).encode()


def owner(data: bytes) -> str:
    """Return in words who holds a claim with this content."""
    content = _content(data)
    return (
        f"process {content.get('pid')} on {content.get('host')}, which signed last at {content.get('signed')}"
    )


def now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


def is_abandoned(found: Version) -> bool:
    """Whether the owner of a claim has ended or was not heard of for too long."""
    content, here = _content(found.data), this_machine.identity()
    # The lock file of a local recording that was copied to a bucket is no claim.
    if "token" not in content or (now() - found.stored).total_seconds() > STALE_AFTER:
        return True
    return bool(here) and content.get("machine") == here and not this_machine.runs(content.get("pid"))


def _content(data: bytes) -> dict[str, Any]:
    """The content of a claim; nothing if somebody else wrote the object."""
    try:
        return json_files.parse(data, dict[str, Any], "the claim")
    except MalformedError:
        return {}
