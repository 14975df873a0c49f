"""What a recording will hold, settled before the first step is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

from denoscope.foundation.errors import UserError
from denoscope.storage.completion import Mark

FORMAT = "denoscope recording"
FORMAT_VERSION = 1
ESTIMATES = "x_0_estimates"
IMAGES = ("sequence", "final", ESTIMATES)
IMAGE_DIMS = ("channel", "height", "width")
COMPLETE, NONFINITE = "complete", "nonfinite"
BRANCH = "branch"
FormatName = Literal["zarr", "pt", "memory"]
"""How a recording is stored."""
DIMS = ("sample", "state", "step", BRANCH)


@dataclass(frozen=True)
class ArrayPlan:
    """One array of a recording: `count` entries along `time_dim` ("state" or "step") for each sample.

    `time_dim` is None where only one entry is kept for each sample.
    """

    name: str
    inner: tuple[int, ...]
    inner_dims: tuple[str, ...]
    dtype: np.dtype[Any]
    time_dim: str | None = None
    count: int = 1
    note: str = ""
    """What a user should know of it; told, not stored."""

    @property
    def dims(self) -> tuple[str, ...]:
        return ("sample", *((self.time_dim,) if self.time_dim else ()), *self.inner_dims)

    @property
    def stored_dims(self) -> tuple[str, ...]:
        """Names in a store, where a layer's own ones carry its address, since their sizes differ."""
        if self.name in IMAGES:
            return self.dims
        own = [dim for dim in self.inner_dims if dim != BRANCH]
        return tuple(f"{self.name}.{dim}" if dim in own else dim for dim in self.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's entries."""
        return (*((self.count,) if self.time_dim else ()), *self.inner)

    @property
    def entry_bytes(self) -> int:
        return math.prod(self.inner) * self.dtype.itemsize


@dataclass(frozen=True)
class Plan:
    """The arrays of a recording, its samples with their coordinates, and where it comes from.

    `lanes` samples make a group, which shares shards and is finished together; `in_flight` samples are
    computed at once, which holds at least `held_bytes` of memory beside the network. `steps` counts those
    of denoising, whatever calls each takes. `coords` maps a name to (dimension, values); `layer_folders` maps a layer to its
    folder in the layout of .pt files; `format` says how it all lies on disk.
    """

    samples: tuple[str, ...]
    steps: int
    lanes: int
    arrays: tuple[ArrayPlan, ...]
    coords: Mapping[str, tuple[str, np.ndarray]]
    attrs: Mapping[str, Any]
    format: FormatName
    codec: str = "none"
    in_flight: int = 8
    held_bytes: int = 0
    layer_folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_bytes(self) -> int:
        return len(self.samples) * sum(array.count * array.entry_bytes for array in self.arrays)

    @property
    def groups(self) -> range:
        return range(-(-len(self.samples) // self.lanes))

    def samples_of(self, group: int) -> range:
        """Indices of the samples in one group."""
        return range(group * self.lanes, min((group + 1) * self.lanes, len(self.samples)))

    def check_names(self, layers: Sequence[str]) -> None:
        """Refuse layers whose names a recording needs for something else."""
        taken = {*IMAGES, *DIMS, COMPLETE, NONFINITE, *self.coords}
        if clash := sorted(taken.intersection(layers)):
            raise UserError(
                f"layer {clash[0]!r} cannot be recorded under this name, which a recording needs for itself; "
                "rename the module"
            )


class Unit(Protocol):
    """The groups in flight, as a writer sees them; rows are their samples, one group behind the other."""

    def append(self, name: str, rows: torch.Tensor) -> None:
        """Take the next entry of array `name`, [n, …]."""

    def flag(self, nonfinite: np.ndarray) -> None:
        """Take for the next state which rows hold NaN or Inf, [n] bool."""


class Writer(Protocol):
    """Somewhere that recordings go. Each unit is there whole after its block, or not at all."""

    @property
    def finished(self) -> Mapping[int, Mark]:
        """The groups that were there already and match their checksums."""

    def unit(self, groups: Sequence[int]) -> AbstractContextManager[Unit]:
        """Groups to be written; they count as finished when the block ends well."""


def as_array(rows: torch.Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """Rows on the host as a contiguous array of the stored dtype."""
    if rows.dtype == torch.bfloat16:
        rows = rows.float()
    return np.ascontiguousarray(rows.detach().cpu().numpy(), dtype=dtype)
