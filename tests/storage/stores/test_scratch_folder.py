"""Folders of unfinished values: those of killed processes are removed, and no others."""

import os
import subprocess
import sys
import tempfile

import pytest

from denoscope.storage.stores import scratch_folder, this_machine


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_by(place, process: int):
    """A folder with a file that a process has made."""
    folder = place / f"{scratch_folder._prefix()}{process}-abc"
    folder.mkdir()
    (folder / "shard").write_bytes(b"1")
    return folder


def test_folders_of_killed_processes_are_removed_and_no_others(place, tmp_path_factory):
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    own, elsewhere = left_by(place, os.getppid()), tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "kept").touch()
    link = place / f"{scratch_folder._prefix()}{process.pid}-link"
    link.symlink_to(elsewhere)
    dead = left_by(place, process.pid)
    with scratch_folder.temporary() as made:
        assert not dead.exists() and own.exists() and (elsewhere / "kept").exists()
        assert os.listdir(made) == []
    assert not os.path.exists(made)


def test_a_machine_that_cannot_be_told_from_others_removes_nothing(place, monkeypatch):
    monkeypatch.setattr(this_machine, "identity", lambda: "")
    dead = left_by(place, 2**22 + 1)  # more than any process has
    with scratch_folder.temporary():
        assert dead.exists()
