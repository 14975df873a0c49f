"""A store in a bucket of S3, Google Cloud Storage or Azure."""

from __future__ import annotations

import errno
import functools
import os
import re
import weakref
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from denoscope.foundation.errors import first_line, missing_library
from denoscope.storage.stores import scratch_folder
from denoscope.storage.stores.byte_store import Data, is_key
from denoscope.storage.stores.claim_object import Claim, Version, is_abandoned, owner
from denoscope.storage.stores.local import FileSink

T = TypeVar("T")
SINGLE_PUT = 64 * 2**20
"""Bytes up to which a value is one request; larger ones are multipart uploads, which obstore aborts if they fail."""
PART = 16 * 2**20
FIRST_RETRIES, RETRIES = 2, 10
"""How often a request is repeated: the first one to a bucket, so that a wrong address is soon reported, and all others."""
DEADLINE = timedelta(minutes=3)
"""When a request that keeps failing is given up."""
BACKOFF = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=15), "base": 2}
FIRST_ANSWER, ANSWER = timedelta(seconds=20), timedelta(minutes=2)
"""How long one attempt may take: of the first request to a bucket, and of all others."""
_ANSWERED: set[str] = set()
"""The buckets that have answered this process."""
HOW_TO_SIGN_IN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server of your own) in the "
    "environment, or AWS_SKIP_SIGNATURE=true for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT in the environment",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY in the environment",
}
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Where the environment names a server of one's own."""
INSTANCE = (
    "/latest/api/token",
    "/latest/meta-data",
    "metadata.google",
    "/computeMetadata",
    "/metadata/identity",
)
"""Addresses that cloud machines ask for credentials, and that nothing answers elsewhere."""
NO_ACCOUNT = "Account must be specified"
"""What obstore says where the environment names no account of Azure, whose name is a part of the address."""


