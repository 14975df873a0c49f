"""What is kept of a layer's state: a part of it, a mean, its norm, or a random projection.

All of it is computed where the state lies, before anything is copied from the device, and row by row: the
last bits of a product or a sum over a batch depend on how many rows there are and on a row's place among
them (of float64 products on a CPU, those of 5, 6 or 7 rows do), those of one row alone do not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import torch

from denoscope.foundation import random_streams
from denoscope.foundation.errors import UserError

NAMES = {1: ("feature",), 2: ("token", "feature"), 3: ("channel", "height", "width")}
AXES = {"channels": ("channel", "feature"), "height": ("height",), "width": ("width",)}
TEXTS = "a slice such as 0:8 or ::2, one index such as 5, or a list such as 0,3,7"
REDUCTIONS = "none, spatial_mean, channel_mean, norm, or project:K with K of at least 1"
MOST_BYTES = 2**30  # of a projection's float32 matrix


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The part of each state that is kept, and what is computed of it.

    First the part: `channels` (of a state of vectors its features), `height` and `width` are Python slices
    "0:8", "::2", single indices "5" or lists "0,3,7", None for all; an axis stays an axis, even of size 1.
    Then `reduce`:

    - "none"
    - "spatial_mean", the mean over all axes but that of the channels
    - "channel_mean", the mean over the channels
    - "norm", the L2 norm of the whole state, one number
    - "project:K", a projection to K dimensions, y = Rx with R_ij from N(0, 1/K), drawn once from (seed,
      size of the state). Squared distances keep their expectation; one is off by a factor whose
      standard deviation is √(2/K) (12 % at K = 128, 4 % at K = 1000). The matrix takes 4·K·size bytes
      of the device's memory for each size of state, in float64 another 8.

    Then `flatten` makes one axis of those that are left. Means, norms and projections of float16 and
    bfloat16 states are computed and returned in float32, those of float64 states in float64.

    Raises: UserError if a text or a reduction is none of these.
    Source of the projection: Johnson and Lindenstrauss, Contemporary Mathematics 26, 189 (1984); Indyk and
        Motwani, STOC 30, 604 (1998) for Gaussian entries.
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
        for option in AXES:
            text = getattr(self, option)
            if text is not None and _parse(text) is None:
                raise UserError(f"{option} is {text!r}; allowed: {TEXTS}")
        if not re.fullmatch(r"none|spatial_mean|channel_mean|norm|project:[1-9]\d*", self.reduce):
            raise UserError(f"reduce is {self.reduce!r}; allowed: {REDUCTIONS}")

    @property
    def projected(self) -> int | None:
        """K of a projection, else None."""
        return int(self.reduce.removeprefix("project:")) if self.reduce.startswith("project:") else None

    def shape(self, inner: tuple[int, ...], layer: str = "") -> tuple[int, ...]:
        """The shape of what is kept of one sample's state of shape `inner`.

        Raises:
            UserError: if the selection does not fit it, naming `layer`.
        """
        return tuple(size for _, size in self._axes(inner, layer))

    def dims(self, inner: tuple[int, ...], layer: str = "") -> tuple[str, ...]:
        """The names of the axes of what is kept of one sample's state of shape `inner`."""
        return tuple(name for name, _ in self._axes(inner, layer))

    def matrix_bytes(self, inner: tuple[int, ...]) -> int:
        """Bytes of the projection's float32 matrix for states of shape `inner`; 0 where none is needed."""
        return 4 * (self.projected or 0) * math.prod(size for _, size in self._part(inner, ""))

    def apply(self, state: torch.Tensor) -> torch.Tensor:
        """What is kept of states [n, …], [n, *shape].

        A view of `state` where nothing but slices is asked for, and `state` itself where nothing is.
        """
        inner = tuple(state.shape[1:])
        kept, names = self._axes(inner, ""), names_of(inner)
        for option, choice in self._choices().items():
            if choice is not None:
                axis = 1 + next(k for k, name in enumerate(names) if name in AXES[option])
                state = _selected(state, axis, choice)
        if self.reduce != "none":
            at_least_single = torch.promote_types(state.dtype, torch.float32)
            state = torch.stack([self._reduced(row.to(at_least_single).contiguous()) for row in state])
        return state.flatten(1) if self.flatten and len(kept) < state.ndim - 1 else state

    def _reduced(self, row: torch.Tensor) -> torch.Tensor:
        """The reduction of one sample's state [*inner]."""
        channel = 0 if row.ndim == 3 else row.ndim - 1
        if self.reduce == "spatial_mean":
            return row.mean([axis for axis in range(row.ndim) if axis != channel])
        if self.reduce == "channel_mean":
            return row.mean(channel)
        if self.reduce == "norm":
            # In float64, since torch adds up the squares one after another.
            return torch.linalg.vector_norm(row, dtype=torch.float64).to(row.dtype)
        # A copy, since the last bits of a product also depend on how the row is aligned in memory.
        return self._matrix(row) @ row.reshape(-1).clone()

    def _matrix(self, row: torch.Tensor) -> torch.Tensor:
        """The projection [K, size] for states like `row`, drawn at their first sight and kept."""
        key = row.numel(), row.device, row.dtype
        if key not in self._matrices:
            drawn = _gaussian(self.projected or 0, row.numel(), self.seed)
            self._matrices[key] = drawn.to(row.device, row.dtype)
        return self._matrices[key]

    def _choices(self) -> dict[str, slice | list[int] | None]:
        """What is kept of each axis, by option."""
        texts = {option: getattr(self, option) for option in AXES}
        return {option: None if text is None else _parse(text) for option, text in texts.items()}

    def _part(self, inner: tuple[int, ...], layer: str) -> list[tuple[str, int]]:
        """Name and size of each axis after channels, height and width were chosen."""
        axes = list(zip(names_of(inner), inner, strict=True))
        for option, choice in self._choices().items():
            if choice is None:
                continue
            at = next((k for k, (name, _) in enumerate(axes) if name in AXES[option]), None)
            if at is None:
                raise UserError(f"{_states(layer, inner)}: there is no axis for {option}; leave it out")
            name, size = axes[at]
            count = _count(choice, size)
            if not count:
                text = getattr(self, option)
                raise UserError(
                    f"{_states(layer, inner)}: {option} {text!r} does not fit its {size} {name}s; "
                    f"allowed: what keeps at least one of 0 to {size - 1}"
                )
            axes[at] = name, count
        return axes

    def _axes(self, inner: tuple[int, ...], layer: str) -> list[tuple[str, int]]:
        """Name and size of each axis of what is kept."""
        axes = self._part(inner, layer)
        if self.reduce.endswith("_mean"):
            if len(inner) not in (2, 3):
                raise UserError(
                    f"{_states(layer, inner)}: {self.reduce} needs states of [channel, height, width] or "
                    "[token, feature]; take none, norm or project:K"
                )
            spatial = self.reduce == "spatial_mean"
            axes = [axis for axis in axes if (axis[0] in AXES["channels"]) is spatial]
        elif self.reduce == "norm":
            axes = []
        elif self.projected:
            needed = self.matrix_bytes(inner)
            if needed > MOST_BYTES:
                most = MOST_BYTES * self.projected // needed
                mend = f"allowed: K up to {most}" if most else "choose fewer channels"
                raise UserError(
                    f"{_states(layer, inner)}: the matrix of {self.reduce} would take "
                    f"{needed / 2**30:.2f} GiB; {mend}"
                )
            axes = [("projection", self.projected)]
        return [("feature", math.prod(size for _, size in axes))] if self.flatten and len(axes) > 1 else axes


