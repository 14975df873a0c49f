"""Free memory and the peak of this process against what the system reports."""

import resource
from pathlib import Path

import pytest
import torch

from denoscope.foundation import memory


def test_free_memory_is_the_available_memory_of_the_system():
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    assert memory.free_bytes(torch.device("cpu")) == pytest.approx(available, rel=0.1)


def test_the_peak_includes_every_allocation():
    before = memory.peak_bytes()
    assert before == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, rel=0.01)
    held = torch.ones(before // 4 + 10_000_000)  # more than the peak so far
    assert memory.peak_bytes() >= held.nbytes
