"""Reducing a layer's state before it is stored: to a part of it, a mean, its norm, or a random projection.

States are reduced on the device where they were computed, and row by row: the last bits of a product or a sum over a
batch can depend on the number of rows and on a row's place among them; those of a single row do not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import torch

from denoscope.foundation import random_streams
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.dtypes import COMPUTED
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.index_texts import ALLOWED, count, parse_choice

NAMES = {1: ("feature",), 2: ("token", "feature"), 3: ("channel", "height", "width")}
"""The names of a state's axes by their number."""
AXES = {"channels": ("channel", "feature"), "height": ("height",), "width": ("width",)}
"""The axes that each option chooses from."""
REDUCTIONS = "none, spatial_mean, channel_mean, norm, or project:K with K of at least 1"
LARGEST_MATRIX = 2**30
"""The largest float32 matrix of a projection, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The part of each state that is stored, and a reduction of it.

    First the part: `channels` (the features of a state of tokens), `height` and `width` are Python slices "0:8", "::2",
    indices "5" or lists "0,3,7", None for all; an axis of one entry stays an axis. Then `reduce`:

    - "none"
    - "spatial_mean", the mean over all axes except the channels
    - "channel_mean", the mean over the channels
    - "norm", the L2 norm of the whole state, one number
    - "project:K", a projection to K dimensions, y = Rx with R_ij from N(0, 1/K), drawn once from (seed, size of the
      state). It preserves the expectation of squared distances; the factor of a single one has a standard deviation of
      √(2/K) (12 % at K = 128, 4 % at K = 1000). The matrix takes 4·K·size bytes of the device's memory for each size of
      state, in float64 another 8·K·size.

    Then `flatten` joins the remaining axes into one. Means, norms and projections of float16 and bfloat16 states are
    computed and returned in float32, those of float64 and integer states in float64.

    Raises: UserError if a text or a reduction is not one of these.
    Source of the projection: Johnson and Lindenstrauss, Contemporary Mathematics 26, 189 (1984); Indyk and Motwani,
        STOC 30, 604 (1998) for Gaussian entries.
    """

    channels: str | None
    height: str | None
    width: str | None
    reduce: str
    flatten: bool
    seed: int
    _matrices: dict[tuple[int, torch.device, torch.dtype], torch.Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for option, text in self._texts().items():
            if text is not None and parse_choice(text) is None:
                raise UserError(f"{spelled(option)} is {text!r}; allowed: {ALLOWED}")
        if not re.fullmatch(r"none|spatial_mean|channel_mean|norm|project:[1-9]\d*", self.reduce):
            raise UserError(f"{spelled('reduce')} is {self.reduce!r}; allowed: {REDUCTIONS}")

    @property
    def projected(self) -> int | None:
        """K of a projection, otherwise None."""
        return int(self.reduce.removeprefix("project:")) if self.reduce.startswith("project:") else None

    def shape(self, inner: tuple[int, ...], layer: str = "") -> tuple[int, ...]:
        """The stored shape of one sample's state of shape `inner`.

        Raises:
            UserError: if the selection does not fit it, naming `layer`.
        """
        return tuple(size for _, size in self._axes(inner, layer))

    def dims(self, inner: tuple[int, ...], layer: str = "") -> tuple[str, ...]:
        """The names of the stored axes of one sample's state of shape `inner`."""
        return tuple(name for name, _ in self._axes(inner, layer))

    def dtype(self, inner: torch.dtype) -> torch.dtype:
        """The stored dtype of states of dtype `inner`.

        Raises: UserError if complex states are to be reduced.
        """
        if self.reduce == "none":
            return inner
        if inner.is_complex:
            raise UserError(
                f"{spelled('reduce')} is {self.reduce!r}, but the states are complex; allowed: none"
            )
        return _computed_in(inner)

    def matrix_bytes(self, inner: tuple[int, ...]) -> int:
        """The bytes of a projection's float32 matrix for states of shape `inner`; 0 without a projection."""
        return 4 * (self.projected or 0) * math.prod(size for _, size in self._part(inner, ""))

    def apply(self, state: torch.Tensor) -> torch.Tensor:
        """The states [n, …] as they are stored, [n, *shape].

        A view of `state` if only slices are taken, and `state` itself if nothing is done.
        """
        inner = tuple(state.shape[1:])
        stored, names = self._axes(inner, ""), names_of(inner)
        for option, choice in self._choices().items():
            if choice is not None:
                axis = 1 + next(k for k, name in enumerate(names) if name in AXES[option])
                state = _selected(state, axis, choice)
        if self.reduce != "none":
            computed = _computed_in(state.dtype)
            state = torch.stack([self._reduced(row.to(computed).contiguous()) for row in state])
        return state.flatten(1) if self.flatten and len(stored) < state.ndim - 1 else state

    def _reduced(self, row: torch.Tensor) -> torch.Tensor:
        """The reduction of one sample's state [*inner]."""
        channel = 0 if row.ndim == 3 else row.ndim - 1
        if self.reduce == "spatial_mean":
            return row.mean([axis for axis in range(row.ndim) if axis != channel])
        if self.reduce == "channel_mean":
            return row.mean(channel)
        if self.reduce == "norm":
            # In float64, since torch adds the squares one after another.
            return torch.linalg.vector_norm(row, dtype=torch.float64).to(row.dtype)
        # A copy, since the last bits of a product also depend on the alignment of the row in memory.
        return self._matrix(row) @ row.reshape(-1).clone()

    def _matrix(self, row: torch.Tensor) -> torch.Tensor:
        """The projection [K, size] for states like `row`; drawn once and cached."""
        key = row.numel(), row.device, row.dtype
        if key not in self._matrices:
            matrix = _gaussian(self.projected or 0, row.numel(), self.seed)
            self._matrices[key] = matrix.to(row.device, row.dtype)
        return self._matrices[key]

    def _texts(self) -> dict[str, str | None]:
        return {"channels": self.channels, "height": self.height, "width": self.width}

    def _choices(self) -> dict[str, slice | list[int] | None]:
        """The chosen entries of each axis, by option."""
        return {
            option: None if text is None else parse_choice(text) for option, text in self._texts().items()
        }

    def _part(self, inner: tuple[int, ...], layer: str) -> list[tuple[str, int]]:
        """Name and size of each axis after channels, height and width are chosen."""
        axes = list(zip(names_of(inner), inner, strict=True))
        for option, choice in self._choices().items():
            if choice is None:
                continue
            text = self._texts()[option]
            at = next((k for k, (name, _) in enumerate(axes) if name in AXES[option]), None)
            if at is None:
                raise UserError(
                    f"{_states(layer, inner)}: {spelled(option)} is {text!r}, but there is no axis for {option}; leave it "
                    "out"
                )
            name, size = axes[at]
            number = count(choice, size)
            if not number:
                raise UserError(
                    f"{_states(layer, inner)}: {spelled(option)} is {text!r}, which does not fit its {size} {name}s; "
                    f"allowed: a choice of at least one of 0 to {size - 1}"
                )
            axes[at] = name, number
        return axes

    def _axes(self, inner: tuple[int, ...], layer: str) -> list[tuple[str, int]]:
        """Name and size of each stored axis."""
        axes = self._part(inner, layer)
        if self.reduce.endswith("_mean"):
            if len(inner) not in (2, 3):
                raise UserError(
                    f"{_states(layer, inner)}: {spelled('reduce', self.reduce)} takes states [channel, height, width] or "
                    "[token, feature]; choose none, norm or project:K"
                )
            spatial = self.reduce == "spatial_mean"
            axes = [axis for axis in axes if (axis[0] in AXES["channels"]) is spatial]
        elif self.reduce == "norm":
            axes = []
        elif self.projected:
            self._check_matrix(inner, self.projected, layer)
            axes = [("projection", self.projected)]
        return [("feature", math.prod(size for _, size in axes))] if self.flatten and len(axes) > 1 else axes

    def _check_matrix(self, inner: tuple[int, ...], k: int, layer: str) -> None:
        """Refuse a projection whose matrix would be too large."""
        needed = self.matrix_bytes(inner)
        if needed > LARGEST_MATRIX:
            largest = LARGEST_MATRIX * k // needed
            advice = f"allowed: K up to {largest}" if largest else f"choose fewer {spelled('channels')}"
            raise UserError(
                f"{_states(layer, inner)}: the matrix of {spelled('reduce', self.reduce)} would take "
                f"{format_bytes(needed)}; {advice}"
            )


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which states are reduced: at least float32, and float64 for integers, which float32 cannot hold."""
    if not dtype.is_floating_point:
        return torch.float64
    return torch.promote_types(dtype, torch.float32) if dtype in COMPUTED else torch.float32


def names_of(inner: tuple[int, ...]) -> tuple[str, ...]:
    """The names of a state's own axes."""
    return NAMES.get(len(inner)) or tuple(f"axis_{axis}" for axis in range(len(inner)))


def _states(layer: str, inner: tuple[int, ...]) -> str:
    return f"layer {layer!r} has states of shape {list(inner)}" if layer else f"states of shape {list(inner)}"


def _selected(state: torch.Tensor, axis: int, choice: slice | list[int]) -> torch.Tensor:
    """The chosen entries along one axis: a view for a slice or a single index, otherwise a copy."""
    if isinstance(choice, list):
        size = state.shape[axis]
        indices = [index % size for index in choice]
        if len(indices) > 1:
            return state.index_select(axis, torch.tensor(indices, device=state.device))
        choice = slice(indices[0], indices[0] + 1)
    return state[(slice(None),) * axis + (choice,)]


def _gaussian(rows: int, size: int, seed: int) -> torch.Tensor:
    """A float32 matrix [rows, size] of N(0, 1/rows), each row from a stream of its own.

    So the first K rows are the same for every K up to their scale, and nothing larger than the matrix is in memory while
    it is made.
    """
    matrix = torch.empty(rows, size)
    for k in range(rows):
        torch.randn(size, generator=random_streams.generator(f"projection of {size}", seed, k), out=matrix[k])
    return matrix.div_(math.sqrt(rows))
