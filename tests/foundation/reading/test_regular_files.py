"""Files are read within a limit, and take no more memory than they have bytes."""

import tracemalloc

import pytest

from denoscope.foundation.reading.regular_files import read_bytes


def test_a_small_file_takes_little_memory_however_large_the_limit(tmp_path):
    (tmp_path / "a.json").write_bytes(b"{}")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "a.json", limit=2**29) == b"{}"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_file_above_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_bytes(tmp_path / "a", limit=3) == b"abc"
    with pytest.raises(OSError, match="3 bytes; allowed: at most 2"):
        read_bytes(tmp_path / "a", limit=2)
