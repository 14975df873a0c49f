"""Initial noises x_T: random, perturbed, on a plane, on a sphere; read from and written to folders."""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from denoscope.config import DefaultConfig, SystemConfig
from denoscope.foundation import random_streams, tensor_files
from denoscope.foundation.atomic_files import replacing
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_integer, parse_real
from denoscope.noise.directions import Directions, direction, directions_of, normal

Shape = tuple[int, int, int]
Number = TypeVar("Number", int, float)
LARGEST = 1e30  # float32 holds 3e38; sums and squares of noises must stay finite


@dataclass(frozen=True, eq=False)
class NoiseSet:
    """Named initial noises of one shape, made or read one at a time, whatever their number.

    `coords` holds one value a noise: `seed` for random sets, `base` and `epsilon` for perturbed ones,
    `u` and `v` for planes. `parameters` is what the set was made with.
    """

    names: tuple[str, ...]
    shape: Shape
    tensor_of: Callable[[int], torch.Tensor] = field(repr=False)
    coords: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stem: str = "noise"

    def __len__(self) -> int:
        return len(self.names)

    def tensor(self, index: int) -> torch.Tensor:
        """Noise `index` as [C, H, W]."""
        return self.tensor_of(range(len(self))[index])

    def batch(self, indices: Iterable[int]) -> torch.Tensor:
        """The chosen noises as [n, C, H, W]."""
        return torch.stack([self.tensor(index) for index in indices])

    def subset(self, indices: Iterable[int]) -> NoiseSet:
        """The chosen noises, in the order given, with their names and coordinates."""
        chosen = [range(len(self))[index] for index in indices]
        return NoiseSet(
            names=tuple(self.names[index] for index in chosen),
            shape=self.shape,
            tensor_of=lambda index: self.tensor_of(chosen[index]),
            coords={name: values[chosen] for name, values in self.coords.items()},
            parameters=self.parameters,
            stem=self.stem,
        )

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write each noise as NAME.pt, [1, C, H, W], and their coordinates as one JSON beside them.

        An earlier set of the same stem is replaced: files that only it had are removed. All files are written
        before the first takes its name, and while they do no manifest stands that could tell of others.

        Raises: UserError naming the file that cannot be written; the earlier set then stands as it was.
        """
        folder = Path(folder)
        manifest = folder / f"{self.stem}.json"
        former = {entry["name"] for entry in _entries(_read_manifest(manifest))}
        staged = folder / f".{uuid.uuid4().hex}.partial"
        try:
            for index, name in enumerate(self.names):
                tensor_files.save(self.tensor(index)[None], staged / f"{name}.pt")
            with replacing(staged / manifest.name) as file:
                file.write((json.dumps(self._manifest(), indent=1) + "\n").encode())
            manifest.unlink(missing_ok=True)
            paths = [(staged / f"{name}.pt").replace(folder / f"{name}.pt") for name in self.names]
            for name in former - set(self.names):
                if Path(name).name == name:  # a manifest speaks of its own folder alone
                    (folder / f"{name}.pt").unlink(missing_ok=True)
            (staged / manifest.name).replace(manifest)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return paths

    def _manifest(self) -> dict[str, Any]:
        columns = {name: values.tolist() for name, values in self.coords.items()}
        samples = [
            {"name": name, **{key: column[index] for key, column in columns.items()}}
            for index, name in enumerate(self.names)
        ]
        return {
            "format": "denoscope noise 1",
            **self.parameters,
            "shape": list(self.shape),
            "samples": samples,
        }


def random(num_samples: int, shape: Shape, *, seed: int = SystemConfig.seed) -> NoiseSet:
    """Independent standard normal noises; noise k is the same whatever `num_samples` is.

    Noise k equals `torch.randn(shape, generator=torch.Generator().manual_seed(s))` with s its `seed`
    coordinate.

    >>> x = random(16, (1, 28, 28), seed=42)
    >>> x.batch(range(4)).shape
    torch.Size([4, 1, 28, 28])
    """
    shape = _checked_shape(shape)
    num_samples, seed = _count(num_samples, "num_samples"), parse_integer(seed, "seed")
    return NoiseSet(
        names=tuple(f"noise_{index:04d}" for index in range(num_samples)),
        shape=shape,
        tensor_of=lambda index: normal(shape, "random", seed, index),
        coords={
            "seed": np.array(
                [random_streams.stream_seed("random", seed, index) for index in range(num_samples)]
            )
        },
        parameters={"kind": "random", "num_samples": num_samples, "seed": seed},
    )


def perturbed(
    num_perturbations: int,
    shape: Shape,
    *,
    epsilon: float = DefaultConfig.epsilon,
    base_seed: int = DefaultConfig.base_seed,
    perturb_seed: int = DefaultConfig.perturb_seed,
    directions: Directions = DefaultConfig.directions,
) -> NoiseSet:
    """A base noise and perturbed copies of it, each at L2 distance `epsilon` in a direction of its own.

    The distance is that between the float32 tensors as stored: the step is corrected for their rounding.

    Args:
        directions: "random": independent, uniform on the sphere. "simplex": the corners of a regular simplex, turned at
            random, any two of which have the same angle and all of which sum to zero; 2 to C·H·W + 1 of them. Or a
            tensor [n, C, H, W], or a .pt file of one, of which the first are taken, such as `spectrum(…).right`.
        perturb_seed: of directions that are drawn.

    Raises: UserError where float32 cannot hold the distance to one part in a thousand, or directions don't fit.
    """
    shape = _checked_shape(shape)
    num_perturbations = _count(num_perturbations, "num_perturbations")
    base_seed, perturb_seed = (
        parse_integer(base_seed, "base_seed"),
        parse_integer(perturb_seed, "perturb_seed"),
    )
    epsilon = _length(epsilon, "epsilon")
    base = normal(shape, "base", base_seed)
    kind, direction_of, told_of = directions_of(directions, shape, num_perturbations, perturb_seed)

    def tensor_of(index: int) -> torch.Tensor:
        return base if index == 0 else _at_distance(base, direction_of(index - 1), epsilon)

    group, size = f"set_{base_seed:04d}", _written(epsilon)
    base_name = f"{group}_base"
    count = num_perturbations + 1
    for index in range(1, count):
        tensor_of(index)  # each is refused here where float32 cannot hold its distance
    return NoiseSet(
        names=(base_name, *(f"{group}_{kind}_{index:03d}_eps_{size}" for index in range(num_perturbations))),
        shape=shape,
        tensor_of=tensor_of,
        coords={
            "base": np.array([base_name] * count),
            "epsilon": np.array([0.0] + [float(epsilon)] * (count - 1)),
        },
        parameters={
            "kind": "perturbed",
            "num_perturbations": num_perturbations,
            "epsilon": float(epsilon),
            "base_seed": base_seed,
            **told_of,
        },
        stem=f"{group}_eps_{size}" if kind == "pert" else f"{group}_{kind}_eps_{size}",
    )


def plane(
    counts: tuple[int, int],
    shape: Shape,
    *,
    lengths: tuple[float, float] = DefaultConfig.len_per_direction,
    center: tuple[float, float] = DefaultConfig.center_coords,
    base_seed: int = DefaultConfig.plane_base_seed,
    direction_seeds: tuple[int, int] = DefaultConfig.direction_seeds,
) -> NoiseSet:
    """A grid base + u·d1 + v·d2 with orthonormal directions d1, d2; u and v are L2 distances.

    `counts` = (cells along u, cells along v), evenly spaced over `lengths` around `center`, both ends
    included; a single cell sits at the centre. Cell (x, y) is noise `x * counts[1] + y`.

    Raises: UserError where float32 rounds the cells by more than a tenth of their distance, with the least length.
    """
    shape = _checked_shape(shape)
    counts = _pair(counts, "counts", _count)
    lengths, center = _pair(lengths, "lengths", _length), _pair(center, "center", _offset)
    direction_seeds, base_seed = (
        _pair(direction_seeds, "direction_seeds", parse_integer),
        parse_integer(base_seed, "base_seed"),
    )
    u, v = (_ticks(*axis) for axis in zip(counts, lengths, center, strict=True))
    cells = [(x, y) for x in range(counts[0]) for y in range(counts[1])]
    stem = "plane_{:04d}_{}_{}".format(base_seed, *direction_seeds)

    point_of = _point_of(shape, base_seed, direction_seeds)
    _need_apart(point_of(float(u[0]), float(v[0])), counts, lengths)

    def tensor_of(index: int) -> torch.Tensor:
        x, y = cells[index]
        return point_of(float(u[x]), float(v[y]))

    return NoiseSet(
        names=tuple(f"{stem}_x{x:03d}_y{y:03d}" for x, y in cells),
        shape=shape,
        tensor_of=tensor_of,
        coords={"u": np.array([u[x] for x, _ in cells]), "v": np.array([v[y] for _, y in cells])},
        parameters={
            "kind": "plane",
            "counts": list(counts),
            "lengths": list(lengths),
            "center": list(center),
            "base_seed": base_seed,
            "direction_seeds": list(direction_seeds),
        },
        stem=stem,
    )


def _need_apart(cell: torch.Tensor, counts: tuple[int, int], lengths: tuple[float, float]) -> None:
    """Refuse a plane whose neighbouring cells rounding brings out of place, or makes one."""
    least = resolution(cell)
    for axis, count, length in zip("uv", counts, lengths, strict=True):
        if count > 1 and length < least * (count - 1):
            raise UserError(
                f"lengths are {lengths[0]:g} and {lengths[1]:g}: neighbouring cells along {axis} lie "
                f"{length / (count - 1):.1e} apart, which float32 does not resolve here; allowed: about "
                f"{least * (count - 1):.1e} and more for {count} cells along {axis}"
            )


def resolution(noise: torch.Tensor) -> float:
    """The least distance (L2) from a noise at which another is where it should be, to a tenth of the distance.

    Each number is rounded evenly within half of its spacing s, so that a step to another noise is off by √(Σ s²/6), L2.
    """
    spacing = np.spacing(noise.abs().numpy()).astype(np.float64)
    return 10 * math.sqrt((spacing**2).sum() / 6)


def plane_points(
    points: torch.Tensor, shape: Shape, base_seed: int, direction_seeds: Sequence[int]
) -> torch.Tensor:
    """The noises [n, C, H, W] at points (u, v) [n, 2] of the plane that `plane` makes with these seeds."""
    _need(points.ndim == 2 and points.shape[1] == 2, "points", list(points.shape), "[n, 2], u and v of each")
    _need(bool(points.isfinite().all()), "points", "NaN or Inf", "finite coordinates")
    first, second = direction_seeds
    point_of = _point_of(shape, base_seed, (first, second))
    return torch.stack([point_of(u, v) for u, v in points.tolist()])


def _point_of(
    shape: Shape, base_seed: int, direction_seeds: tuple[int, int]
) -> Callable[[float, float], torch.Tensor]:
    """The noise at (u, v) of a plane."""
    first, second = plane_directions(shape, direction_seeds)
    base = normal(shape, "base", base_seed).double()
    return lambda u, v: (base + u * first + v * second).float()


def plane_directions(shape: Shape, direction_seeds: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The two orthonormal directions of a plane, each [C, H, W] float64 of unit L2 norm."""
    _need(math.prod(shape) >= 2, "shape", shape, "at least two numbers, so that two directions exist")
    _need(len(set(direction_seeds)) == 2, "direction_seeds", direction_seeds, "two different seeds")
    first, second = (direction(shape, "direction", seed) for seed in direction_seeds)
    for _ in range(2):  # the second pass removes what the rounding of the first left
        second = second - (second * first).sum() * first
        second = second / second.norm()
    return first, second


