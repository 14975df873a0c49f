"""U-turns: noise an image part of the way, denoise it again, and see whether it keeps its class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from denoscope.config import InferenceConfig
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.origin import identity_of, origin_of
from denoscope.dynamics.statistics.arguments import parse_numbers
from denoscope.dynamics.statistics.intervals import clustered_interval, mean_interval
from denoscope.dynamics.trajectories.image_labels import LabelOf, parse_label_of
from denoscope.foundation import random_streams, tensor_files
from denoscope.foundation.arguments import accepts_num_steps, arguments_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer
from denoscope.models.classifier.labels import of_images
from denoscope.models.conditioning import NOTHING, Condition, of_first
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import noise_level
from denoscope.noise.coercion import NoiseLike, as_noises
from denoscope.recording.recording import Recording
from denoscope.sampling.image_start import first_step_of
from denoscope.sampling.settings import Loop

if TYPE_CHECKING:
    import xarray

ONE_IMAGE = (
    "there is one image only: the interval of the probability is over its draws, the distance has none, and nothing is "
    "known about other images"
)


@accepts_num_steps
@arguments_checked
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
    """The probability that images x_0 [n, C, H, W] keep their class after noising them to a level and denoising again.

    `same` (sample, level) is the share of `draws` independent noises that return the class of x_0, and `probability`
    (level) its mean over images. `interval` (level, end) is a 95 % Wilson interval. Draws of one image are correlated, so
    it uses an effective number of draws, estimated from the scatter between images; if all images agree, this is the
    number of images. `distance` (sample, level) is the root mean square over draws of ‖x_0' − x_0‖ (L2),
    `turn_distance` (level) that over draws and images, and `turn_distance_interval` (level, end) its 95 % interval over
    images: Student's, of the logarithm of the mean square. `step` (level) is the first step of the denoising, `sigma` and
    `timestep` its noise level and training timestep. `computed` (sample, level) is whether the draws are finished.

    Interpretation: the probability is 1 at small levels, and at large levels the share of the class among all samples. In
    between lies the level at which the class is decided.

    Caveats: one image has no interval of the distance, and that of its probability is over its draws only. Stochastic
    schedulers add noise in every step, which is common to all images and draws here.

    Args:
        x_0: images as a tensor, or an array of NumPy or xarray, such as `recording.final`.
        levels: shares of the `steps` as in `closed_loop`; level 1 removes the whole image. No two may start with the same
            step.
        seed: of the noises, each from a stream of its own for image, level and draw.
        label_of: a function from images [n, C, H, W] to integers [n]; by default the bundled classifier of
            their shape.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.

    Raises: UserError if x_0 does not fit the denoiser, a level leaves no step or the same as another, the scheduler depends
        on earlier steps, or the checkpoint exists.

    Source: forward–backward experiments: Sclocchi, Favero and Wyart, PNAS 122, e2408799121 (2025); Behjoo and Chertkov,
    U-turn diffusion (2023). Interval: Dean and Pagano, J. Survey Statistics and Methodology 3, 484 (2015), with the
    degrees of freedom of Korn and Graubard, Survey Methodology 24, 193 (1998).
    """
    parse_integer(seed, "seed")
    parse_integer(draws, "draws", minimum=1)
    checkpoint = parse_checkpoint(checkpoint)
    loop = Loop(steps=steps, noise_seed=seed, lanes=lanes, streams=checkpoint.streams)
    flow = DenoisingMap(denoiser, loop, of_first(condition))
    flow.check_single_steps()
    shares = parse_numbers(levels, "levels")
    begins = first_steps(shares, steps)
    images = _images(denoiser, x_0)
    label_of = parse_label_of(label_of, denoiser.shape, denoiser.name)
    turns = _Turns(flow, images, of_images(label_of, images.float().cpu()), begins, draws, label_of)
    with checkpoint.open(_initial_curve(turns, shares)) as work:
        work.run(turns.fill(work.data), work.data["computed"].size)
        work.data = _summarised(work.data, turns)
    return work.data


@dataclass(frozen=True, eq=False)
class _Turns:
    """U-turns of images [n, C, H, W] with labels [n], each from the first step of a level."""

    flow: DenoisingMap
    images: torch.Tensor
    labels: np.ndarray
    begins: Sequence[int]
    draws: int
    label_of: LabelOf

    def fill(self, data: xarray.Dataset) -> Iterator[int]:
        """Compute the remaining pairs of image and level, and yield the number of finished pairs after each."""
        same, distance, computed = (data[name].values for name in ("same", "distance", "computed"))
        for row, column in np.argwhere(~computed):
            after = self.turned(int(row), self.begins[column])
            labels = of_images(self.label_of, after.float().cpu())
            same[row, column] = np.mean(labels == self.labels[row])
            squared = (after - self.images[row]).double().flatten(1).square().sum(1)
            distance[row, column] = squared.mean().sqrt()
            computed[row, column] = True
            yield int(computed.sum())

    @torch.no_grad()
    def turned(self, row: int, begin: int) -> torch.Tensor:
        """The images [draws, C, H, W] that return after noising one image to the level of step `begin`."""
        image = self.images[row]
        noise = torch.stack([self._noise(row, begin, draw) for draw in range(self.draws)]).to(image)
        noised = self.flow.noised(image.expand(self.draws, *image.shape), noise, begin)
        return self.flow.from_step(begin, noised)

    def _noise(self, row: int, begin: int, draw: int) -> torch.Tensor:
        loop, purpose = self.flow.loop, f"U-turn of image {row} from step {begin}"
        stream = random_streams.stream(purpose, loop.noise_seed, draw, version=loop.streams)
        return torch.randn(self.flow.denoiser.shape, generator=stream)

    def timesteps(self) -> list[float]:
        """The training timestep of the first step of each level."""
        scheduler = self.flow.denoiser.new_scheduler(self.flow.steps)
        return [float(scheduler.timesteps[begin]) for begin in self.begins]


def _images(denoiser: Denoiser, x_0: NoiseLike) -> torch.Tensor:
    """The images in the precision of the denoiser and on its device."""
    if isinstance(x_0, Recording):
        raise UserError(f"x_0 is the recording {x_0.path}; allowed: its images, recording.final")
    images = as_noises(x_0, shape=denoiser.shape, name="x_0")
    return images.batch(range(len(images))).to(denoiser.device, denoiser.dtype)


def first_steps(levels: np.ndarray, steps: int) -> list[int]:
    """The first step of each level, all different."""
    if levels.ndim != 1 or not len(levels):
        raise UserError(
            f"{spelled('levels')} has shape {list(levels.shape)}; allowed: one or more shares of the steps, such as "
            "[0.2, 0.5, 1]"
        )
    begins: dict[int, float] = {}
    for level in levels.tolist():
        step = first_step_of(level, steps, "levels")
        if step in begins:
            raise UserError(
                f"{spelled('levels')} {begins[step]:g} and {level:g} both start with step {step} of {steps}; leave one "
                "out or take more steps"
            )
        begins[step] = level
    return list(begins)


def _initial_curve(turns: _Turns, levels: np.ndarray) -> xarray.Dataset:
    """The result before any work."""
    import xarray

    loop, grid = turns.flow.loop, (len(turns.images), len(levels))
    settings = {"draws": turns.draws, "seed": loop.noise_seed}
    # Version 1 is implied, because files of denoscope 0.1 do not name it.
    origin = origin_of(turns.flow, settings | ({"streams": loop.streams} if loop.streams > 1 else {}))
    identity = {
        "x_0": tensor_files.sha256(turns.images),
        "labels": turns.labels.tolist(),
        "steps begun with": list(turns.begins),
        **identity_of(origin),
    }
    scheduler = turns.flow.denoiser.new_scheduler(turns.flow.steps)
    return xarray.Dataset(
        {
            "same": (("sample", "level"), np.full(grid, np.nan)),
            "distance": (("sample", "level"), np.full(grid, np.nan)),
            "computed": (("sample", "level"), np.zeros(grid, bool)),
            "label": ("sample", turns.labels),
        },
        coords={
            "level": levels,
            "step": ("level", list(turns.begins)),
            "sigma": ("level", [noise_level(scheduler, begin) for begin in turns.begins]),
        },
        attrs={**origin, "warnings": [], IDENTITY: identity},
    )


def _summarised(data: xarray.Dataset, turns: _Turns) -> xarray.Dataset:
    """The result with means over images and their intervals."""
    same, squared = data["same"].to_numpy(), data["distance"].to_numpy() ** 2
    return (
        data.assign(
            probability=("level", same.mean(0)),
            interval=(("level", "end"), clustered_interval(same, turns.draws)),
            turn_distance=("level", np.sqrt(squared.mean(0))),
            turn_distance_interval=(("level", "end"), np.sqrt(mean_interval(squared))),
        )
        .assign_coords(timestep=("level", turns.timesteps()))
        .assign_attrs(warnings=_warnings(squared))
    )


def _warnings(distance: np.ndarray) -> list[str]:
    """Warnings about distances [image, level]."""
    warnings = [ONE_IMAGE] if len(distance) == 1 else []
    if lost := int(np.isnan(distance).sum()):
        warnings.append(
            f"{lost} of {distance.size} images and levels became NaN or infinite in some draws, which count as another class; "
            "their distance is NaN"
        )
    return warnings
