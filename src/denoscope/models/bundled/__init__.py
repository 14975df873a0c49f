"""The models that come with the package: a folder of weights and a model card for each."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent
"""The folder that holds them."""


def names() -> list[str]:
    """The names of the bundled denoisers."""
    return sorted(path.parent.name for path in ROOT.glob("*/scheduler_config.json"))


def folder(name: str) -> Path | None:
    """The folder of a bundled denoiser, in diffusers' layout; None if no denoiser has this name."""
    return ROOT / name if name in names() else None
