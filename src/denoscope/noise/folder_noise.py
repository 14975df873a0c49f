"""Noises in a folder of .pt files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.tensor_folders import tensors_in
from denoscope.foundation.validation import describe
from denoscope.foundation.writing.staged_files import check_finished
from denoscope.noise import gaussian_norms
from denoscope.noise.directions import LARGEST
from denoscope.noise.noise_files import parameters_of, read_manifest, samples_of
from denoscope.noise.noise_set import NoiseSet, Shape, check_shape

ADVICE = "make some with `denoscope noise random`"
MISSING = {"base": ""}
"""The value of a coordinate for noises that do not have it; NaN for coordinates that are not listed."""


@dataclass(frozen=True, eq=False, repr=False)
class FolderNoise(NoiseSet):
    """The .pt files of a folder, each read when its noise is used; made by `read`."""

    folder: Path
    file_names: tuple[str, ...]
    """The names of the files without .pt."""
    shape: Shape
    dtype: torch.dtype
    sets: tuple[Mapping[str, Any], ...]
    """The parameters of the sets of noises that were written into the folder."""
    given_coords: Mapping[str, np.ndarray]
    norms: tuple[float, float]
    """The smallest and the largest norm (L2) of the noises."""

    def __len__(self) -> int:
        return len(self.file_names)

    def _name(self, index: int) -> str:
        return self.file_names[index]

    def _tensor(self, index: int) -> torch.Tensor:
        return _read(self.folder / f"{self.file_names[index]}.pt", self.shape, "the folder").to(self.dtype)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        return dict(self.given_coords)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"kind": "folder", "sets": [dict(content) for content in self.sets]}

    @property
    def warnings(self) -> list[str]:
        """A line if a norm is one that so many Gaussian noises have in fewer than one in a million folders."""
        return gaussian_norms.warnings(
            f"the noises in {self.folder}",
            self.norms,
            self.shape,
            advice=f"scale them, or {ADVICE}",
            count=len(self),
        )

    def located(self) -> NoiseSet:
        return replace(self, folder=self.folder.absolute())

    @property
    def stem(self) -> str:
        return self.folder.name

    def _summary(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "dtype": str(self.dtype)}


@arguments_checked
def read(folder: str | os.PathLike[str], *, shape: Shape | None = None) -> FolderNoise:
    """The noises of a folder of .pt tensors, each [C, H, W] or [1, C, H, W], in the order of their names.

    All files are checked first; hidden files, whose names begin with a dot, are ignored. Coordinates come from the JSON
    files beside the tensors; a noise without a coordinate gets NaN (or an empty `base`). The `warnings` of the result say
    so where norms are not those of Gaussian noise, √(C·H·W) ± 3.4 for one noise; recordings repeat them.

    Args:
        shape: the shape of the denoiser; by default that of the first file.

    Raises: UserError naming the first file that is not a finite floating-point tensor of the right shape, or does not
        match its checksum; or the folder, if the process that wrote it was stopped before all files had their places.
    """
    shape = shape if shape is None else check_shape(shape)
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder of inputs; {ADVICE}")
    check_finished(folder)
    paths = tensors_in(folder)
    if not paths:
        raise UserError(f"{folder}: holds no .pt tensors; {ADVICE}")
    whose = "the first noise" if shape is None else "the model"
    dtype, norms = torch.float32, []
    for path in paths:
        noise = _read(path, shape, whose)
        channels, height, width = noise.shape
        shape, dtype = (channels, height, width), torch.promote_types(dtype, noise.dtype)
        norms.append(float(noise.double().norm()))
    assert shape is not None
    names = tuple(path.stem for path in paths)
    if invalid := next((name for name in names if not _is_utf8(name)), None):
        raise UserError(f"{folder}: the name of the file {invalid!r}.pt is not UTF-8; rename it")
    manifest_paths = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    manifests = [content for path in manifest_paths if (content := read_manifest(path))]
    return FolderNoise(
        folder=folder,
        file_names=names,
        shape=shape,
        dtype=dtype,
        sets=tuple(parameters_of(content) for content in manifests),
        given_coords=_coords(folder, names, manifests),
        norms=(min(norms), max(norms)),
    )


def _read(path: Path, shape: Shape | None, whose: str) -> torch.Tensor:
    """One noise of the folder.

    Args:
        shape: what it must be.
        whose: what has this shape, for the message.
    """
    noise = tensor_files.load(path)
    if not noise.is_floating_point():
        raise UserError(f"{path}: holds {noise.dtype}; allowed: a floating-point tensor")
    stored = tuple(noise.shape)
    inner = stored[1:] if len(stored) == 4 and stored[0] == 1 else stored
    if len(inner) != 3 or (shape is not None and inner != tuple(shape)):
        allowed = "[C, H, W] or [1, C, H, W]"
        if shape is not None:
            allowed = f"{list(shape)} or {[1, *shape]}, as {whose} has it"
        raise UserError(f"{path}: holds a tensor of shape {list(stored)}; allowed: {allowed}")
    if not torch.isfinite(noise).all():
        raise UserError(f"{path}: holds NaN or Inf; allowed: finite values")
    if noise.abs().max() > LARGEST:
        raise UserError(
            f"{path}: holds values beyond ±{LARGEST:.0e}, which overflow in float32; scale the noise down"
        )
    return noise.reshape(inner)


def _is_utf8(name: str) -> bool:
    """Whether a name can be stored: Python represents bytes that are not UTF-8 by lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _coords(folder: Path, names: tuple[str, ...], manifests: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    entries = {entry["name"]: entry for content in manifests for entry in samples_of(content)}
    chosen = [entries.get(name, {}) for name in names]
    keys = dict.fromkeys(key for entry in chosen for key in entry if key != "name")
    return {key: _column(folder, key, [entry.get(key) for entry in chosen]) for key in keys}


def _column(folder: Path, key: str, values: list[Any]) -> np.ndarray:
    """One coordinate of all noises.

    Raises: UserError if it mixes texts and numbers, or holds an integer beyond 64 bits.
    """
    column = np.array([MISSING.get(key, math.nan) if value is None else value for value in values])
    texts = [value for value in values if isinstance(value, str)]
    if column.dtype == object or len(texts) not in (0, len(values) - values.count(None)):
        raise UserError(
            f"{folder}: its JSON files give {key} as {describe(values)}; allowed: all numbers of 64 bits, or all strings"
        )
    return column
