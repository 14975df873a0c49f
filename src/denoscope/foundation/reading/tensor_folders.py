"""Folders of .pt files."""

from __future__ import annotations

from pathlib import Path


def tensors_in(folder: Path) -> list[Path]:
    """The .pt files of a folder in the order of their names; none if there is no such folder.

    Hidden files, whose names begin with a dot, are not among them: macOS writes a `._a.pt` beside `a.pt`.
    """
    return sorted(path for path in folder.glob("*.pt") if not path.name.startswith("."))
