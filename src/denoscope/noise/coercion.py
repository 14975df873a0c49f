"""Conversion of noises and states of any array library to those that the package computes with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
import torch

from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.noise.array_noise import ArrayNoise
from denoscope.noise.directions import LARGEST
from denoscope.noise.noise_set import NoiseSet, Shape, check_shape

if TYPE_CHECKING:
    import xarray

NoiseLike: TypeAlias = "NoiseSet | torch.Tensor | np.ndarray | xarray.DataArray"
"""Noises of `ds.noise`, or an array [n, C, H, W] or [C, H, W]; see `as_noises`."""
StateLike: TypeAlias = NoiseLike
"""One state [C, H, W] or [1, C, H, W]; see `as_state`."""
IMAGE_DIMS = ("channel", "height", "width")
SAMPLE = "sample"
NOISE_COORDS = ("seed", "base", "epsilon", "u", "v")
"""The coordinates that describe a noise; a recording adds others, which describe its run."""


@arguments_checked
def as_noises(x: Any, *, shape: Shape | None, name: str = "x") -> NoiseSet:
    """Initial noises from noises of `ds.noise`, or from an array [n, C, H, W] or [C, H, W].

    The array may be a PyTorch tensor, a NumPy array or an xarray.DataArray; its values are copied to the CPU, in
    float64 if that is their dtype, otherwise in float32. An xarray.DataArray names its noises by its coordinate
    "sample" and keeps its coordinates `seed`, `base`, `epsilon`, `u` and `v`; all other noises are named
    noise_0000, noise_0001, …

    >>> as_noises(np.zeros((2, 1, 28, 28)), shape=(1, 28, 28)).names
    noise_0000, noise_0001

    Args:
        shape: the shape of the denoiser; None accepts any.
        name: the argument, as Python spells it, for messages.

    Raises: UserError naming the argument if `x` is not an array of finite floating-point numbers of this shape.
    """
    shape = shape if shape is None else check_shape(shape)
    allowed = f"noises of ds.noise, or a PyTorch, NumPy or xarray array {_layout(shape, 'n')}"
    if isinstance(x, NoiseSet):
        _check_inner(tuple(x.shape), shape, f"{spelled(name)} holds noises {list(x.shape)}", allowed)
        return x
    values = as_floats(x, name, allowed)
    _check_rank(values, shape, name, allowed)
    rows = values[None] if values.ndim == 3 else values
    if not len(rows):
        raise UserError(
            f"{spelled(name)} holds no noise: its shape is {list(values.shape)}; allowed: {allowed}"
        )
    _check_finite(rows, name)
    rows = rows.detach().to("cpu", torch.promote_types(rows.dtype, torch.float32), copy=True).contiguous()
    names, coords = _labels(x, len(rows)) if _is_xarray(x) else (None, {})
    return ArrayNoise(rows, names, coords)


@arguments_checked
def as_state(x: Any, *, shape: Shape | None, name: str) -> torch.Tensor:
    """One state [C, H, W] from an array [C, H, W] or [1, C, H, W], or from a set of one noise.

    The array may be a PyTorch tensor, a NumPy array or an xarray.DataArray. A tensor keeps its device and precision; it
    is detached from the graph of gradients.

    Args:
        shape: the shape of the denoiser; None accepts any.
        name: the argument, as Python spells it, for messages.

    Raises: UserError naming the argument if `x` is not one state of finite floating-point numbers of this shape.
    """
    shape = shape if shape is None else check_shape(shape)
    allowed = f"one state {_layout(shape, '1')} (PyTorch, NumPy or xarray), such as x.tensor(0)"
    if isinstance(x, NoiseSet):
        if len(x) != 1:
            raise UserError(f"{spelled(name)} holds {len(x)} noises; allowed: {allowed}")
        x = x.tensor(0)
    values = as_floats(x, name, allowed)
    _check_rank(values, shape, name, allowed)
    if values.ndim == 4:
        if len(values) != 1:
            raise UserError(f"{spelled(name)} has shape {list(values.shape)}; allowed: {allowed}")
        values = values[0]
    _check_finite(values, name)
    return values.detach()


def _check_finite(values: torch.Tensor, name: str) -> None:
    """Refuse values that are not finite, or so large that float32 overflows in a step."""
    if not values.isfinite().all():
        raise UserError(f"{spelled(name)} holds NaN or Inf{in_rows(values)}; allowed: finite numbers")
    if values.numel() and values.abs().max() > LARGEST:
        raise UserError(
            f"{spelled(name)} holds values beyond ±{LARGEST:.0e}, which overflow in float32; scale them down"
        )


def in_rows(values: torch.Tensor) -> str:
    """Which of several states [n, C, H, W] hold a value that is not finite, in words; nothing of one state."""
    if values.ndim != 4 or len(values) == 1:
        return ""
    wrong = (~values.isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    return (
        f" in row {wrong[0]}"
        + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        + f" of {len(values)}"
    )


def as_floats(x: Any, name: str, allowed: str) -> torch.Tensor:
    """The floating-point values of a PyTorch, NumPy or xarray array of any shape.

    Named image axes are moved to the end, as (channel, height, width). Values are copied, except those of a tensor.

    Args:
        name: the argument, as Python spells it, for messages.
        allowed: a description of the allowed values, for messages.

    Raises: UserError naming the argument if `x` is not an array of floating-point numbers.
    """
    if isinstance(x, (str, os.PathLike)):
        raise UserError(
            f"{spelled(name)} is {describe(x)}; allowed: {allowed}; read a folder with ds.noise.read({str(x)!r})"
        )
    array = _ordered(x).to_numpy() if _is_xarray(x) else x
    if isinstance(array, np.ndarray):
        return _from_numpy(array, name, allowed)
    if not isinstance(array, torch.Tensor):
        raise UserError(f"{spelled(name)} is {describe(x)}; allowed: {allowed}")
    if not array.is_floating_point() or array.layout != torch.strided or array.is_meta or array.is_quantized:
        kind = "meta" if array.is_meta else array.dtype if array.layout == torch.strided else array.layout
        raise UserError(
            f"{spelled(name)} is a {kind} tensor {list(array.shape)}; allowed: {allowed} of floating-point numbers"
        )
    return array


def _from_numpy(array: np.ndarray, name: str, allowed: str) -> torch.Tensor:
    masked = isinstance(array, np.ma.MaskedArray)
    if masked or array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise UserError(
            f"{spelled(name)} is {'a masked array' if masked else f'an array of {array.dtype}'} {list(array.shape)}; "
            f"allowed: {allowed} of floating-point numbers"
        )
    # A copy in native byte order: PyTorch reads no other, nor negative strides.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _check_rank(values: torch.Tensor, shape: Shape | None, name: str, allowed: str) -> None:
    received = f"{spelled(name)} has shape {list(values.shape)}"
    if values.ndim not in (3, 4):
        raise UserError(f"{received}; allowed: {allowed}")
    _check_inner(tuple(values.shape[-3:]), shape, received, allowed)


def _check_inner(inner: tuple[int, ...], shape: Shape | None, received: str, allowed: str) -> None:
    if (shape is not None and inner != tuple(shape)) or 0 in inner:
        raise UserError(f"{received}; allowed: {allowed}")


def _layout(shape: Shape | None, rows: str) -> str:
    inner = "C, H, W" if shape is None else ", ".join(map(str, shape))
    return f"[{inner}] or [{rows}, {inner}]"


def _is_xarray(x: Any) -> TypeGuard[xarray.DataArray]:
    """Whether `x` is an xarray.DataArray; xarray is not imported to find out."""
    kind = type(x)
    return kind.__module__.partition(".")[0] == "xarray" and kind.__name__ == "DataArray"


def _ordered(x: xarray.DataArray) -> xarray.DataArray:
    """The array with its image axes last, if they are named."""
    return x.transpose(..., *IMAGE_DIMS) if set(IMAGE_DIMS) <= set(x.dims) else x


def _labels(x: xarray.DataArray, count: int) -> tuple[tuple[str, ...] | None, Mapping[str, np.ndarray]]:
    """The names of the samples and the coordinates of their noises, if the array has them."""
    if SAMPLE not in x.coords:
        return None, {}
    names = np.atleast_1d(x[SAMPLE].to_numpy())
    if len(names) != count:  # one sample's name on another axis
        return None, {}
    coords = {
        name: np.atleast_1d(x[name].to_numpy())
        for name in NOISE_COORDS
        if name in x.coords and x[name].dims == x[SAMPLE].dims
    }
    return tuple(map(str, names)), coords
