"""The models that an explorer may load: the one it was started with, and those that come with the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from denoscope.config import SystemConfig
from denoscope.explorer.scene import Scene
from denoscope.foundation.errors import UserError
from denoscope.models import bundled
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load, required_inputs_of

KEPT = 4
"""Denoisers that stay loaded."""


@dataclass(eq=False)
class Models:
    """Denoisers by model, scheduler, clipping and precision.

    An address of a view may come from anywhere, so it cannot make the explorer read another folder or the hub.
    """

    started_with: str
    device: str = SystemConfig.device
    _loaded: dict[tuple[str, str, bool | None, str], Denoiser] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The models that a view may name, the one that the explorer was started with first."""
        free = [name for name in bundled.names() if name not in bundled.WITH_CLASSES]
        return list(dict.fromkeys([self.started_with, *free]))

    def check(self) -> None:
        """Refuse to start with a model that denoises under a condition only, as its configuration says."""
        if needed := required_inputs_of(self.started_with):
            raise UserError(
                f"{self.started_with} requires {', '.join(needed)}, and the explorer shows models without a condition; "
                "denoscope basins map takes --labels and --condition"
            )

    def denoiser(self, scene: Scene, dtype: torch.dtype | None = None) -> Denoiser:
        """The denoiser of a scene; in the precision of its weights unless `dtype` is given.

        Raises: UserError if the model is not one of `names`, or cannot be loaded.
        """
        if scene.model not in self.names:
            raise UserError(
                f"this view is of the model {scene.model!r}, and this explorer shows {', '.join(self.names)}; start "
                f"another one with: denoscope explore {scene.model}"
            )
        key = scene.model, scene.scheduler, scene.clip_sample, str(dtype)
        if key not in self._loaded:
            while len(self._loaded) >= KEPT:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[key] = load(
                scene.model,
                scheduler=scene.scheduler or None,
                dtype=dtype,
                device=self.device,
                clip_sample=scene.clip_sample,
            )
        return self._loaded[key]


Loading = Callable[[Scene, torch.dtype | None], Denoiser]
"""A function like `Models.denoiser`."""
