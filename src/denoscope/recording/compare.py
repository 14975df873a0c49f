"""Which tensors of a folder are equal, and how far apart the others are."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from denoscope.foundation import tensor_files
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.tensor_folders import tensors_in
from denoscope.foundation.spelling import counted
from denoscope.foundation.writing.staged_files import check_finished

MEMORY = 256 * 2**20
"""Bytes of tensor values held at once."""


class Pair(NamedTuple):
    """Two files with different tensors, and the largest absolute difference of their values."""

    first: str
    second: str
    difference: float


@dataclass(frozen=True)
class Comparison:
    """All pairs of the tensors of a folder, equal tensors taken together as a group."""

    folder: Path
    groups: tuple[tuple[str, ...], ...]
    """[k] names of the files that hold the same tensor, in order of their first file."""
    shapes: tuple[tuple[int, ...], ...]
    """[k] shape of each group's tensor."""
    dtypes: tuple[str, ...]
    """[k] dtype of each group's tensor."""
    finite: tuple[bool, ...]
    """[k] whether each group's tensor is free of NaN and Inf."""
    distance: np.ndarray
    """[k, k] largest absolute difference; NaN where shape or dtype differ, or one isn't finite."""

    @property
    def files(self) -> int:
        return sum(map(len, self.groups))

    @property
    def equal_pairs(self) -> int:
        """How many of the pairs of files hold equal tensors."""
        return sum(len(group) * (len(group) - 1) // 2 for group in self.groups)

    @property
    def closest(self) -> Pair | None:
        """The two different tensors nearest to each other, if there are two to compare."""
        return self._extreme(np.nanargmin)

    @property
    def farthest(self) -> Pair | None:
        """The two tensors farthest from each other, if there are two to compare."""
        return self._extreme(np.nanargmax)

    def pairs(self) -> list[Pair]:
        """All pairs of different tensors, each by its first file."""
        names = [group[0] for group in self.groups]
        rows, columns = np.triu_indices(len(names), 1)
        values = self.distance[rows, columns].tolist()
        return [Pair(names[i], names[j], d) for i, j, d in zip(rows, columns, values, strict=True)]

    def to_dict(self) -> dict[str, object]:
        """Everything, ready for JSON; `differences` is [k, k] by group, None where there is no number."""
        differences = [[None if math.isnan(d) else d for d in row] for row in self.distance.tolist()]
        return {
            "folder": str(self.folder),
            "files": self.files,
            "different_tensors": len(self.groups),
            "equal_pairs": self.equal_pairs,
            "groups": [
                {"files": list(files), "shape": list(shape), "dtype": dtype, "finite": finite}
                for files, shape, dtype, finite in zip(
                    self.groups, self.shapes, self.dtypes, self.finite, strict=True
                )
            ],
            "closest": self.closest and self.closest._asdict(),
            "farthest": self.farthest and self.farthest._asdict(),
            "differences": differences,
        }

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._kinds(), *self._equal(), *self._different()])

    def _extreme(self, choose: Callable[[np.ndarray], np.intp]) -> Pair | None:
        # Each pair once, and no tensor against itself.
        distance = np.where(np.tri(len(self.groups), dtype=bool), np.nan, self.distance)
        if np.isnan(distance).all():
            return None
        i, j = np.unravel_index(choose(distance), distance.shape)
        return Pair(self.groups[i][0], self.groups[j][0], float(distance[i, j]))

    def _headline(self) -> str:
        files, pairs = self.files, self.files * (self.files - 1) // 2
        return (
            f"{self.folder}: {counted(files, 'file')}, {counted(len(self.groups), 'different tensor')}; "
            f"{self.equal_pairs:,} of {counted(pairs, 'pair')} equal"
        )

    def _kinds(self) -> list[str]:
        counts: dict[str, int] = defaultdict(int)
        for group, shape, dtype in zip(self.groups, self.shapes, self.dtypes, strict=True):
            counts[f"{list(shape)} {dtype}"] += len(group)
        lines = [f"  {counted(count, 'file')} of shape {kind}" for kind, count in counts.items()]
        if len(counts) > 1:
            lines.append("  (tensors of different shape or dtype are different; they have no distance)")
        broken = [
            name for group, fine in zip(self.groups, self.finite, strict=True) if not fine for name in group
        ]
        if broken:
            lines.append(f"  {counted(len(broken), 'file')} with NaN or Inf, so no distance: {_some(broken)}")
        return _cut(lines, 8, "shapes")

    def _equal(self) -> list[str]:
        equal = sorted((group for group in self.groups if len(group) > 1), key=len, reverse=True)
        if not equal:
            return ["no two are equal"] if self.files > 1 else []
        return [
            "equal:",
            *_cut([f"  {_some(group, ' = ')}" for group in equal], 10, "groups of equal tensors"),
        ]

    def _different(self) -> list[str]:
        if self.closest is None or self.farthest is None:
            return []
        if len(self.groups) <= 6:
            known = [pair for pair in self.pairs() if not math.isnan(pair.difference)]
            lines = [_line(pair) for pair in sorted(known, key=lambda pair: pair.difference)]
            return ["largest absolute difference, nearest pair first:", *lines]
        return [
            "largest absolute difference:",
            f"{_line(self.closest)} (closest)",
            f"{_line(self.farthest)} (farthest)",
        ]


