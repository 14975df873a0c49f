"""Animations as files: endless GIF, or MP4."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.foundation.errors import UserError, missing_library
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing.atomic_files import write_output

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".gif", ".mp4")
MILLISECONDS, HOLD = 60, 1500
"""How long an animation shows a frame, and the last one."""


def check_path(path: str | Path, name: str = "path") -> None:
    """Refuse a file that no animation can be written to.

    Args:
        name: the argument that holds the path.

    Raises: UserError if its suffix is another one, or it is .mp4 and imageio-ffmpeg is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"{spelled(name)} is {str(path)!r}; allowed: a name that ends in {' or '.join(SUFFIXES)}"
        )
    if suffix == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        feature, otherwise = (
            f"{spelled(name)} is {str(path)!r}, and MP4",
            ", or name a file that ends in .gif",
        )
        raise missing_library(feature, "imageio-ffmpeg", "video", otherwise=otherwise)


def write_animation(
    frames: Iterable[Image.Image], path: str | Path, *, milliseconds: int = MILLISECONDS, hold: int = HOLD
) -> None:
    """Write frames as an endless GIF or as MP4, by the suffix of the file; the last one is shown for `hold` ms.

    Raises: UserError as `check_path` does.
    """
    check_path(path)
    write = _write_mp4 if Path(path).suffix.lower() == ".mp4" else write_gif
    write(frames, path, milliseconds=milliseconds, hold=hold)


def write_gif(frames: Iterable[Image.Image], path: str | Path, *, milliseconds: int, hold: int) -> None:
    """Write frames as an endless GIF."""
    first, *others = frames
    durations = [milliseconds] * len(others) + [hold]
    with write_output(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _write_mp4(frames: Iterable[Image.Image], path: str | Path, *, milliseconds: int, hold: int) -> None:
    """Write frames as H.264 of constant rate, with even sides, which it requires; the last frame is repeated."""
    import imageio_ffmpeg

    pictures = [frame.convert("RGB") for frame in frames]
    width, height = pictures[0].size
    filters = f"pad=ceil(iw/2)*2:ceil(ih/2)*2,tpad=stop_mode=clone:stop_duration={hold / 1000}"
    given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {1000 / milliseconds} -i -"
    made = f"-vf {filters} -c:v libx264 -pix_fmt yuv420p -movflags +faststart"
    with tempfile.TemporaryDirectory() as folder:
        # The format needs a file in which its writer can go back.
        film = Path(folder) / "film.mp4"
        program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *given.split(), *made.split(), str(film)]
        subprocess.run(program, input=b"".join(picture.tobytes() for picture in pictures), check=True)
        with open(film, "rb") as source, write_output(path) as file:
            shutil.copyfileobj(source, file)
