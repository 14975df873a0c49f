"""URLs among the paths that users write."""

from __future__ import annotations

import os
import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
"""A URL, also as `Path` spells it: `Path("s3://bucket/run.zarr")` is `s3:/bucket/run.zarr`."""


def is_url(given: str | os.PathLike[str]) -> bool:
    """Return whether a text or a path stands for a URL."""
    return split_url(given) is not None


def split_url(given: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return the scheme of a URL and what follows it; None for a path.

    >>> split_url("s3://bucket/run.zarr"), split_url("run.zarr")
    (('s3', 'bucket/run.zarr'), None)
    """
    match = _URL.fullmatch(os.fspath(given))
    return (match[1].lower(), match[2]) if match else None
