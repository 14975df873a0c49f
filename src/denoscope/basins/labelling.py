"""The labels of noises: denoise them and classify the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.basins.classifiers import ClassifierSource, ImageClassifier, parse_classifier
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.models.conditioning import Condition, of_first
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.recording import provenance
from denoscope.sampling.loop import run_loop
from denoscope.sampling.settings import Loop


@dataclass(frozen=True, eq=False)
class Labelling:
    """A function from noises x_T to the labels of their images, all under the same condition.

    `condition` may hold several samples; the first one applies.
    """

    denoiser: Denoiser
    classifier: ImageClassifier
    loop: Loop
    condition: Condition

    def __call__(self, x_T: torch.Tensor) -> dict[str, np.ndarray]:
        """`label` [n], `nonfinite` [n] and the classifier's other arrays, such as `confidence`, for noises [n, C, H, W]."""
        x_0 = run_loop(self.denoiser, x_T, self.loop, condition=of_first(self.condition)).cpu()
        return self.classify(x_0) | {"nonfinite": ~x_0.float().isfinite().flatten(1).all(1).numpy()}

    def classify(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        """The answers of the classifier for images [n, C, H, W]."""
        return self.classifier(images)

    def origin(self, grid: PlaneGrid) -> dict[str, Any]:
        """Everything that determines the labels of points of a plane."""
        return {
            "model": self.denoiser.name,
            **self.classifier.description,
            "plane": grid.made_with,
            "condition": self.condition.of([0]).digest() if self.condition.inputs else None,
            "fingerprint": provenance.fingerprint(self.denoiser, self.loop, self.condition),
        }


def parse_labelling(
    denoiser: Denoiser, *, classifier: ClassifierSource, reject: bool, loop: Loop, condition: Condition
) -> Labelling:
    """A labelling from the arguments of `map` and `label_of`.

    Raises: UserError if the denoiser, the classifier or the condition is invalid.
    """
    check_denoiser(denoiser)
    of_first(condition)
    return Labelling(
        denoiser, parse_classifier(classifier, reject=reject, denoiser=denoiser), loop, condition
    )


def parse_plane(plane: Any, denoiser: Denoiser) -> PlaneGrid:
    """The grid of a plane of noises of the denoiser's shape.

    Raises: UserError if the noises are not a whole plane, or have another shape.
    """
    grid = PlaneGrid.of(plane)
    if tuple(plane.shape) != tuple(denoiser.shape):
        raise UserError(
            f"{spelled('plane')} holds noises {list(plane.shape)}; allowed: {list(denoiser.shape)}, the shape that "
            f"{denoiser.name} takes"
        )
    return grid
