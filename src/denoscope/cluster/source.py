"""Where workers come from, as `--cluster` names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

SCHEDULERS = ("slurm", "pbs", "sge", "lsf", "oar", "moab", "htcondor")
"""The batch systems in which dask-jobqueue starts workers."""
ALLOWED = "local, local:N (N from 1 to 9999), tcp://HOST:PORT, tls://HOST:PORT (PORT from 1 to 65535) or slurm:FILE.yaml"
LAST_PORT = 65535


@dataclass(frozen=True)
class Local:
    """Processes of this machine; None for one a core, or a single one where there is a GPU."""

    count: int | None = None


@dataclass(frozen=True)
class Address:
    """The workers of a scheduler of Dask that runs already."""

    address: str


@dataclass(frozen=True)
class Jobs:
    """Jobs of a batch system, described in a YAML file."""

    system: str
    file: str


Source = Local | Address | Jobs


def is_source(text: str) -> bool:
    """Whether a text names a source of workers."""
    return _source(text) is not None


def parse(text: str) -> Source:
    """The source of workers that a text names.

    >>> parse("local:4")
    Local(count=4)
    >>> parse("tcp://127.0.0.1:8786")
    Address(address='tcp://127.0.0.1:8786')

    Raises: UserError if it names none.
    """
    if (source := _source(text)) is None:
        raise UserError(f"{spelled('cluster')} is {text!r}; allowed: {ALLOWED}")
    return source


def _source(text: str) -> Source | None:
    if found := re.fullmatch(r"local(?::([1-9]\d{0,3}))?", text, flags=re.ASCII):
        return Local(int(found[1]) if found[1] else None)
    if found := re.fullmatch(r"(?:tcp|tls)://(?:[^\s:/]+|\[\S+\]):(\d{1,5})", text, flags=re.ASCII):
        return Address(text) if 1 <= int(found[1]) <= LAST_PORT else None
    system, _, file = text.partition(":")
    return Jobs(system, file) if system in SCHEDULERS and file else None
