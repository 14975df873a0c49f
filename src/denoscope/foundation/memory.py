"""Memory of this process and of its device: what was held at most, what is left."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch


def peak_bytes() -> int:
    """The most memory this process has held so far."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_bytes(device: torch.device) -> int:
    """What can still be held beside all other processes, by the host and by the device."""
    host = _free_on_host()
    return min(host, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host


def _free_on_host() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: all there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
