"""Animations as GIF and MP4: the frames, their times, and what is refused."""

import importlib.util
import subprocess

import numpy as np
import pytest
from PIL import Image

import denoscope as ds
from denoscope.figures.animation_files import check_path, write_animation

SIZE = (33, 21)


def frames():
    """Three frames, each of one shade."""
    return [Image.new("RGB", SIZE, (shade, shade, shade)) for shade in (0, 128, 255)]


def test_a_gif_shows_each_frame_for_its_time(tmp_path):
    write_animation(frames(), tmp_path / "a.GIF", milliseconds=50, hold=700)
    with Image.open(tmp_path / "a.GIF") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (3, SIZE, 0)
        durations = []
        for k in range(3):
            gif.seek(k)
            durations.append(gif.info["duration"])
    assert durations == [50, 50, 700]


def test_an_mp4_shows_the_frames_at_a_constant_rate_and_holds_the_last(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is optional")
    path = tmp_path / "folder" / "a.mp4"
    write_animation(frames(), path, milliseconds=50, hold=500)
    program = [ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(program, capture_output=True, check=True)
    assert b"34x22" in done.stderr and b"20 fps" in done.stderr  # H.264 has even sides
    shown = np.frombuffer(done.stdout, np.uint8).reshape(3 + 10, 22, 34, 3)[:, 5, 5].astype(int)
    np.testing.assert_allclose(shown[:3, 0], [0, 128, 255], atol=4)
    np.testing.assert_allclose(shown[3:], 255, atol=4)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.mp4"]


def test_an_mp4_that_no_file_can_hold_leaves_nothing(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is optional")
    (tmp_path / "a").write_text("not a folder")
    with pytest.raises(ds.UserError, match=r"a\.mp4"):
        write_animation(frames(), tmp_path / "a" / "a.mp4")


def test_without_its_library_an_mp4_is_refused_before_a_frame_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    def never():
        raise AssertionError
        yield

    with pytest.raises(ds.UserError, match=r"path is .*a\.mp4.*denoscope\[video\].*\.gif"):
        write_animation(never(), tmp_path / "a.mp4")
    with pytest.raises(ds.UserError, match=r"animation is 'b\.mp4'.*denoscope\[video\]"):
        check_path("b.mp4", "animation")
    assert not list(tmp_path.iterdir())
