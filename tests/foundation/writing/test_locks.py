"""File locks: asking whether one is held disturbs no writer."""

import fcntl
import os

from denoscope.foundation.writing import locks


def test_asking_whether_a_lock_is_held_refuses_no_writer(tmp_path, monkeypatch):
    """Who asks holds the lock for a moment, during which another process begins to write."""
    (tmp_path / "lock").touch()
    asking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    monkeypatch.setattr(locks.time, "sleep", lambda _: fcntl.flock(asking, fcntl.LOCK_UN))
    with locks.locked(tmp_path / "lock", keep_file=True) as held:
        assert held and locks.is_locked(tmp_path / "lock")
    os.close(asking)
    assert not locks.is_locked(tmp_path / "lock") and not locks.is_locked(tmp_path / "none")