class ObjectStore:
    """The keys below a prefix of a bucket, by a URL without credentials, which come from the environment alone.

    Each method is one request, which is repeated with growing pauses if the server is busy or the connection breaks.
    The URL is pickled and no credentials are, so that they stay where they are.
    """

    at_once = 16

    def __init__(self, url: str):
        self.url = url
        self._scheme, _, rest = url.partition("://")
        self._bucket = rest.partition("/")[0]
        self._claims: list[Claim] = []
        _obstore()
        with self._errors():
            environment = frozenset(os.environ.items())
            self._clients = (
                _client(url, FIRST_RETRIES, FIRST_ANSWER, environment),
                _client(url, RETRIES, ANSWER, environment),
            )

    def get(self, key: str, start: int | None = None, length: int | None = None) -> bytes | None:
        if length == 0:
            return None if self._head(key) is None else b""
        try:
            return self._get(key, _range(start, length), length if start is not None and start < 0 else None)
        except _OutOfRangeError:
            return None if self._head(key) is None else b""

    def put(self, key: str, data: Data) -> None:
        self._put(key, data, multipart=len(data) > SINGLE_PUT)

    def put_if_absent(self, key: str, data: Data) -> bool:
        """Store bytes under a key that does not exist; return whether they were stored.

        If an answer was lost and the request was repeated, they may be stored although this returns False.
        """
        return self._put(key, data, mode="create")

    def put_if_unchanged(self, key: str, data: Data, tag: Any) -> bool:
        """Store bytes under a key whose version has this tag; return whether they were stored."""
        return self._put(key, data, mode=tag)

    def version(self, key: str) -> Version | None:
        """Return the present version of a key, or None if the key does not exist."""

        def request(client: Any) -> Version:
            answer = _obstore().get(client, key)
            meta = answer.meta
            tag = {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}
            return Version(bytes(answer.bytes()), tag, meta["last_modified"])

        return self._found(request)

    def list(self, prefix: str = "") -> Iterator[str]:
        yield from (entry["path"] for entry in self._entries(prefix))

    def times(self, prefix: str) -> Iterator[tuple[str, float]]:
        """Yield the keys that start with a prefix, with the time when each was stored, in seconds since 1970."""
        yield from ((entry["path"], entry["last_modified"].timestamp()) for entry in self._entries(prefix))

    def delete(self, key: str) -> None:
        self._found(lambda client: _obstore().delete(client, _checked(key)))

    def sink(self, key: str) -> ObjectSink:
        return ObjectSink(self, _checked(key), self._folder)

    @contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Claim a key while the block runs; see `claim_object`."""
        claim = Claim(self, _checked(key))
        if not claim.take():
            yield False
            return
        self._claims.append(claim)
        try:
            with claim.kept():
                yield True
        finally:
            self._claims.remove(claim)

    def is_locked(self, key: str) -> bool:
        """Return whether a process holds a lock; one that cannot be asked may have ended some minutes ago."""
        found = self.version(key)
        return found is not None and not is_abandoned(found)

    def holder(self, key: str) -> str:
        """Say who holds a lock."""
        found = self.version(key)
        return "" if found is None else owner(found.data)

    def flush(self) -> None:
        """Check that the locks are still held: nothing that is written afterwards would be ours."""
        for claim in self._claims:
            claim.check()

    def put_file(self, key: str, path: Path) -> None:
        """Store the content of a file under a key."""
        self._put(key, path, multipart=path.stat().st_size > SINGLE_PUT)

    def _entries(self, prefix: str) -> Iterator[Any]:
        """The entries of the keys that start with a prefix, a page a request."""
        # The server compares whole parts of keys.
        folder = prefix.rpartition("/")[0]
        stream = iter(_obstore().list(self._client, folder or None, chunk_size=1000))
        while (page := self._request(lambda _: next(stream, None))) is not None:
            yield from (entry for entry in page if entry["path"].startswith(prefix))

    @functools.cached_property
    def _folder(self) -> Path:
        """A folder for unfinished values, which is removed with this object."""
        folder = scratch_folder.temporary()
        self._cleanup = weakref.finalize(self, folder.cleanup)
        return Path(folder.name)

    def _get(self, key: str, part: Any, length: int | None) -> bytes | None:
        options = {"range": part} if part else None
        found = self._found(lambda client: bytes(_obstore().get(client, key, options=options).bytes()))
        return found if length is None or found is None else found[:length]

    def _head(self, key: str) -> Any:
        return self._found(lambda client: _obstore().head(client, key))

    def _put(self, key: str, data: Data | Path, *, mode: Any = None, multipart: bool = False) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def request(client: Any) -> bool:
            try:
                _obstore().put(client, key, data, mode=mode, use_multipart=multipart, chunk_size=PART)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        _checked(key)
        return self._request(request)

    def _found(self, request: Callable[[Any], T]) -> T | None:
        """The result of a request, or None if the key does not exist."""

        def found(client: Any) -> T | None:
            try:
                return request(client)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

        return self._request(found)

    def _request(self, request: Callable[[Any], T]) -> T:
        """The result of a request; the first one to a bucket is given up early.

        Raises: OSError in one line, without secrets.
        """
        with self._errors():
            result = request(self._client)
        _ANSWERED.add(self._place)
        return result

    @property
    def _place(self) -> str:
        return f"{self._scheme}://{self._bucket}"

    @property
    def _client(self) -> Any:
        """The client that gives up early until the bucket has answered, then the one that keeps trying."""
        return self._clients[self._place in _ANSWERED]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn obstore's errors, whose long texts hold whole requests, into one line each."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if "416 Range Not Satisfiable" in str(error):
                raise _OutOfRangeError from None
            raise _in_words(error, self._scheme, self._bucket) from None

    def __reduce__(self) -> Any:
        return _copied, (self.url, self._place in _ANSWERED)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"


def _copied(url: str, answered: bool) -> ObjectStore:
    """A store from another process. If the bucket has answered there, its address is right."""
    store = ObjectStore(url)
    if answered:
        _ANSWERED.add(store._place)
    return store


class ObjectSink:
    """A value that grows in a temporary file of this machine, and is put at once when it is finished."""

    def __init__(self, store: ObjectStore, key: str, folder: Path):
        self._store, self._key = store, key
        self._path = folder / f"{id(self):x}"
        self._file = FileSink(self._path, set())

    def append(self, data: Data) -> None:
        try:
            self._file.append(data)
        except OSError as error:
            raise OSError(
                error.errno, f"{error.strerror} in {self._path.parent}; set TMPDIR to another folder"
            ) from None

    def finish(self) -> None:
        self._file.finish()
        self._store.put_file(self._key, self._path)
        self._path.unlink()

    def discard(self) -> None:
        self._file.discard()
        self._path.unlink(missing_ok=True)


class _OutOfRangeError(Exception):
    """A range begins beyond the end of a value."""


def _obstore() -> Any:
    """The library, which is imported where a URL is used."""
    try:
        import obstore
    except ImportError as error:
        raise missing_library("a URL", "obstore", "cluster") from error
    return obstore


@functools.lru_cache(maxsize=8)
def _client(url: str, retries: int, answer: timedelta, environment: Set[tuple[str, str]]) -> Any:
    """obstore's store at a URL, with the credentials and the options that the environment holds.

    All objects of a URL share it, and with it the connections, as long as the environment is the same.
    """
    from obstore.store import from_url

    retry = {"max_retries": retries, "retry_timeout": DEADLINE, "backoff": BACKOFF}
    # Options in code replace those of the environment, which may name a server without TLS.
    without_tls = any(name in ENDPOINTS and value.startswith("http://") for name, value in environment)
    options = {"timeout": answer, "allow_http": without_tls}
    return from_url(url, client_options=options, retry_config=retry)  # type: ignore[call-overload]


def _checked(key: str) -> str:
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key: parts that are empty, '.' or '..' are not allowed")
    return key


def _range(start: int | None, length: int | None) -> Any:
    """The range as obstore takes it; None for everything."""
    if start is not None and start < 0:
        return {"suffix": -start}
    if length is not None:
        return (start or 0, (start or 0) + length)
    return {"offset": start} if start else None


def _in_words(error: BaseException, scheme: str, bucket: str) -> OSError:
    """An error of obstore in one line."""
    text = str(error)
    sign_in = HOW_TO_SIGN_IN.get(scheme, "")
    status = re.search(r"non-2xx status code: (\d{3}[ \w]*)", text)
    if any(address in text for address in INSTANCE) or NO_ACCOUNT in text:
        return OSError(errno.EACCES, f"no credentials: {sign_in}")
    if status and status[1].startswith("401"):
        return OSError(errno.EACCES, f"the server does not accept the credentials: {sign_in}")
    if status and status[1].startswith("403"):
        return OSError(errno.EACCES, f"permission denied; may these credentials use {scheme}://{bucket}?")
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return OSError(errno.ENOENT, f"there is no bucket {bucket!r} that these credentials see")
    if status:
        return OSError(errno.EIO, f"the server answered {status[1].strip()}")
    if "error sending request" in text or "timed out" in text:
        host = re.search(r"https?://([^\s/?#]+)", text)
        return OSError(errno.EIO, f"no answer from {host[1].rpartition('@')[2] if host else 'the server'}")
    return OSError(errno.EIO, re.sub(r"\?\S+", "", first_line(error)))
