"""The error for damaged recordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.places import Place
from denoscope.storage.stores.byte_store import ByteStore


class DamagedError(UserError):
    """A recording of which a file is damaged or missing."""


def damaged(store: ByteStore | Place, problem: str, attributes: Mapping[str, Any]) -> DamagedError:
    """Return the error that names one damage of a recording with these attributes."""
    return DamagedError(
        f"{store} is damaged: {problem}; `denoscope verify store {store}` lists all damage; to repair it, "
        f"{how_to_finish(attributes)}"
    )
