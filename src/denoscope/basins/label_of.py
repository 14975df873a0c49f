"""Labels of single points of a plane of noises, which may lie between its cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from denoscope.basins.classifiers import LENET, ClassifierSource
from denoscope.basins.labelling import parse_labelling, parse_plane
from denoscope.config import ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.sampling.settings import Loop

GROUPS = 4
"""Number of groups of `lanes` noises that are denoised together."""


@accepts_num_steps
@arguments_checked
def label_of(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = LENET,
    reject: bool = ClassifierConfig.reject,
    lanes: int = InferenceConfig.lanes,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    streams: int = STREAMS_VERSION,
) -> PointLabels:
    """A function from points (u, v) [n, 2] of a plane to the classes [n] that their noises become.

    The points need not be cells of the plane. The arguments are those of `map`. `dynamics.uncertainty_exponent` takes
    such a function:

    >>> label_of = ds.basins.label_of(denoiser, plane, steps=20)
    >>> ds.dynamics.uncertainty_exponent(label_of, points, [0.1, 1, 10])

    Args:
        streams: version of the random streams of a stochastic scheduler's noise; 1 resumes a checkpoint of denoscope 0.1.

    Raises: UserError if the noises are not a plane, or the classifier does not take the images.
    """
    check_denoiser(denoiser)
    grid = parse_plane(plane, denoiser)
    loop = Loop(steps=steps, noise_seed=noise_seed, lanes=lanes, streams=streams)
    labelling = parse_labelling(
        denoiser, classifier=classifier, reject=reject, loop=loop, condition=condition
    )

    def label(points: Any) -> np.ndarray:
        if not len(points):
            return np.zeros(0, int)
        groups = grid.plane.at(points).split(lanes * GROUPS)
        return np.concatenate([labelling(x_T)["label"] for x_T in groups])

    return PointLabels(label, labelling.origin(grid), grid.plane.resolution)