def sphere(
    num_samples: int, shape: Shape, *, radius: float | None = None, seed: int = SystemConfig.seed
) -> NoiseSet:
    """Noises of one L2 norm in uniformly random directions; the radius is √(C·H·W) unless given."""
    shape = _checked_shape(shape)
    norm = math.sqrt(math.prod(shape)) if radius is None else radius
    num_samples, seed = _count(num_samples, "num_samples"), parse_integer(seed, "seed")
    _length(norm, "radius")
    return NoiseSet(
        names=tuple(f"sphere_{index:04d}" for index in range(num_samples)),
        shape=shape,
        tensor_of=lambda index: (norm * direction(shape, "sphere", seed, index)).float(),
        parameters={"kind": "sphere", "num_samples": num_samples, "radius": norm, "seed": seed},
        stem="sphere",
    )


def read(folder: str | os.PathLike[str], *, shape: Shape | None = None) -> NoiseSet:
    """The noises of a folder of .pt tensors, each [C, H, W] or [1, C, H, W], in the order of their names.

    Every file is checked before any is used. Coordinates come from the JSON files beside them; a noise
    that has none gets NaN (or an empty name).

    Args:
        shape: what the model takes; a file of another shape is refused.

    Raises:
        UserError: naming the file that is no finite floating-point tensor of the right shape.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of inputs; make some with `denoscope noise random`")
    paths = sorted(folder.glob("*.pt"))
    if not paths:
        raise UserError(f"{folder}: holds no .pt tensors; make some with `denoscope noise random`")
    dtype = torch.float32
    for path in paths:
        noise = _read_one(path, shape)
        shape, dtype = tuple(noise.shape), torch.promote_types(dtype, noise.dtype)  # type: ignore[assignment]
    assert shape is not None
    names = tuple(path.stem for path in paths)
    manifests = [content for path in sorted(folder.glob("*.json")) if (content := _read_manifest(path))]
    return NoiseSet(
        names=names,
        shape=shape,
        tensor_of=lambda index: _read_one(paths[index], shape).to(dtype),
        coords=_merged_coords(names, manifests),
        parameters={"kind": "folder", "sets": [_without_samples(content) for content in manifests]},
        stem=folder.name,
    )


def _read_one(path: Path, shape: Shape | None) -> torch.Tensor:
    noise = tensor_files.load(path)
    if not noise.is_floating_point():
        raise UserError(f"{path}: holds {noise.dtype}; an initial noise is a floating-point tensor")
    found = tuple(noise.shape)
    inner = found[1:] if len(found) == 4 and found[0] == 1 else found
    if len(inner) != 3 or (shape is not None and inner != tuple(shape)):
        wanted = "[C, H, W] or [1, C, H, W]" if shape is None else f"{list(shape)} or {[1, *shape]}"
        raise UserError(f"{path}: holds a tensor of shape {list(found)}; needed is {wanted}")
    if not torch.isfinite(noise).all():
        raise UserError(f"{path}: holds NaN or Inf; every value of an initial noise must be finite")
    if noise.abs().max() > LARGEST:
        raise UserError(
            f"{path}: holds values beyond ±{LARGEST:.0e}, which float32 cannot step; scale it down"
        )
    return noise.reshape(inner)


def _read_manifest(path: Path) -> dict[str, Any]:
    """What a JSON beside the noises says; nothing where it is missing or somebody else's."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    known = isinstance(content, dict) and str(content.get("format", "")).startswith("denoscope noise")
    return content if known else {}


