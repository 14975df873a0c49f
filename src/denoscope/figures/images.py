"""Images in [-1, 1] as pictures: PNG files, strips, contact sheets and animations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike

from denoscope.figures.animation_files import HOLD, MILLISECONDS, write_gif
from denoscope.foundation import tensor_files
from denoscope.foundation.arguments import arguments_checked, calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer
from denoscope.foundation.writing.atomic_files import write_output

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["contact_sheet", "render", "save_gif", "save_png", "save_strip", "to_uint8"]

ImageLike: TypeAlias = "torch.Tensor | ArrayLike"
"""Images as a tensor, or as an array of NumPy or xarray."""

GAP = 2
GAP_SHADE = 128
"""Shade of grey between pictures, distinct from both the black edge of digits and noise."""
LABEL_PIXELS, SMALLEST_LABEL, BETWEEN = 14, 6, 4
"""The height of the labels of a strip, the least to which narrow frames shrink their letters, and the space below them."""
STRIP_TITLE = "denoising steps done"


def __dir__() -> list[str]:
    return __all__


@calls_checked
def to_uint8(x: ImageLike) -> np.ndarray:
    """Pixels 0 … 255 of images [..., C, H, W] in [-1, 1].

    One channel gives [..., H, W], three give [..., H, W, 3]. Values are clipped to the range and rounded to the nearest
    shade.

    Args:
        x: a tensor, or an array of NumPy or xarray.

    Raises: UserError if the number of channels is not 1 or 3, or the values are not finite floating-point numbers.
    """
    x = as_tensor(x).detach().cpu()
    if x.ndim < 3 or x.shape[-3] not in (1, 3):
        raise UserError(
            f"images have shape {list(x.shape)}; allowed: [..., C, H, W] with 1 channel (grey) or 3 (RGB)"
        )
    if not x.is_floating_point():
        raise UserError(f"images are {str(x.dtype)[6:]}; allowed: floating-point numbers in [-1, 1]")
    if not x.isfinite().all():
        raise UserError("images hold NaN or Inf; allowed: finite numbers in [-1, 1]")
    pixels = ((x.double().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    return pixels[..., 0, :, :] if x.shape[-3] == 1 else np.moveaxis(pixels, -3, -1)


def as_tensor(x: ImageLike) -> torch.Tensor:
    """Images as a tensor.

    Raises: UserError if they are no numbers, or a masked array.
    """
    check_unmasked(x, "images")
    if isinstance(x, torch.Tensor):
        return x
    try:
        return torch.from_numpy(np.array(x))
    except (TypeError, ValueError):
        raise UserError(f"images is {describe(x)}; allowed: a tensor or an array of numbers") from None


def as_stack(x: ImageLike, name: str, along: str) -> torch.Tensor:
    """Images of four dimensions as a tensor; the first is called `along`.

    Raises: UserError if they have another number of dimensions.
    """
    stack = as_tensor(x)
    if stack.ndim != 4:
        raise UserError(f"{name} has shape {list(stack.shape)}; allowed: [{along}, C, H, W]")
    return stack


def enlarge(pixels: np.ndarray, scale: int | None = None) -> np.ndarray:
    """A picture [H, W] or [H, W, 3] enlarged `scale` times; by default its longer side becomes about 224 pixels."""
    scale = (
        max(1, 224 // max(pixels.shape[:2])) if scale is None else parse_integer(scale, "scale", minimum=1)
    )
    return pixels.repeat(scale, 0).repeat(scale, 1)


def mosaic(pictures: Sequence[np.ndarray] | np.ndarray, columns: int, *, gap: int = GAP) -> np.ndarray:
    """One picture made of pictures of equal size, row by row; the gaps and the unused places at the end are grey."""
    columns = parse_integer(columns, "columns", minimum=1)
    if not len(pictures):
        raise UserError("there are no images; allowed: at least one")
    height, width, *rgb = pictures[0].shape
    rows = math.ceil(len(pictures) / columns)
    size = (rows * (height + gap) + gap, columns * (width + gap) + gap, *rgb)
    sheet = np.full(size, GAP_SHADE, dtype=np.uint8)
    for k, picture in enumerate(pictures):
        top = k // columns * (height + gap) + gap
        left = k % columns * (width + gap) + gap
        sheet[top : top + height, left : left + width] = picture
    return sheet


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey pixels [H, W] as RGB, so that matplotlib applies no colour map; others unchanged."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)


def square_columns(count: int) -> int:
    """The number of columns that makes a sheet of `count` pictures about square."""
    return max(1, math.ceil(math.sqrt(count)))


def evenly(states: int, count: int) -> list[int]:
    """At most `count` evenly spread indices from 0 to states − 1, including both."""
    count = min(parse_integer(count, "count", minimum=2), states)
    return [round(k) for k in np.linspace(0, states - 1, count)]


@arguments_checked
def save_png(x: ImageLike, path: str | Path, *, scale: int | None = None) -> None:
    """Write one image [C, H, W] as PNG."""
    if (image := as_tensor(x)).ndim != 3:
        raise UserError(f"x has shape {list(image.shape)}; allowed: one image [C, H, W]")
    _write(_picture(enlarge(to_uint8(x), scale)), path)


@arguments_checked
def save_strip(sequence: ImageLike, path: str | Path, *, count: int = 10, scale: int | None = 3) -> None:
    """Write `count` evenly spread states of a sequence [state, C, H, W] as PNG, x_T on the left and x_0 on the right.

    Below each state stands the number of denoising steps that lead to it, if the sequence holds every state, and below
    them what the numbers are, if there is room.
    """
    states = as_stack(sequence, "sequence", "state")
    chosen = evenly(len(states), count)
    frames = [enlarge(to_uint8(states[k]), scale) for k in chosen]
    picture = _picture(mosaic(frames, len(frames)))
    _write(_labelled(picture, strip_labels(chosen), frames[0].shape[1] + GAP), path)


def strip_labels(chosen: Sequence[int]) -> list[str]:
    """The labels of states with these indices in a sequence."""
    return ["x_T", *map(str, chosen[1:-1]), f"x_0 ({chosen[-1]})"]


def _labelled(picture: Image.Image, labels: Sequence[str], pitch: int) -> Image.Image:
    """A picture of frames `pitch` pixels apart with a label centred below each, as small as the frames require."""
    from PIL import Image, ImageDraw, ImageFont

    for size in range(LABEL_PIXELS, SMALLEST_LABEL - 1, -1):
        font = ImageFont.load_default(size)
        if max(font.getlength(label) for label in labels) <= pitch:
            break
    title = ImageFont.load_default(LABEL_PIXELS)
    lines = 2 if title.getlength(STRIP_TITLE) <= picture.width else 1
    height = picture.height + lines * (LABEL_PIXELS + GAP) + (lines - 1) * BETWEEN
    sheet = Image.new(picture.mode, (picture.width, height), "white")
    sheet.paste(picture)
    for number, label in enumerate(labels):
        place = GAP / 2 + (number + 0.5) * pitch, picture.height + LABEL_PIXELS
        ImageDraw.Draw(sheet).text(place, label, fill="black", font=font, anchor="ms")
    if lines == 2:
        place = picture.width / 2, sheet.height - GAP
        ImageDraw.Draw(sheet).text(place, STRIP_TITLE, fill="black", font=title, anchor="mb")
    return sheet


@arguments_checked
def save_gif(
    sequence: ImageLike,
    path: str | Path,
    *,
    scale: int | None = None,
    milliseconds: int = MILLISECONDS,
    hold: int = HOLD,
) -> None:
    """Write a sequence [state, C, H, W] as an endless GIF that shows every state, and x_0 for `hold` ms."""
    frames = (
        _picture(enlarge(pixels, scale)) for pixels in to_uint8(as_stack(sequence, "sequence", "state"))
    )
    milliseconds, hold = parse_integer(milliseconds, "milliseconds", minimum=1), parse_integer(hold, "hold")
    write_gif(frames, path, milliseconds=milliseconds, hold=hold)


@arguments_checked
def contact_sheet(
    images: ImageLike, path: str | Path, *, columns: int | None = None, scale: int | None = 3
) -> None:
    """Write images [n, C, H, W] row by row as PNG; by default the sheet is about square."""
    pictures = [enlarge(pixels, scale) for pixels in to_uint8(as_stack(images, "images", "n"))]
    columns = square_columns(len(pictures)) if columns is None else columns
    _write(_picture(mosaic(pictures, columns)), path)


@arguments_checked
def render(
    path: Path,
    *,
    step: int | Literal["noise"] = -1,
    output_base_dir: Path,
    all_steps: bool = False,
    scale: int | None = None,
) -> list[Path]:
    """Write the pictures of a .pt file and return their paths.

    For a sequence [steps + 1, C, H, W] this is the state after step `step`, counted from 0 (0 to steps − 1; −1 for the
    last, which is x_0; "noise" for x_T) or, with `all_steps`, a strip and an animation; they go to
    `output_base_dir`/sequences. For a final tensor [C, H, W] or [1, C, H, W] it is the image, which goes to
    `output_base_dir`/final_tensors.

    Raises: UserError naming the file if it holds no images, or has no such step.
    """
    path, folder = Path(path), Path(output_base_dir)
    if not isinstance(step, int | str):
        raise UserError(f"{spelled('step')} is {describe(step)}; allowed: the number of a step, or 'noise'")
    x = tensor_files.load(path)
    if x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape:
        raise UserError(
            f"{path} has shape {list(x.shape)}; allowed: an image [C, H, W] or a sequence [steps + 1, C, H, W] with 1 channel "
            "(grey) or 3 (RGB)"
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
        # The checks of the values do not know the file.
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def _render_final(
    x: torch.Tensor, path: Path, folder: Path, step: int | str, all_steps: bool, scale: int | None
) -> Path:
    if all_steps or step != -1:
        option = spelled("all_steps", True) if all_steps else spelled("step", step)
        raise UserError(
            f"{path} holds one image, and {option} needs a sequence; leave it out or name another file"
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
    """The index of the state after `step` in a sequence, and its part of the file name."""
    if step == "noise":
        return 0, "noise"
    if not isinstance(step, int) or not -1 <= step < steps:
        raise UserError(
            f"{spelled('step')} is {step}, but {path} has {steps} steps; "
            f"allowed: 0 to {steps - 1}, -1 for the last, noise for x_T"
        )
    step = steps - 1 if step == -1 else step
    return step + 1, f"step_{step:04d}"


def _picture(pixels: np.ndarray) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _write(picture: Image.Image, path: str | Path) -> None:
    with write_output(path) as file:
        picture.save(file, "PNG")
