"""The models that come with the package, each a folder of weights with its model card."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent
"""One folder a model."""


def names() -> list[str]:
    """The bundled denoisers."""
    return sorted(path.parent.name for path in ROOT.glob("*/scheduler_config.json"))


def folder(name: str) -> Path | None:
    """Where a bundled denoiser lies, in diffusers' own layout; None if there is none of that name."""
    return ROOT / name if name in names() else None
