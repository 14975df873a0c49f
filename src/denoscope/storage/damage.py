"""The error for damaged recordings."""

from __future__ import annotations

from collections.abc import Mapping
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
    if problem.startswith(tuple(f"{name} " for name in ROOTS)):
        # Nothing else says what was recorded, so that no resume could tell whether it continues the same work.
        name = problem.partition(" ")[0]
        return DamagedError(
            f"{store} is damaged: {problem}; put back a copy of {name}, or record to another output"
        )
    return DamagedError(
        f"{store} is damaged: {problem}; `denoscope verify store {store}` lists all damage; to repair it, "
        f"{how_to_finish(attributes)}"
    )
