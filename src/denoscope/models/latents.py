"""Latents, and the images that a pipeline's VAE makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import xarray

    Values = torch.Tensor | np.ndarray | xarray.DataArray


@torch.no_grad()
def decode(
    source: Any, latents: Values, *, batch_size: int = 8, height: int | None = None, width: int | None = None
) -> torch.Tensor:
    """The images [n, 3, H, W] of latents [n, C, h, w], or packed [n, token, feature], about −1 to 1.

    >>> images = ds.decode(pipe, ds.open("run.zarr").final)

    They are z/s + b with the scaling and shift of the VAE's configuration, or zσ/s + μ where it has means and
    standard deviations, through its decoder. (images / 2 + 0.5).clamp(0, 1) is what the pipeline returns for
    output_type="pt", with the same bits where `batch_size` is the pipeline's own number of samples.

    Args:
        source: a diffusers pipeline, or its VAE alone.
        height, width: of the images, which packed latents do not tell.

    Raises: UserError if there is no VAE, or the latents are not of its kind.
    """
    vae: Any = source if hasattr(source, "decode") else getattr(source, "vae", None)
    if not hasattr(vae, "decode"):
        raise UserError(
            f"{type(source).__name__} has no vae; its states are no latents, or name another source"
        )
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; allowed: a whole number of at least 1")
    z = latents if isinstance(latents, torch.Tensor) else torch.from_numpy(np.array(latents))
    if z.ndim == 3:
        z = _unpacked(z, vae, height, width)
    channels = vae.config.get("latent_channels")
    if z.ndim != 4 or len(z) == 0 or channels not in (None, z.shape[1]):
        raise UserError(f"latents have shape {list(z.shape)}; this vae takes [n, {channels}, h, w]")
    with _wide_enough(vae, source):
        device = next(vae.parameters()).device
        parts = [_scaled(part.to(device, vae.dtype), vae, source) for part in z.split(batch_size)]
        return torch.cat([vae.decode(part, return_dict=False)[0].cpu() for part in parts])


def _scaled(z: torch.Tensor, vae: Any, source: Any) -> torch.Tensor:
    """Latents as the decoder takes them, rounded as the pipeline rounds."""
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
    """Latents [n, C, h, w] from Flux's tokens, each of which holds 2 by 2 of them."""
    if height is None or width is None:
        raise UserError(
            f"latents {list(z.shape)} are packed, which hides the size of the images; give height and width"
        )
    side = 2 * 2 ** (len(vae.config.block_out_channels) - 1)
    rows, columns = height // side, width // side
    if rows * columns != z.shape[1] or z.shape[2] % 4:
        raise UserError(
            f"latents {list(z.shape)} are not those of images of {height} by {width}, which have "
            f"{rows * columns} tokens of 4 times the vae's channels"
        )
    tiles = z.unflatten(2, (-1, 2, 2)).unflatten(1, (rows, columns))
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(z), -1, 2 * rows, 2 * columns)


@contextmanager
def _wide_enough(vae: Any, source: Any) -> Iterator[None]:
    """Let SDXL's decoder compute in float32, as its pipelines do: in float16 it overflows."""
    if vae.dtype != torch.float16 or not vae.config.get("force_upcast") or not hasattr(source, "upcast_vae"):
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(torch.float16)
