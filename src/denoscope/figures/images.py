"""Tensors in [-1, 1] as pictures: PNG files, strips, contact sheets and animations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.atomic_files import write_output
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

GAP = 2
GAP_SHADE = 128
"""Grey between pictures: digits are black at the rim, noise is anything, neither is this grey throughout."""


def to_uint8(x: torch.Tensor) -> np.ndarray:
    """Pixels 0 … 255 of tensors [..., C, H, W] in [-1, 1].

    One channel gives [..., H, W], three give [..., H, W, 3]. Values beyond the range are clipped, the rest
    rounded to the nearest shade.

    Raises: UserError for another number of channels, another dtype than floating point, NaN or Inf.
    """
    x = torch.as_tensor(x).detach().cpu()
    if x.ndim < 3 or x.shape[-3] not in (1, 3):
        raise UserError(
            f"no picture has the shape {list(x.shape)}; "
            "[..., C, H, W] with 1 channel (grey) or 3 (RGB) is needed"
        )
    if not x.is_floating_point():
        raise UserError(f"pictures are made of floating point in [-1, 1], not of {str(x.dtype)[6:]}")
    if not x.isfinite().all():
        raise UserError("NaN or Inf has no picture; finite values in [-1, 1] are needed")
    pixels = ((x.double().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    return pixels[..., 0, :, :] if x.shape[-3] == 1 else np.moveaxis(pixels, -3, -1)


def enlarge(pixels: np.ndarray, scale: int | None = None) -> np.ndarray:
    """A picture [H, W] or [H, W, 3] with each pixel a square of `scale` pixels; to about 224 unless set."""
    scale = max(1, 224 // max(pixels.shape[:2])) if scale is None else scale
    if scale < 1:
        raise UserError(f"scale is {scale}; allowed: a whole number of at least 1")
    return pixels.repeat(scale, 0).repeat(scale, 1)


def mosaic(pictures: Sequence[np.ndarray] | np.ndarray, columns: int, *, gap: int = GAP) -> np.ndarray:
    """Pictures of one size, row by row, in one: a grey line around each, blank places at the end grey too."""
    if columns < 1:
        raise UserError(f"columns is {columns}; allowed: a whole number of at least 1")
    if not len(pictures):
        raise UserError("no images to show; at least one is needed")
    height, width, *rgb = pictures[0].shape
    rows = math.ceil(len(pictures) / columns)
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap, *rgb)
    sheet = np.full(size, GAP_SHADE, dtype=np.uint8)
    for k, picture in enumerate(pictures):
        top = k // columns * (height + gap) + gap
        left = k % columns * (width + gap) + gap
        sheet[top : top + height, left : left + width] = picture
    return sheet


def square_columns(count: int) -> int:
    """Columns that make a sheet of `count` pictures about square."""
    return max(1, math.ceil(math.sqrt(count)))


def evenly(states: int, count: int) -> list[int]:
    """At most `count` indices of 0 … states-1, evenly spread, the first and the last among them."""
    if count < 2:
        raise UserError(f"count is {count}; allowed: a whole number of at least 2")
    return [round(k) for k in np.linspace(0, states - 1, min(count, states))]


def save_png(x: torch.Tensor, path: str | Path, *, scale: int | None = None) -> None:
    """Write one image [C, H, W] as PNG."""
    _write(_picture(enlarge(to_uint8(x), scale)), path, "PNG")


def save_strip(sequence: torch.Tensor, path: str | Path, *, count: int = 10, scale: int | None = 3) -> None:
    """Write `count` evenly chosen states of a sequence [steps+1, C, H, W], x_T left and x_0 right, as PNG."""
    frames = [enlarge(to_uint8(sequence[k]), scale) for k in evenly(len(sequence), count)]
    _write(_picture(mosaic(frames, len(frames))), path, "PNG")


def save_gif(
    sequence: torch.Tensor,
    path: str | Path,
    *,
    scale: int | None = None,
    milliseconds: int = 60,
    hold: int = 1500,
) -> None:
    """Write a sequence [steps+1, C, H, W] as an endless GIF that shows each state, and x_0 for `hold` ms."""
    frames = [_picture(enlarge(pixels, scale)) for pixels in to_uint8(sequence)]
    durations = [milliseconds] * (len(frames) - 1) + [hold]
    _write(frames[0], path, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def contact_sheet(
    images: torch.Tensor, path: str | Path, *, columns: int | None = None, scale: int | None = 3
) -> None:
    """Write images [n, C, H, W] side by side, row by row, as PNG; about square unless `columns` is set."""
    pictures = [enlarge(pixels, scale) for pixels in to_uint8(images)]
    columns = square_columns(len(pictures)) if columns is None else columns
    _write(_picture(mosaic(pictures, columns)), path, "PNG")


def render(
    path: Path,
    *,
    step: int | Literal["noise"] = -1,
    output_base_dir: Path,
    all_steps: bool = False,
    scale: int | None = None,
) -> list[Path]:
    """Write the pictures of one .pt file, and return their paths.

    A sequence [steps+1, C, H, W] gives the state after denoising step `step` (0 … steps-1; -1 the last,
    which is x_0; "noise" for x_T) in `output_base_dir`/sequences, or with `all_steps` a strip and an
    animation instead. A final tensor [C, H, W] or [1, C, H, W] gives its one image in
    `output_base_dir`/final_tensors.

    Raises: UserError naming the file where it holds no images, or has no such step.
    """
    path, folder = Path(path), Path(output_base_dir)
    x = tensor_files.load(path)
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape:
        raise UserError(
            f"{path} has shape {list(x.shape)}; an image [C, H, W] or a sequence [steps+1, C, H, W] "
            "with 1 channel (grey) or 3 (RGB) is needed"
        )
    try:
        if x.ndim == 3 or len(x) == 1:
            return [
                _render_final(x.reshape(x.shape[-3:]), path, folder / "final_tensors", step, all_steps, scale)
            ]
        if all_steps:
            return _render_sequence(x, path, folder / "sequences", scale)
        index, name = _state(step, len(x) - 1, path)
        target = folder / "sequences" / f"{path.stem}_{name}.png"
        save_png(x[index], target, scale=scale)
        return [target]
    except UserError as error:
        # What is wrong with the values was found without knowing whose they are.
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def _render_final(
    x: torch.Tensor, path: Path, folder: Path, step: int | str, all_steps: bool, scale: int | None
) -> Path:
    if all_steps or step != -1:
        asked = "--all-steps" if all_steps else f"--step {step}"
        raise UserError(
            f"{path} holds one image, so it has no {asked}; leave that out or name a sequence file"
        )
    target = folder / f"{path.stem}.png"
    save_png(x, target, scale=scale)
    return target


def _render_sequence(x: torch.Tensor, path: Path, folder: Path, scale: int | None) -> list[Path]:
    strip, animation = folder / f"{path.stem}_strip.png", folder / f"{path.stem}.gif"
    save_strip(x, strip, scale=scale or max(1, 84 // max(x.shape[-2:])))
    save_gif(x, animation, scale=scale)
    return [strip, animation]


def _state(step: int | str, steps: int, path: Path) -> tuple[int, str]:
    """The index in a sequence of the state after `step`, and what its file name calls it."""
    if step == "noise":
        return 0, "noise"
    if not isinstance(step, int) or not -1 <= step < steps:
        raise UserError(
            f"step is {step}, but {path} has {steps} steps; "
            f"allowed: 0 to {steps - 1}, -1 for the last, noise for x_T"
        )
    step = steps - 1 if step == -1 else step
    return step + 1, f"step_{step:04d}"


def _picture(pixels: np.ndarray) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _write(picture: Image.Image, path: str | Path, format: str, **options: object) -> None:
    with write_output(path) as file:
        picture.save(file, format, **options)
