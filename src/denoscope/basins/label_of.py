"""Labels of single points of a plane of noises, which may lie between its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.basins.classifiers import ClassifierSource
from denoscope.basins.labelling import Answers, Labelling, parse_labelling
from denoscope.basins.shared_labelling import shared_labelling
from denoscope.basins.steady_labelling import SteadyLabelling
from denoscope.cluster.connection import units_together
from denoscope.config import ClassifierConfig, InferenceConfig, SystemConfig
from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import differences
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet

if TYPE_CHECKING:
    import xarray
    from distributed import Client

GROUPS = 4
"""Number of groups of `lanes` noises that are denoised together."""


@dataclass(frozen=True, eq=False, repr=False)
class PlaneLabels(PointLabels):
    """A function from points (u, v) [n, 2] of a plane to labels [n]."""

    _: KW_ONLY
    answers: Callable[[Any], xarray.Dataset]
    """A function from points to everything that is known of them, along the dimension `point`."""
    rows_together: Callable[[int], int]
    """From the rows of a batch, the number of points to ask for together: all workers share them."""


@accepts_num_steps
@arguments_checked
def label_of(
    denoiser: Denoiser,
    plane: NoiseSet,
    *,
    steps: int = InferenceConfig.num_steps,
    classifier: ClassifierSource = ClassifierConfig.classifier,
    reject: bool = ClassifierConfig.reject,
    lanes: int | None = None,
    noise_seed: int = SystemConfig.seed,
    condition: Condition = NOTHING,
    streams: int = STREAMS_VERSION,
    cluster: Client | None = None,
    allow_different_devices: bool = False,
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
        cluster: a client of the workers that compute labels, a dask.distributed.Client; they have the bits of one process.
            Ask for many points at once: each call waits for all of its labels.
        allow_different_devices: let workers with different devices share the work.

    Raises: UserError if the noises are not a plane, or the classifier does not take the images; also if a worker would
        compute something else, or if labels are asked for and the workers are others than when the function was made.
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

    if cluster is not None:
        labelling = SteadyLabelling.of(labelling, described=labelling.origin({}))
    shared = partial(
        shared_labelling,
        labelling,
        cluster,
        labelling.loop.lanes * GROUPS,
        allow_different_devices=allow_different_devices,
        kept="none of the labels asked for is returned",
    )
    with shared() as first:
        origin = first.origin(grid.made_with)

    def answers(points: Any) -> xarray.Dataset:
        import xarray

        with shared() as ready:
            if cluster is not None:
                _check_same(origin, ready.origin(grid.made_with))
            found = _joined(
                ready, grid.plane.at(points).split(ready.rows_together(ready.loop.lanes * GROUPS))
            )
        return xarray.Dataset(
            {name: ("point", values) for name, values in found.items()},
            coords={"u": ("point", np.asarray(points)[:, 0]), "v": ("point", np.asarray(points)[:, 1])},
        )

    def label(points: Any) -> np.ndarray:
        return answers(points)["label"].values

    return PlaneLabels(
        label,
        origin,
        grid.plane.resolution,
        answers=answers,
        rows_together=lambda rows: labelling.rows_together(rows) * units_together(cluster),
    )


def _joined(labelling: Labelling, groups: Sequence[torch.Tensor]) -> Answers:
    """The answers of a labelling for groups of noises [n, C, H, W], one after the other."""
    found = [labelling(x_T) for x_T in groups if len(x_T)] or [labelling.nothing]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _check_same(origin: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse workers that are not those from which the origin of labels is known."""
    if differing := differences(origin["fingerprint"], now["fingerprint"]):
        raise UserError(
            f"the workers are not those of ds.basins.label_of ({'; '.join(differing)}); make the function again"
        )
