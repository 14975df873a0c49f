"""Validation of images for the classifiers of digits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.validation import describe
from denoscope.models.classifier.bundled_classifiers import SHAPES

AXES = ("sample", "channel", "height", "width")


def check_images(images: Any) -> None:
    """Refuse images of a shape or dtype that no classifier takes."""
    parse_images(images)


def parse_images(
    images: Any, shapes: Collection[tuple[int, int, int]] = SHAPES
) -> tuple[Any, tuple[str, ...] | None]:
    """The images as an array [n, C, H, W] that can be sliced along n, and the samples' names if it has some.

    Args:
        shapes: (C, H, W) of the images that are allowed.
    """
    check_unmasked(images, "images")
    names = None
    # Recognised by its attributes, so that a tensor is classified without importing xarray.
    if hasattr(images, "dims") and hasattr(images, "coords") and hasattr(images, "dtype"):
        if set(images.dims) == set(AXES):
            images = images.transpose(*AXES)
        if "sample" in images.coords:
            names = tuple(str(name) for name in np.atleast_1d(images.coords["sample"].values))
        _check_finished(images, names)
    elif not isinstance(images, torch.Tensor):
        images = _as_array(images)
    _check_shape_and_dtype(images, shapes)
    if len(images.shape) == 3:
        images = (images.values if hasattr(images, "coords") else images)[None]
    return images, names if names is not None and len(names) == len(images) else None


def _check_finished(images: Any, names: tuple[str, ...] | None) -> None:
    """Refuse samples of a recording that were not computed yet."""
    if names is None or "complete" not in images.coords:
        return
    complete = np.atleast_1d(images.coords["complete"].values)
    if complete.shape == (len(names),) and not complete.all():
        first = names[int(np.argmin(complete))]
        raise UserError(
            f"{np.count_nonzero(~complete)} of {len(names)} samples are not finished, the first is {first}; resume the "
            "recording, or choose the finished ones: images[images.complete]"
        )


def _as_array(images: Any) -> np.ndarray:
    """An array of numbers from a list or from any object that NumPy reads."""
    try:
        array = np.asarray(images)
    except (TypeError, ValueError):
        array = np.empty((), object)
    if array.dtype.kind not in "biufc":
        raise UserError(
            f"images is {describe(images)}; allowed: an array {_allowed(SHAPES)} of PyTorch, NumPy or xarray, such as "
            "recording.final, the x_0 of a recording"
        )
    return array


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The precision in which images of a precision are classified."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def finite_rows(rows: Any, start: int, names: tuple[str, ...] | None) -> torch.Tensor:
    """Rows of images as a tensor on the CPU, in float64 if they are in float64, otherwise in float32.

    Args:
        start: the position of the first row among all images, for the message.

    Raises: UserError naming the first image that is not finite.
    """
    if not isinstance(rows, torch.Tensor):
        # A copy, since torch warns about arrays that cannot be written to.
        rows = torch.from_numpy(np.array(rows, dtype=np.float64 if rows.dtype == np.float64 else np.float32))
    rows = rows.detach().to("cpu", computed_in(rows.dtype))
    finite = rows.float().isfinite().flatten(1).all(1)
    if not finite.all():
        k = start + int(finite.long().argmin())
        which = f"image {k}" if names is None else f"image {k} ({names[k]})"
        raise UserError(
            f"{which} holds NaN or values beyond float32; allowed: finite values in [-1, 1]; leave it out"
        )
    return rows


def _check_shape_and_dtype(images: Any, shapes: Collection[tuple[int, int, int]]) -> None:
    shape = tuple(images.shape)
    if shape[-3:] not in shapes or len(shape) not in (3, 4):
        hint = "; select one state of a sequence first" if len(shape) == 5 else ""
        raise UserError(
            f"images have shape {list(shape)}; allowed: {_allowed(shapes)}, one channel in [-1, 1]{hint}"
        )
    dtype = name_of(images.dtype)
    if "float" not in dtype:
        raise UserError(
            f"images have dtype {dtype}; allowed: floating point in [-1, 1]; x / 127.5 - 1 converts pixels 0 to 255"
        )


def _allowed(shapes: Collection[tuple[int, int, int]]) -> str:
    """The shapes of one image or several, in words."""
    return " or ".join(f"[n, {', '.join(map(str, shape))}] or {list(shape)}" for shape in shapes)
