"""Labels of single points of a plane of noises, which may lie between its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import parse_labelling
from denoscope.config import MAP_LANES, ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet

if TYPE_CHECKING:
    import xarray

GROUPS = 4
"""Number of groups of `lanes` noises that are denoised together."""


@dataclass(frozen=True, eq=False, repr=False)
class PlaneLabels(PointLabels):
    """A function from points (u, v) [n, 2] of a plane to labels [n]."""

    _: KW_ONLY
    answers: Callable[[Any], xarray.Dataset]
    """A function from points to everything that is known of them, along the dimension `point`."""


@accepts_num_steps
@arguments_checked
def label_of(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = ClassifierConfig.classifier,
    reject: bool = ClassifierConfig.reject,
    lanes: int = MAP_LANES,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    streams: int = STREAMS_VERSION,
) -> PlaneLabels:
    """A function from points (u, v) [n, 2] of a plane to the classes [n] that their noises become.

    The points need not be cells of the plane. The arguments are those of `map`. `dynamics.uncertainty_exponent` takes
    such a function:

    >>> label_of = ds.basins.label_of(denoiser, plane, steps=20)
    >>> ds.dynamics.uncertainty_exponent(label_of, points, [0.1, 1, 10])

    Points become float32 noises, like the cells of `map`, in every precision of the network: `label_of.resolution` is the
    smallest distance (L2) at which points differ. `zoom` goes deeper.

    `label_of.answers(points)` is an xarray.Dataset (point) of everything that `map` finds at them: `label`, `confidence`,
    `margin`, `nonfinite` and, with `reject`, `likeness`.

    Args:
        streams: version of the random streams of a stochastic scheduler's noise; 1 resumes a checkpoint of denoscope 0.1.

    Raises: UserError if the noises are not a plane, or the classifier does not take the images.
    """
    labelling, grid = parse_labelling(
        denoiser,
        plane,
        steps=steps,
        classifier=classifier,
        reject=reject,
        lanes=lanes,
        noise_seed=noise_seed,
        condition=condition,
        streams=streams,
    )

    def answers(points: Any) -> xarray.Dataset:
        import xarray

        groups = grid.plane.at(points).split(lanes * GROUPS) if len(points) else ()
        found = [labelling(x_T) for x_T in groups] or [labelling.nothing]
        return xarray.Dataset(
            {name: ("point", np.concatenate([part[name] for part in found])) for name in found[0]},
            coords={"u": ("point", np.asarray(points)[:, 0]), "v": ("point", np.asarray(points)[:, 1])},
        )

    def label(points: Any) -> np.ndarray:
        return answers(points)["label"].values

    return PlaneLabels(label, labelling.origin(grid.made_with), grid.plane.resolution, answers=answers)
