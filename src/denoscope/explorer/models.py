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
CLASSES = "class_labels"
"""The input of a network that the label of a scene becomes."""


@dataclass(eq=False)
class Models:
    """Denoisers by model, scheduler, clipping and precision.

    An address of a view may come from anywhere, so it cannot make the explorer read another folder or the hub.
    """

    started_with: str
    device: str = SystemConfig.device
    _loaded: dict[tuple[str, str, bool | None, str], Denoiser] = field(default_factory=dict)
    _required: dict[str, list[str]] = field(default_factory=dict)
    """The inputs that the network of a model requires besides x and timestep."""

    @property
    def names(self) -> list[str]:
        """The models that a view may name, the one that the explorer was started with first."""
        return list(dict.fromkeys([self.started_with, *bundled.names()]))

    def check(self, scene: Scene) -> None:
        """Refuse a scene whose model is not one of `names`, or needs another condition, as its configuration says.

        Raises: UserError
        """
        if scene.model not in self.names:
            raise UserError(
                f"this view is of the model {scene.model!r}, and this explorer shows {', '.join(self.names)}; start "
                f"another one with: denoscope explore {scene.model}"
            )
        if scene.model not in self._required:
            self._required[scene.model] = required_inputs_of(scene.model)
        needed = self._required[scene.model]
        if others := [name for name in needed if name != CLASSES]:
            raise UserError(
                f"{scene.model} requires {', '.join(others)}, and the explorer takes no condition but a class; denoscope "
                "basins map takes --condition"
            )
        if needed and not scene.labels:
            raise UserError(
                f"{scene.model} denoises under a class, and none is given; name one: --labels 3, &labels=3 in a link, "
                "or Settings on the page"
            )
        if scene.labels and not needed:
            raise UserError(
                f"labels is {scene.labels[0]}, and {scene.model} takes no classes; leave labels and guidance_scale out"
            )

    def denoiser(self, scene: Scene, dtype: torch.dtype | None = None) -> Denoiser:
        """The denoiser of a scene; in the precision of its weights unless `dtype` is given.

        Raises: UserError as `check` does, or if the model cannot be loaded.
        """
        self.check(scene)
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
