"""The plan of a recording: its entire content, described before the first step is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from denoscope.foundation.errors import UserError
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.completion import Mark

if TYPE_CHECKING:
    import numpy as np
    import torch

FORMAT = "denoscope recording"
"""The attribute `format` of every recording."""
FORMAT_VERSION = 1
ESTIMATES = "x_0_estimates"
IMAGES = ("sequence", "final", ESTIMATES)
"""The arrays that are not states of layers."""
IMAGE_DIMS = ("channel", "height", "width")
COMPLETE, NONFINITE = "complete", "nonfinite"
"""The flags of samples (sample), and of their states (sample, state)."""
BRANCH = "branch"
FormatName = Literal["zarr", "pt", "memory"]
"""How a recording is stored."""
DIMS = ("sample", "state", "step", BRANCH)


@dataclass(frozen=True)
class ArrayPlan:
    """One array of a recording: `count` entries along `time_dim` ("state" or "step") for each sample.

    `inner` is the shape of an entry. `time_dim` is None if a sample has only one.
    """

    name: str
    inner: tuple[int, ...]
    inner_dims: tuple[str, ...]
    dtype: np.dtype[Any]
    time_dim: str | None = None
    count: int = 1
    note: str = ""
    """A remark for the user; it is displayed, not stored."""

    @property
    def dims(self) -> tuple[str, ...]:
        return ("sample", *((self.time_dim,) if self.time_dim else ()), *self.inner_dims)

    @property
    def stored_dims(self) -> tuple[str, ...]:
        """The names of the dimensions in a store. Those of a layer's states start with its address: their sizes differ."""
        if self.name in IMAGES:
            return self.dims
        prefixed = [dim for dim in self.inner_dims if dim != BRANCH]
        return tuple(f"{self.name}.{dim}" if dim in prefixed else dim for dim in self.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all entries of one sample."""
        return (*((self.count,) if self.time_dim else ()), *self.inner)

    @property
    def missing(self) -> Any:
        """The value in place of one that was not recorded: NaN, or 0 if the dtype has no NaN."""
        from denoscope.foundation.dtypes import missing_value, torch_dtype

        return self.dtype.type(missing_value(torch_dtype(self.dtype)))

    @property
    def entry_bytes(self) -> int:
        return math.prod(self.inner) * self.dtype.itemsize


@dataclass(frozen=True)
class Plan:
    """The arrays of a recording, its samples with their coordinates, and its provenance.

    `lanes` samples form a group: they share shards and are finished together. `in_flight` samples are computed at once,
    which takes at least `held_bytes` of memory beside the network. `steps` is the number of denoising steps. `coords`
    maps a name to (dimension, values), `layer_folders` a layer to its folder in the format "pt". `attrs` are the
    attributes, as JSON values.
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
    def extent(self) -> Extent:
        return Extent(len(self.samples), self.lanes, self.steps + 1)

    @property
    def groups(self) -> range:
        return self.extent.groups

    @property
    def groups_at_once(self) -> int:
        """How many groups are in flight."""
        return -(-self.in_flight // self.lanes)

    def samples_of(self, group: int) -> range:
        """Return the indices of the samples in a group."""
        return self.extent.samples_of(group)

    def check_names(self, layers: Sequence[str]) -> None:
        """Check that no layer has a name that a recording uses itself.

        Raises: UserError if one does.
        """
        taken = {*IMAGES, *DIMS, COMPLETE, NONFINITE, *self.coords}
        if clash := sorted(taken.intersection(layers)):
            raise UserError(
                f"layer {clash[0]!r} cannot be recorded, since recordings use this name for an array of their own; "
                "rename the module"
            )


class Unit(Protocol):
    """The groups in flight. Rows are their samples, group after group."""

    def append(self, name: str, rows: torch.Tensor) -> None:
        """Write the next entry [n, …] of an array."""

    def flag(self, nonfinite: np.ndarray) -> None:
        """Write which rows of the next state hold NaN or Inf, [n] bool."""


class StoredUnit(Unit, Protocol):
    """The groups in flight of a writer into a store."""

    def finish(self) -> None:
        """Make all files visible, and last the mark of each group."""

    def discard(self) -> None:
        """Drop what is unfinished."""


class Writer(Protocol):
    """Writes a recording. A unit is stored whole at the end of its block, or not at all."""

    @property
    def finished(self) -> Mapping[int, Mark]:
        """The groups that were finished before and match their checksums."""

    def unit(self, groups: Sequence[int]) -> AbstractContextManager[Unit]:
        """Start groups, which are finished when the block ends without an error."""


def as_array(rows: torch.Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """Return rows on the host as a contiguous array of the stored dtype."""
    import numpy as np
    import torch

    if rows.dtype == torch.bfloat16:
        rows = rows.float()
    return np.ascontiguousarray(rows.detach().cpu().numpy(), dtype=dtype)
