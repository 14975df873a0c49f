"""Images decoded from latents by the VAE of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.validation import describe, parse_integer

if TYPE_CHECKING:
    import xarray


@torch.no_grad()
@calls_checked
def decode(
    source: Any,
    latents: torch.Tensor | np.ndarray | xarray.DataArray,
    *,
    batch_size: int = 8,
    height: int | None = None,
    width: int | None = None,
) -> torch.Tensor:
    """The images [n, 3, H, W], about −1 to 1, of latents [n, C, h, w] or packed latents [n, token, feature].

    >>> images = ds.decode(pipe, ds.open("run.zarr").final)

    The decoder receives z/s + b with the scaling s and shift b of the VAE's configuration, or zσ/s + μ if that has
    means and standard deviations. (images / 2 + 0.5).clamp(0, 1) is what the pipeline returns for output_type="pt";
    the bits are the same if `batch_size` is the pipeline's number of samples.

    Args:
        source: a diffusers pipeline, or its VAE alone.
        height, width: of the images; required for packed latents, which do not contain them.

    Raises: UserError if there is no VAE, or the latents do not fit it.
    """
    vae: Any = source if isinstance(source, nn.Module) else getattr(source, "vae", None)
    is_vae = isinstance(vae, nn.Module) and hasattr(vae, "decode")
    if not is_vae:
        raise UserError(
            f"source is {describe(source)}, which is without a vae; allowed: a pipeline with a vae, or a vae alone"
        )
    batch_size = parse_integer(batch_size, "batch_size", minimum=1)
    z = _parse_latents(latents)
    if z.ndim == 3:
        z = _unpacked(z, vae, height, width)
    channels = vae.config.get("latent_channels")
    if z.ndim != 4 or len(z) == 0 or channels not in (None, z.shape[1]):
        raise UserError(f"latents have shape {list(z.shape)}; allowed by this vae: [n, {channels}, h, w]")
    with _wide_enough(vae, source):
        device = next(vae.parameters()).device
        parts = [_scaled(part.to(device, vae.dtype), vae, source) for part in z.split(batch_size)]
        return torch.cat([vae.decode(part, return_dict=False)[0].cpu() for part in parts])


def _parse_latents(latents: Any) -> torch.Tensor:
    """The latents as a tensor of floating-point numbers."""
    check_unmasked(latents, "latents")
    try:
        z = latents if isinstance(latents, torch.Tensor) else torch.from_numpy(np.array(latents))
    except (TypeError, ValueError):
        z = torch.empty(0, dtype=torch.bool)
    if not z.is_floating_point():
        raise UserError(
            f"latents is {describe(latents)}; allowed: a PyTorch, NumPy or xarray array [n, c, h, w] of floating-point numbers"
        )
    return z


def _scaled(z: torch.Tensor, vae: Any, source: Any) -> torch.Tensor:
    """Latents as the decoder takes them, with the rounding of the pipeline."""
    config, factor = vae.config, vae.config.scaling_factor
    if type(source).__name__ == "DiTPipeline":
        return 1 / factor * z
    mean, std = (config.get(name) for name in ("latents_mean", "latents_std"))
    if mean is not None and std is not None:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(z) for values in (mean, std))
        return z * std / factor + mean
    shift = config.get("shift_factor")
    return z / factor if shift is None else (z / factor) + shift


def _unpacked(z: torch.Tensor, vae: Any, height: int | None, width: int | None) -> torch.Tensor:
    """Latents [n, C, h, w] from tokens of Flux, each of which holds a square of 2 by 2 latents."""
    if height is None or width is None:
        raise UserError(
            f"latents {list(z.shape)} are packed and do not contain the size of the images; pass height and width"
        )
    side = 2 * 2 ** (len(vae.config.block_out_channels) - 1)
    rows, columns = height // side, width // side
    if rows * columns != z.shape[1] or z.shape[2] % 4:
        raise UserError(
            f"latents have shape {list(z.shape)}; images of {height} by {width} have {rows * columns} tokens, each of "
            "4 times the vae's channels"
        )
    tiles = z.unflatten(2, (-1, 2, 2)).unflatten(1, (rows, columns))
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(z), -1, 2 * rows, 2 * columns)


@contextmanager
def _wide_enough(vae: Any, source: Any) -> Iterator[None]:
    """Run SDXL's decoder in float32, as its pipelines do: it overflows in float16."""
    if vae.dtype != torch.float16 or not vae.config.get("force_upcast") or not hasattr(source, "upcast_vae"):
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(torch.float16)
