"""Files of a network's weights: their names, and how diffusers reads one of any name."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.regular_files import why_no_file
from denoscope.foundation.validation import describe

STEM = "diffusion_pytorch_model"
"""The name that diffusers gives to weights."""
_WEIGHTS = re.compile(r".*\.(safetensors|bin|pt|pth|ckpt)(?P<index>\.index(\.[^/.]+)?\.json)?", re.DOTALL)


def is_weights(name: str) -> bool:
    """Whether a file holds weights, or lists their shards, by its name."""
    return _WEIGHTS.fullmatch(name) is not None


def is_index(name: str) -> bool:
    """Whether a file lists the shards of weights, by its name."""
    match = _WEIGHTS.fullmatch(name)
    return match is not None and match["index"] is not None


def is_safetensors(name: str) -> bool:
    """Whether a file holds weights as safetensors, or lists shards that do, by its name."""
    match = _WEIGHTS.fullmatch(name)
    return match is not None and match[1] == "safetensors"


def names(variant: str | None) -> list[list[str]]:
    """Names of the weights of a variant, whole and as a list of shards: of safetensors, and of pickled tensors."""
    dot = f".{variant}" if variant else ""
    return [
        [f"{STEM}{dot}{suffix}", f"{STEM}{suffix}.index{dot}.json"] for suffix in (".safetensors", ".bin")
    ]


def shards(index: Path) -> list[str]:
    """The names of the files that a list of shards names, which lie beside it.

    Raises: UserError if the file is not such a list.
    """
    names = json_files.read(index, dict[str, Any]).get("weight_map")
    if not isinstance(names, dict) or not all(_is_shard(name) for name in names.values()):
        raise UserError(
            f"{index}: weight_map is {describe(names)}; allowed: a map from tensors to files beside it"
        )
    return sorted(set(names.values()))


def _is_shard(name: object) -> bool:
    return isinstance(name, str) and "/" not in name and "\\" not in name and is_weights(name)


def find(place: Path, variant: str | None, name: str) -> Path:
    """The weights in a network's folder, or the list of their shards; those of a variant if one is given.

    Raises: UserError with the weights that the folder holds.
    """
    candidates = [candidate for kind in names(variant) for candidate in kind]
    weights = next((place / name for name in candidates if (place / name).is_file()), None)
    if weights is None:
        there = sorted(path for path in place.iterdir() if is_weights(path.name))
        held = ", ".join(path.name for path in there[:5]) or "none"
        advice = f"pass one of them as {there[0]}" if there else "allowed: a folder with its weights"
        raise UserError(
            f"{name} has no weights {candidates[0]} or .bin in {place}; it holds {held}; {advice}"
        )
    return weights


@contextlib.contextmanager
def as_folder(place: Path, weights: Path) -> Iterator[Path]:
    """Yield a temporary folder with config.json and the weights, which have the name that diffusers expects there.

    Raises: UserError naming a shard that is missing or no regular file; reading a pipe would wait for ever.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        suffix = ".safetensors" if is_safetensors(weights.name) else ".bin"
        index = ".index.json" if is_index(weights.name) else ""
        (folder / "config.json").symlink_to((place / "config.json").resolve())
        (folder / f"{STEM}{suffix}{index}").symlink_to(weights.resolve())
        for shard in shards(weights) if index else ():
            if problem := why_no_file(weights.parent / shard):
                raise UserError(f"{weights} names {shard}: {problem}; download it again")
            (folder / shard).symlink_to((weights.parent / shard).resolve())
        yield folder
