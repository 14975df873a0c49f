"""Memory of this process and of its device: the peak and the available bytes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int:
    """The size of this process in memory now."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return peak_bytes()


def check_fits(needed: int, what: str) -> None:
    """Refuse what takes more memory than the host has left, before any of it is made.

    Raises: UserError with both numbers.
    """
    if needed > (free := _free_on_host()):
        raise UserError(f"{what} takes {format_bytes(needed)} of memory, and {format_bytes(free)} are free")


def free_bytes(device: torch.device) -> int:
    """The memory that can still be allocated: that of the host, or of the device if it has less."""
    host = _free_on_host()
    return min(host, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host


def _free_on_host() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: assume that all memory is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