def _entries(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The samples that a manifest names; what is no sample is passed over."""
    samples = content.get("samples")
    found = samples if isinstance(samples, list) else []
    return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("name"), str)]


def _without_samples(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "samples"}


def _merged_coords(names: tuple[str, ...], manifests: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    entries = {entry["name"]: entry for content in manifests for entry in _entries(content)}
    found = [entries.get(name, {}) for name in names]
    keys = dict.fromkeys(key for entry in found for key in entry if key != "name")
    blank = {"base": ""}
    return {key: np.array([entry.get(key, blank.get(key, math.nan)) for entry in found]) for key in keys}


def _at_distance(base: torch.Tensor, direction: torch.Tensor, epsilon: float) -> torch.Tensor:
    """base + epsilon·direction in float32, the step corrected until the stored distance is epsilon."""
    step, wide = epsilon, base.double()
    best, error = base, math.inf
    for _ in range(8):
        moved = (wide + step * direction).float()
        distance = (moved.double() - wide).norm().item()
        if abs(distance - epsilon) < error:
            best, error = moved, abs(distance - epsilon)
        if distance == 0:
            break
        step *= epsilon / distance
    if error > 1e-3 * epsilon:
        raise UserError(
            f"epsilon is {epsilon}, below what float32 noises of this size resolve; allowed: about "
            f"{1e-6 * wide.norm().item():.0e} and more"
        )
    return best


def _written(epsilon: float) -> str:
    """An epsilon in a name: four decimals where they say all of it, so that two never share a name."""
    short = f"{epsilon:.4f}"
    return short if float(short) == epsilon else repr(epsilon)


def _ticks(count: int, length: float, center: float) -> np.ndarray:
    if count == 1:
        return np.array([float(center)])
    return center + np.linspace(-length / 2, length / 2, count)


def _checked_shape(shape: Shape) -> Shape:
    sizes = shape if isinstance(shape, Sequence) else ()
    ok = len(sizes) == 3 and all(isinstance(size, int) and size >= 1 for size in sizes)
    _need(ok, "shape", shape, "three whole numbers (channels, height, width)")
    return tuple(shape)  # type: ignore[return-value]


def _pair(values: Any, name: str, of: Callable[[Any, str], Number]) -> tuple[Number, Number]:
    """Two numbers, one along u and one along v."""
    try:
        first, second = values
    except (TypeError, ValueError):
        raise UserError(f"{name} is {describe(values)}; allowed: two numbers, along u and along v") from None
    return of(first, name), of(second, name)


def _count(value: Any, name: str) -> int:
    return parse_integer(value, name, minimum=1)


def _length(value: Any, name: str) -> float:
    return parse_real(value, name, above=0, maximum=LARGEST)


def _offset(value: Any, name: str) -> float:
    return parse_real(value, name, minimum=-LARGEST, maximum=LARGEST)


def _need(fine: bool, name: str, value: Any, allowed: str) -> None:
    if not fine:
        raise UserError(f"{name} is {describe(value)}; allowed: {allowed}")
