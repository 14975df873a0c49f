"""Where a recording is: a path of this machine, or a URL of object storage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.urls import is_url, split_url
from denoscope.storage.stores.byte_store import is_key
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.stores.object_store import ObjectStore

SCHEMES = ("s3", "gs", "az")
ALLOWED = "a path, or a URL such as s3://BUCKET/NAME.zarr, gs://BUCKET/NAME.zarr or az://CONTAINER/NAME.zarr"


@dataclass(frozen=True)
class Url:
    """A recording in object storage. `bucket` is that of S3 and Google, the container of Azure."""

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parsed(cls, text: str) -> Url:
        """The recording that a URL names.

        Raises: UserError if its scheme is unknown, if it names no recording, or if it holds a secret, which the message
            does not repeat.
        """
        scheme, rest = split_url(text) or ("", text)
        if {"@", "?", "#"} & set(rest):
            raise UserError(
                f"the {scheme}:// URL of a recording has a user, a password, a query or a fragment; allowed: "
                f"{scheme}://BUCKET/NAME.zarr, with the credentials in the environment"
            )
        if scheme == "file":  # a path has lost some of the slashes
            shown = text if "://" in text else f"file:///{rest}"
            raise UserError(
                f"{shown} is a URL of this machine; allowed: {ALLOWED}; write the path alone, such as /{rest}"
            )
        if scheme not in SCHEMES:
            raise UserError(
                f"{scheme}://{rest} is a URL of an unknown kind; allowed: {ALLOWED}; a folder named {scheme}: is meant by "
                "its absolute path"
            )
        bucket, _, key = rest.rstrip("/").partition("/")
        if not bucket or not key or not is_key(key):
            raise UserError(
                f"{scheme}://{rest} names no recording; allowed: {scheme}://BUCKET/NAME.zarr, without empty parts, "
                "'.' and '..'"
            )
        return cls(scheme, bucket, key)

    @property
    def name(self) -> str:
        """The last part, as that of a path."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The ending of the name, as that of a path."""
        return PurePosixPath(self.key).suffix

    def __truediv__(self, name: str) -> Url:
        return Url(self.scheme, self.bucket, f"{self.key}/{name}")

    def __fspath__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


Place = Path | Url


def parse_place(given: str | os.PathLike[str]) -> Place:
    """Return the place that a text, a path or a URL names.

    Raises: UserError as `Url.parsed` does.
    """
    return Url.parsed(os.fspath(given)) if is_url(given) else Path(given)


def store_at(place: Place, *, scratch: str = "") -> LocalStore | ObjectStore:
    """Return the store at a place; see `LocalStore` for `scratch`.

    Raises: UserError if the library that reads URLs is not installed.
    """
    return LocalStore(place, scratch=scratch) if isinstance(place, Path) else ObjectStore(str(place))


def beside(place: Place) -> LocalStore | ObjectStore:
    """Return the store around a place: the nearest folder above it that exists, or the keys beside it at a URL."""
    if isinstance(place, Path):
        return LocalStore(next(folder for folder in place.absolute().parents if folder.is_dir()))
    return ObjectStore(str(place).rpartition("/")[0])
