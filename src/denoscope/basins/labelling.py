"""The labels of noises: denoise them and classify the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from denoscope.basins.classifiers import ClassifierSource, ImageClassifier, parse_classifier
from denoscope.basins.map_lanes import map_lanes
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_flag
from denoscope.hooks.tapped_network import Network
from denoscope.hooks.taps import tapped
from denoscope.models.conditioning import Condition, of_first
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_grid import PlaneGrid
from denoscope.recording import provenance
from denoscope.sampling.loop import run_loop
from denoscope.sampling.settings import Loop

Answers = dict[str, np.ndarray]
"""What is known of each of n noises or points, by name: label, confidence, … [n]."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """A function from noises x_T to the labels of their images, all under the same condition.

    `condition` may hold several samples; the first one applies.
    """

    denoiser: Denoiser
    classifier: ImageClassifier
    loop: Loop
    condition: Condition
    fast: bool = False
    """Whether the network is to be compiled; `ready` compiles it."""
    network: Network | None = None
    watch: Callable[[int], None] = lambda _: None
    """Called with the number of finished steps after each."""

    @contextmanager
    def ready(self) -> Iterator[Labelling]:
        """The same labelling, with its network prepared for many calls while the block runs."""
        with tapped(self.denoiser.network, self.denoiser.call, fast=self.fast) as network:
            yield replace(self, network=network)

    def __call__(self, x_T: torch.Tensor) -> Answers:
        """`label` [n], `nonfinite` [n] and the classifier's other arrays, such as `confidence`, for noises [n, C, H, W]."""
        x_0 = self.images(x_T)
        return self.classify(x_0) | {"nonfinite": ~x_0.float().isfinite().flatten(1).all(1).numpy()}

    def images(self, x_T: torch.Tensor) -> torch.Tensor:
        """The images x_0 [n, C, H, W] of noises, on the CPU."""
        condition = of_first(self.condition)
        x_0 = run_loop(
            self.denoiser, x_T, self.loop, condition=condition, network=self.network, watch=self.watch
        )
        return x_0.cpu()

    def classify(self, images: torch.Tensor) -> Answers:
        """The answers of the classifier for images [n, C, H, W]."""
        return self.classifier(images)

    def rows_together(self, batch_size: int) -> int:
        """The number of noises to denoise together: `batch_size`, rounded up to whole calls of the network."""
        return self.loop.rows_of_whole_calls(batch_size)

    @property
    def nothing(self) -> Answers:
        """The answers for no noises at all: their names and dtypes."""
        images = torch.empty(0, *self.denoiser.shape, dtype=self.denoiser.dtype)
        return self.classify(images) | {"nonfinite": np.zeros(0, bool)}

    def origin(self, plane: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that determines the labels of points of a plane, which is given by its parameters."""
        return {
            "model": self.denoiser.name,
            **self.classifier.description,
            "plane": dict(plane),
            "condition": self.condition.of([0]).digest() if self.condition.inputs else None,
            "fingerprint": provenance.fingerprint(self.denoiser, self.loop, self.condition, fast=self.fast),
        }


def parse_labelling(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int,
    classifier: ClassifierSource,
    reject: bool,
    lanes: int | None,
    noise_seed: int,
    condition: Condition,
    streams: int = STREAMS_VERSION,
    fast: bool = False,
) -> tuple[Labelling, PlaneGrid]:
    """A labelling and the grid of a plane, from the arguments of `map` and its like.

    Raises: UserError if one of them is invalid, or the plane does not have the denoiser's shape.
    """
    check_denoiser(denoiser)
    of_first(condition)
    check_flag(fast, "fast")
    grid = parse_plane(plane, denoiser)
    lanes = map_lanes(denoiser) if lanes is None else lanes
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=streams)
    source = parse_classifier(classifier, reject=reject, denoiser=denoiser)
    return Labelling(denoiser, source, loop, condition, fast), grid


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
