"""The interface of all initial noises: a sequence of named tensors of one shape."""

from __future__ import annotations

import dataclasses
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UnknownIndexError, UserError
from denoscope.foundation.html_repr import table, thumbnail
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer
from denoscope.noise import noise_files

Shape = tuple[int, int, int]
"""The shape (C, H, W) of a state."""


class NoiseSet(ABC):
    """Named initial noises of one shape, computed or read one at a time.

    Noises are values: they are frozen, equal if they are made with the same parameters, and can be pickled to another
    process, where they give the same bits. However many there are, they take next to no memory: names, coordinates and
    tensors are computed when they are used.
    """

    shape: Shape
    """(C, H, W)."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _name(self, index: int) -> str:
        """The name of noise `index`, which is at least 0."""

    @abstractmethod
    def _tensor(self, index: int) -> torch.Tensor:
        """Noise `index`, which is at least 0, as [C, H, W]."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The parameters the noises were made with, as plain JSON values; `kind` names the function."""

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Coordinates, one value per noise: `seed` of random noises, `base` and `epsilon` of perturbed ones,
        `u` and `v` of a plane."""
        return {}

    @property
    def warnings(self) -> list[str]:
        """Limits on how to interpret results from these noises, one line each."""
        return []

    @property
    def stem(self) -> str:
        """The name of the JSON file that `write` puts beside the tensors, without its suffix."""
        return "noise"

    @property
    def names(self) -> Names:
        """The name of each noise."""
        return Names(self)

    @property
    def has_made_up_names(self) -> bool:
        """Whether the names are mere numbers, because the noises come from an array without names."""
        return False

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> NoiseSet: ...
    def __getitem__(self, index: int | slice) -> torch.Tensor | NoiseSet:
        """Noise `index` as [C, H, W], or the subset of a slice."""
        return self.subset(range(len(self))[index]) if isinstance(index, slice) else self.tensor(index)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self._tensor(index) for index in range(len(self)))

    def tensor(self, index: int) -> torch.Tensor:
        """Noise `index` as [C, H, W]."""
        return self._tensor(_position(index, len(self)))

    def batch(self, indices: Iterable[int]) -> torch.Tensor:
        """The chosen noises as [n, C, H, W]."""
        chosen = _positions(indices, len(self))
        return self._batch(chosen) if len(chosen) else torch.empty(0, *self.shape)

    def _batch(self, indices: Sequence[int]) -> torch.Tensor:
        """The noises at one or several indices of at least 0."""
        return torch.stack([self._tensor(index) for index in indices])

    def located(self) -> NoiseSet:
        """The same noises, whose files are found from every working directory."""
        return self

    def subset(self, indices: Iterable[int]) -> NoiseSet:
        """The chosen noises, in the given order, with their names and coordinates."""
        return NoiseSubset(self, _positions(indices, len(self)))

    @arguments_checked
    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = True) -> list[Path]:
        """Write each noise as NAME.pt, [1, C, H, W], and their coordinates as one JSON file; return the tensors' paths.

        The JSON file is named after `stem`. An earlier set of the same stem is replaced: files that only the earlier set
        had are removed. No file takes its name before all are written.

        Args:
            overwrite: False refuses to replace or remove a file unless its content stays the same.

        Raises: UserError naming the file that cannot be written; the earlier set then remains unchanged.
        """
        noise_files.check_space(len(self), self.shape, Path(folder))
        return noise_files.write(
            self,
            Path(folder) / f"{self.stem}.json",
            names=self.names,
            coords=self.coords,
            parameters={**self.parameters, "shape": list(self.shape)},
            overwrite=overwrite,
        )

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            _equal(getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self._summary().items())
        return f"<{type(self).__name__}: {len(self)} × {list(self.shape)}{shown and ', ' + shown}>"

    def _repr_html_(self) -> str:
        rows = {"shape": list(self.shape), "names": repr(self.names), **self._summary()}
        if self.coords:
            rows["coordinates"] = list(self.coords)
        picture = ""
        with suppress(UserError):  # the files of a folder may be gone
            picture = thumbnail(self.tensor(0)[0].float().numpy())
        return table(f"{type(self).__name__}: {len(self)}", rows, picture=picture)

    def _summary(self) -> dict[str, Any]:
        """The parameters that describe the noises in their repr."""
        return {name: value for name, value in self.parameters.items() if name != "kind"}


@dataclass(frozen=True, eq=False, repr=False)
class Names(Sequence[str]):
    """The names of noises, built when they are used; equal to any sequence of the same strings."""

    noises: NoiseSet

    def __len__(self) -> int:
        return len(self.noises)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self.noises._name(k) for k in range(len(self))[index])
        return self.noises._name(_position(index, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        if len(self) <= 3:
            return ", ".join(self)
        return f"{self[0]}, {self[1]}, …, {self[-1]}"


@dataclass(frozen=True, eq=False, repr=False)
class NoiseSubset(NoiseSet):
    """Some of the noises of a set."""

    noises: NoiseSet
    indices: Sequence[int]

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.noises.shape

    def __len__(self) -> int:
        return len(self.indices)

    def _name(self, index: int) -> str:
        return self.noises._name(self.indices[index])

    def _tensor(self, index: int) -> torch.Tensor:
        return self.noises._tensor(self.indices[index])

    def _batch(self, indices: Sequence[int]) -> torch.Tensor:
        return self.noises._batch([self.indices[index] for index in indices])

    @property
    def coords(self) -> dict[str, np.ndarray]:
        chosen = np.asarray(self.indices, dtype=int)
        return {name: values[chosen] for name, values in self.noises.coords.items()}

    @property
    def parameters(self) -> dict[str, Any]:
        return self.noises.parameters

    @property
    def stem(self) -> str:
        return self.noises.stem

    def located(self) -> NoiseSet:
        return NoiseSubset(self.noises.located(), self.indices)

    def _summary(self) -> dict[str, Any]:
        return {"of": repr(self.noises)}


def check_shape(shape: Any) -> Shape:
    """The shape as a tuple (C, H, W) of integers of at least 1.

    Raises: UserError with the shape if it is invalid.
    """
    sizes = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    if len(sizes) != 3:
        raise UserError(
            f"{spelled('shape')} is {describe(shape)}; allowed: three integers (channels, height, width)"
        )
    channels, height, width = (parse_integer(size, "shape", minimum=1) for size in sizes)
    return channels, height, width


def check_not_swapped(count: Any, name: str, shape: Any) -> None:
    """Refuse a number of noises and a shape in the wrong order.

    Args:
        name: the argument `count`, as Python spells it.
    """
    if _is_triple(count) and not _is_triple(shape):
        raise UserError(
            f"{spelled(name)} is {describe(count)} and {spelled('shape')} is {describe(shape)}; they may be swapped: "
            f"{name} comes first"
        )


def _is_triple(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3


def _position(index: Any, count: int) -> int:
    """An index counted from 0, where a negative one counts from the end."""
    if isinstance(index, (bool, np.bool_)):
        raise UserError(
            f"an index is {index}; allowed: integers; instead of a mask pass np.flatnonzero(mask)"
        )
    try:
        return range(count)[operator.index(index)]
    except IndexError:
        allowed = (
            f"0 to {count - 1}, or -{count} to -1 from the end" if count else "none, since there is no noise"
        )
        raise UnknownIndexError(f"an index is {describe(index)}; allowed: {allowed}") from None
    except TypeError:
        raise UserError(
            f"an index is {describe(index)}; allowed: an integer; x.subset takes several"
        ) from None


def _positions(indices: Iterable[int], count: int) -> Sequence[int]:
    if isinstance(indices, range) and (not indices or (min(indices) >= 0 and max(indices) < count)):
        return indices
    return tuple(_position(index, count) for index in indices)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    return bool(a == b)
