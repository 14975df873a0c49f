"""The writer of each kind of recording, by the format that a plan names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from denoscope.storage.output_lock import Existing
from denoscope.storage.plan import Plan, Writer
from denoscope.storage.pt.folder import PtWriter
from denoscope.storage.zarr.store import ZarrWriter


class Kind(Protocol):
    """A kind of recording, as those see it who want one written."""

    def permit(self, place: Path, plan: Plan, existing: Existing, /) -> None:
        """Refuse what is in the way, and a plan that does not fit; nothing is touched."""

    def disk_bytes(self, place: Path, plan: Plan, /) -> int:
        """What the whole recording takes on the disk of `place`."""

    def opened(self, place: Path, plan: Plan, existing: Existing, /) -> AbstractContextManager[Writer]:
        """Its writer, which has the place to itself."""


WRITERS: Mapping[str, Kind] = {"pt": PtWriter, "zarr": ZarrWriter}
