"""The error for damaged recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.places import Place
from denoscope.storage.pt.layout import MANIFEST
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.zarr.layout import ROOT

ROOTS = (ROOT, MANIFEST)
"""The files that say what a recording is."""


class DamagedError(UserError):
    """A recording of which a file is damaged or missing."""


def damaged(store: ByteStore | Place, problem: str, attributes: Mapping[str, Any]) -> DamagedError:
    """Return the error that names one damage of a recording with these attributes."""
    listing = "" if _of_root(problem) else f"`denoscope verify store {store}` lists all damage; "
    return DamagedError(f"{store} is damaged: {problem}; {listing}{how_to_repair([problem], attributes)}")


def how_to_repair(problems: Sequence[str], attributes: Mapping[str, Any]) -> str:
    """Say how a recording with these attributes is repaired, of which the problems are known."""
    if name := next(filter(None, map(_of_root, problems)), ""):
        # Nothing else says what was recorded, so that no resume could tell whether it continues the same work.
        return f"put back a copy of {name}, or record to another output"
    return f"to repair it, {how_to_finish(attributes)}"


def _of_root(problem: str) -> str:
    """The file that says what a recording is, if the problem is one of it; otherwise empty."""
    name = problem.partition(" ")[0]
    return name if name in ROOTS else ""