def places(text: str, size: int) -> list[int]:
    """The places that a text such as "0:8", "::2" or "0,3,-1" names on an axis of `size`.

    Raises: UserError if it is no such text, or names none of them.
    """
    choice = _parse(text)
    if choice is None:
        raise UserError(f"{text!r} names no places; allowed: {TEXTS}")
    if not _count(choice, size):
        raise UserError(f"{text!r} does not fit; allowed: what names at least one of 0 to {size - 1}")
    return list(range(size)[choice]) if isinstance(choice, slice) else [index % size for index in choice]


def names_of(inner: tuple[int, ...]) -> tuple[str, ...]:
    """The names of a state's own axes."""
    return NAMES.get(len(inner)) or tuple(f"axis_{axis}" for axis in range(len(inner)))


def _states(layer: str, inner: tuple[int, ...]) -> str:
    return f"layer {layer!r} has states of shape {list(inner)}" if layer else f"states of shape {list(inner)}"


def _parse(text: str) -> slice | list[int] | None:
    """The slice or the indices that a text stands for, None if it is neither."""
    number = r"\s*(-?\d+)\s*"
    if re.fullmatch(rf"{number}(,{number})*", text):
        return [int(part) for part in text.split(",")]
    if not re.fullmatch(rf"({number}|\s*):({number}|\s*)(:({number}|\s*))?", text):
        return None
    chosen = slice(*[int(part) if part.strip() else None for part in text.split(":")])
    # torch has no slices that go backwards.
    return chosen if chosen.step is None or chosen.step > 0 else None


def _count(choice: slice | list[int], size: int) -> int:
    """How many entries of an axis a choice keeps; 0 where it keeps none or leaves the axis."""
    if isinstance(choice, slice):
        return len(range(size)[choice])
    return len(choice) if all(-size <= index < size for index in choice) else 0


def _selected(state: torch.Tensor, axis: int, choice: slice | list[int]) -> torch.Tensor:
    """The chosen entries along one axis: a view for a slice or a single index, else a copy."""
    if isinstance(choice, list):
        size = state.shape[axis]
        indices = [index % size for index in choice]
        if len(indices) > 1:
            return state.index_select(axis, torch.tensor(indices, device=state.device))
        choice = slice(indices[0], indices[0] + 1)
    return state[(slice(None),) * axis + (choice,)]


def _gaussian(rows: int, size: int, seed: int) -> torch.Tensor:
    """A float32 matrix [rows, size] of N(0, 1/rows), each row from a stream of its own.

    So the first K rows are the same for every K up to the factor, and nothing larger than the matrix is
    held while it is made.
    """
    matrix = torch.empty(rows, size)
    for k in range(rows):
        torch.randn(size, generator=random_streams.generator(f"projection of {size}", seed, k), out=matrix[k])
    return matrix.div_(math.sqrt(rows))
