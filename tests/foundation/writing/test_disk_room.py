"""The room on a disk, and file systems that have none."""

import os
from pathlib import Path

import pytest

from denoscope.foundation.writing.disk_room import DiskRoom


def test_a_path_that_does_not_exist_has_the_room_of_its_disk(tmp_path):
    room, found = DiskRoom.at(tmp_path / "not" / "there"), os.statvfs(tmp_path)
    assert room.takes_files and room.total == found.f_blocks * found.f_frsize
    assert room.free == pytest.approx(found.f_bavail * found.f_frsize, rel=0.01)


def test_the_file_system_of_processes_takes_no_files():
    room = DiskRoom.at(Path("/proc/none/run.zarr"))
    assert not room.takes_files and room.free == 0
