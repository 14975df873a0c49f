"""Folders of this machine in which values grow until they are sent away."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from denoscope.storage.stores import this_machine


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed with the returned object; the first call also removes those of killed processes."""
    _remove_abandoned(tempfile.gettempdir())
    return tempfile.TemporaryDirectory(prefix=f"{_prefix()}{os.getpid()}-", ignore_cleanup_errors=True)


@functools.cache
def _remove_abandoned(place: str) -> None:
    """Remove the folders in a place whose process has ended. Whoever is not on this machine is not known to have."""
    if not this_machine.identity():
        return
    for folder in Path(place).glob(f"{_prefix()}*"):
        pid = folder.name.removeprefix(_prefix()).partition("-")[0]
        if pid.isdecimal() and not this_machine.runs(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    """The beginning of the names of all such folders of this machine."""
    return f"denoscope-{hashlib.sha256(this_machine.identity().encode()).hexdigest()[:12]}-"
