"""Noising an image part of the way and denoising it again: does it come back as what it was?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.config import InferenceConfig
from denoscope.dynamics.loops.closed_loop import begin_of
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.spectrum import identity_of, origin_of
from denoscope.dynamics.statistics.arguments import parse_numbers, random_generator
from denoscope.dynamics.statistics.intervals import clustered_interval, percentile_interval
from denoscope.dynamics.trajectories.commitment import LabelOf, digits_of
from denoscope.foundation import random_streams, tensor_files
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.models.classifier.labels import of_images
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.recording.recording import Recording
from denoscope.sampling.loop import Loop, noise_level

if TYPE_CHECKING:
    import xarray

RESAMPLED = 1000
ALONE = (
    "one image alone: the interval of its probability is over its draws, its distance has none, and nothing is known of "
    "other images"
)


@accepts_num_steps
def u_turn(
    denoiser: Denoiser,
    x_0: NoiseLike,
    levels: Sequence[float],
    *,
    draws: int = 16,
    steps: int = InferenceConfig.num_steps,
    seed: int = 0,
    label_of: LabelOf | None = None,
    lanes: int = InferenceConfig.lanes,
    condition: Condition = NOTHING,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> xarray.Dataset:
    """The probability that images x_0 [n, C, H, W], noised back to a level and denoised again, keep their class.

    `same` (sample, level) is the share of `draws` independent noises after which the class is that of x_0; `probability`
    (level) its mean over images. `interval` (level, end), 95 %, is Wilson's, of as many independent draws as would scatter
    like the images do, for draws of one image depend on each other; where all images agree, each counts as one draw.
    `distance` (sample, level) is the root mean square over draws of ‖x_0' − x_0‖ (L2), `turn_distance` (level) that over
    draws and images, with `turn_distance_interval` (level, end), 95 %, by bootstrap over images. `step` (level) is the step
    that denoising begins with, `sigma` its noise level. `computed` (sample, level) is true for what is done.

    How to read it: 1 at small levels, and at large ones the share that the class has anyway. Where it falls between,
    the class is decided. When it misleads: with few images the interval of the distance is too narrow, and of one image
    there is none; that of the probability then is over its draws alone. A step of the stochastic schedulers adds noise
    of its own, which here is common to all images and draws.

    Args:
        x_0: a tensor, or an array of numpy or xarray, such as `recording.final`.
        levels: each a share of the `steps`, as for `closed_loop`: at 1 all of the image is noised away. No two may begin
            with the same step.
        seed: of the noises, one for each image, level and draw, whatever else is asked for.
        label_of: images [n, C, H, W] to whole numbers [n], of images that are no digits; LeNet-5 unless given.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if x_0 does not fit, a level leaves no step or that of another, the scheduler remembers earlier
        steps, or the checkpoint exists.

    Source: Sclocchi, Favero and Wyart, PNAS 122, e2408799121 (2025), forward–backward experiments; Behjoo and
        Chertkov, U-turn diffusion (2023). The interval: Dean and Pagano, J. Survey Statistics and Methodology 3, 484
        (2015), with the degrees of freedom of Korn and Graubard, Survey Methodology 24, 193 (1998).
    """
    rng, draws = random_generator(seed), parse_integer(draws, "draws", minimum=1)
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise_seed=seed, lanes=lanes, streams=checkpoint.streams)
    flow = DenoisingMap(denoiser, loop, of_first(condition))
    flow.need_single_steps()
    shares = parse_numbers(levels, "levels")
    begins = _begins(shares, steps)
    x_0 = _images(denoiser, x_0)
    if label_of is None:
        label_of = digits_of(denoiser.shape, denoiser.name)
    before = of_images(label_of, x_0.float().cpu())
    fresh = _empty(flow, x_0, shares, begins, before, _drawn(flow, draws, seed))
    with checkpoint.open(fresh) as file:
        same, distance, computed = (file.data[name].values for name in ("same", "distance", "computed"))
        for row, column in np.argwhere(~computed):
            after = _back(flow, x_0[row], begins[column], draws, seed, int(row))
            same[row, column] = np.mean(of_images(label_of, after.float().cpu()) == before[row])
            distance[row, column] = (after - x_0[row]).double().flatten(1).square().sum(1).mean().sqrt()
            computed[row, column] = True
            file.save()
            file.report(int(computed.sum()), computed.size)
        file.data = file.data.assign_attrs(warnings=_beware(distance)).assign(
            probability=("level", same.mean(0)),
            interval=(("level", "end"), clustered_interval(same, draws)),
            turn_distance=("level", np.sqrt((distance**2).mean(0))),
            turn_distance_interval=(("level", "end"), np.sqrt(_intervals(distance**2, rng))),
        )
    return file.data


def _images(denoiser: Denoiser, given: NoiseLike) -> torch.Tensor:
    """The images as the denoiser has them, refused where they are none."""
    if isinstance(given, Recording):
        raise UserError(f"x_0 is the recording {given.path}; give its images: recording.final")
    images = as_noises(given, shape=denoiser.shape, name="x_0")
    return images.batch(range(len(images))).to(denoiser.device, denoiser.dtype)


def _begins(levels: np.ndarray, steps: int) -> list[int]:
    """The step that each level begins with, all different."""
    if levels.ndim != 1 or not len(levels):
        raise UserError(
            f"levels has shape {list(levels.shape)}; allowed: one or more shares of the steps, as [0.2, 0.5, 1]"
        )
    begins: dict[int, float] = {}
    for level in levels.tolist():
        step = begin_of(level, steps)
        if step in begins:
            raise UserError(
                f"levels {begins[step]:g} and {level:g} both begin with step {step} of {steps}; leave one of them out "
                "or take more steps"
            )
        begins[step] = level
    return list(begins)


def _empty(
    flow: DenoisingMap,
    x_0: torch.Tensor,
    levels: np.ndarray,
    begins: Sequence[int],
    before: np.ndarray,
    drawn: dict[str, int],
) -> xarray.Dataset:
    """The result in which nothing is computed."""
    import xarray

    scheduler, origin = flow.denoiser.new_scheduler(flow.steps), origin_of(flow, **drawn)
    grid = (len(x_0), len(levels))
    return xarray.Dataset(
        {
            "same": (("sample", "level"), np.full(grid, np.nan)),
            "distance": (("sample", "level"), np.full(grid, np.nan)),
            "computed": (("sample", "level"), np.zeros(grid, bool)),
            "label": ("sample", before),
        },
        coords={
            "level": levels,
            "step": ("level", list(begins)),
            "sigma": ("level", [noise_level(scheduler, begin) for begin in begins]),
        },
        attrs={
            **origin,
            "warnings": [],
            IDENTITY: {
                "x_0": tensor_files.sha256(x_0),
                "labels": before.tolist(),
                "steps begun with": list(begins),
                **identity_of(origin),
            },
        },
    )


@torch.no_grad()
def _back(
    flow: DenoisingMap, image: torch.Tensor, begin: int, draws: int, seed: int, row: int
) -> torch.Tensor:
    """The images [draws, C, H, W] that come back after noising one image [C, H, W] up to step `begin`."""
    noise = torch.stack([_noise(flow, seed, row, begin, draw) for draw in range(draws)])
    return flow.from_step(begin, flow.noised(image.expand(draws, *image.shape), noise.to(image), begin))


def _drawn(flow: DenoisingMap, draws: int, seed: int) -> dict[str, int]:
    """What decides the noises, for the attributes; streams of version 1 go without saying."""
    streams = flow.loop.streams
    return {"draws": draws, "seed": seed} | ({"streams": streams} if streams > 1 else {})


def _noise(flow: DenoisingMap, seed: int, row: int, begin: int, draw: int) -> torch.Tensor:
    """The noise of one image, level and draw, from a stream of its own."""
    purpose, streams = f"U-turn of image {row} from step {begin}", flow.loop.streams
    return torch.randn(
        flow.denoiser.shape, generator=random_streams.stream(purpose, seed, draw, version=streams)
    )


def _beware(distance: np.ndarray) -> list[str]:
    """What makes distances [image, level], and the probabilities beside them, less than they look."""
    warnings = [ALONE] if len(distance) == 1 else []
    if lost := int(np.isnan(distance).sum()):
        warnings.append(
            f"{lost} of {distance.size} images and levels came back NaN or Inf in some draws: these count as another class, "
            "and the distance there is NaN"
        )
    return warnings


def _intervals(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of the mean over images of values [image, level], [level, 2]; NaN where there is one image alone."""
    if len(values) == 1:
        return np.full((values.shape[1], 2), np.nan)
    drawn = rng.integers(0, len(values), (RESAMPLED, len(values)))
    intervals = np.array([percentile_interval(column) for column in values[drawn].mean(1).T])
    return np.where(np.isnan(values.mean(0))[:, None], np.nan, intervals)
