"""This machine, as its processes tell it from others, and whether a process of it still runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

MOST_PID = 2**31 - 1
"""The largest number that a process can have."""


def identity() -> str:
    """Return what identifies this machine and its numbering of processes, which containers have of their own; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def runs(pid: Any) -> bool:
    """Return whether a process of this machine runs, or may run."""
    if not isinstance(pid, int) or not 0 < pid <= MOST_PID:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
