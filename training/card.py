"""What the model cards share: tables, the number of parameters, and their files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join([_row(head), "|" + "---|" * len(head), *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def parameters_of(weights: Path) -> int:
    """The number of parameters in a file of weights."""
    from safetensors import safe_open

    with safe_open(weights, framework="pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 - it is no mapping


def read(path: Path) -> dict[str, Any]:
    """The content of a JSON file."""
    return json.loads(path.read_text())


def save(card: str, folder: Path) -> Path:
    """Write README.md to a folder."""
    path = folder / "README.md"
    path.write_text(card)
    return path