def compare(folder: str | Path) -> Comparison:
    """Compare all pairs of the tensors in a folder's .pt files.

    Two tensors are equal if shape, dtype and all values are; NaN counts as equal to NaN here. The distance
    of different ones is max |a - b|, taken in their own precision (integers in float64, halves in float32);
    complex tensors are compared, but have none. Time and memory grow with the square of the number of
    different tensors; of their values, one whole tensor or `MEMORY` bytes are held at once.

    Hidden files are ignored.

    Raises: UserError if the folder or its .pt files are missing or are being replaced, or a file holds no tensor.
    """
    folder = Path(folder)
    paths = tensors_in(folder)
    check_finished(folder)
    if not paths:
        problem = "has no .pt files" if os.path.isdir(folder) else "is not a folder"
        raise UserError(f"{folder} {problem}; name a folder of tensors written with torch.save")
    groups: dict[tuple, list[Path]] = defaultdict(list)
    for path in paths:
        groups[_identity(tensor_files.load(path))].append(path)
    shapes, dtypes, finite, _ = zip(*groups, strict=True)
    distance = np.full((len(groups), len(groups)), np.nan)
    np.fill_diagonal(distance, 0.0)
    alike: dict[tuple, list[int]] = defaultdict(list)
    for k, (shape, dtype, fine, _) in enumerate(groups):
        if fine and not dtype.startswith("complex"):
            alike[shape, dtype].append(k)
    representatives = [members[0] for members in groups.values()]
    for members in alike.values():
        distance[np.ix_(members, members)] = _distances([representatives[k] for k in members])
    names = tuple(tuple(path.name for path in members) for members in groups.values())
    return Comparison(folder, names, shapes, dtypes, finite, distance)


def _identity(x: torch.Tensor) -> tuple[tuple[int, ...], str, bool, bytes]:
    """Shape, dtype, whether all is finite, and a hash: the same for equal tensors and no others."""
    values = x.contiguous()
    finite = True
    if values.is_floating_point() or values.is_complex():
        values = values + 0.0  # makes -0.0, which equals 0.0, the same bytes
        finite = bool(values.isfinite().all())
        values = torch.where(values.isnan(), torch.nan, values)
    digest = hashlib.blake2b(values.reshape(-1).view(torch.uint8).numpy().data, digest_size=32).digest()
    return tuple(x.shape), name_of(x.dtype), finite, digest


def _distances(paths: list[Path]) -> np.ndarray:
    """[n, n] largest absolute differences between tensors of one shape and dtype.

    The tensors are read one slice of their values at a time; the result is the maximum over slices.
    """
    count = len(paths)
    first = tensor_files.load(paths[0], mmap=True)
    size, small = first.numel(), first.dtype in (torch.float32, torch.float16, torch.bfloat16)
    precision = torch.float32 if small else torch.float64
    width = max(1, MEMORY // (8 * count))
    largest = torch.zeros(count * (count - 1) // 2, dtype=torch.float64)
    for start in range(0, size if count > 1 else 0, width):
        part = torch.empty(count, min(width, size - start), dtype=precision)
        for row, path in zip(part, paths, strict=True):
            row.copy_(tensor_files.load(path, mmap=True).reshape(-1)[start : start + width])
        torch.maximum(largest, torch.nn.functional.pdist(part, p=torch.inf).double(), out=largest)
    square = np.zeros((count, count))
    rows, columns = np.triu_indices(count, 1)
    square[rows, columns] = square[columns, rows] = largest.numpy()
    return square


def _line(pair: Pair) -> str:
    return f"  {pair.difference:<12.6g} {pair.first}, {pair.second}"


def _some(names: tuple[str, ...] | list[str], between: str = ", ") -> str:
    rest = f" … and {len(names) - 4:,} more" if len(names) > 4 else ""
    return between.join(names[:4]) + rest


def _cut(lines: list[str], most: int, what: str) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  … and {len(lines) - most:,} more {what}"]
