"""The model, the noises and the workers that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from denoscope.cli.output import warn
from denoscope.config import GenerationConfig, Settings, check_guidance
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from denoscope.models.conditioning import Condition
    from denoscope.models.denoiser import Denoiser, Shape
    from denoscope.noise.noise_set import NoiseSet
    from denoscope.noise.plane_noise import PlaneNoise


IMPORTED = (
    "denoscope.recording.runs.cluster_run",
    "denoscope.basins.cluster_labelling",
    "diffusers.models.unets.unet_2d",
    "xarray",
    "zarr",
)
"""What most workers need."""


def load(settings: Settings) -> Denoiser:
    """The denoiser that the settings name; settings that exclude each other are refused before it is loaded."""
    from denoscope.models import loading

    check_guidance(settings.inference)
    if settings.system.cluster is not None:
        from denoscope.cluster.connection import check_source

        check_source(settings.system.cluster)
    model = settings.model
    return loading.load(
        model.model,
        scheduler=model.scheduler,
        dtype=model.dtype,
        device=settings.system.device,
        clip_sample=model.clip_sample,
        config=model,
    )


@contextmanager
def workers_of(settings: Settings) -> Iterator[Client | None]:
    """The workers that the settings name, while the block runs; None if this process does the work."""
    if settings.system.cluster is None:
        yield None
        return
    import torch

    from denoscope.cluster.connection import connected

    with connected(settings.system.cluster, threads=torch.get_num_threads(), preload=IMPORTED) as client:
        yield client


def load_with_condition(settings: Settings) -> tuple[Denoiser, Condition]:
    """The denoiser, and the condition under which a command denoises all noises."""
    labels = settings.inference.labels
    if len(labels) > 1:
        raise UserError(f"--labels is {' '.join(map(str, labels))}; allowed: one class, that of all noises")
    denoiser = load(settings)
    from denoscope.recording.planning import condition_in

    return denoiser, condition_in(denoiser, settings.inference)


def check_classifier(settings: Settings, shape: Shape) -> None:
    """Refuse a classifier that does not take images of this shape."""
    from denoscope.models.classifier.classification import Classifier

    Classifier.configured(shape, settings.classifier)


def model_shape(settings: Settings) -> Shape:
    """The shape (C, H, W) of the model's states, from its configuration alone."""
    from denoscope.models.loading import shape_of

    return shape_of(settings.model.model)


def read_noises(settings: Settings, shape: Shape) -> NoiseSet:
    """The noises in the folder `inputs`, which must have the model's shape."""
    from denoscope import noise

    return noise.read(settings.system.inputs, shape=shape)


def first_noise(settings: Settings) -> torch.Tensor:
    """The first noise [1, C, H, W] of the folder `inputs`, with the warnings of that folder."""
    x = read_noises(settings, model_shape(settings))
    warn(x.warnings)
    return x.batch([0])


def plane_of(settings: Settings, shape: Shape) -> PlaneNoise:
    """The plane of noises."""
    from denoscope import noise

    default = settings.default
    return noise.plane(
        default.num_prompts_per_direction,
        shape,
        lengths=default.len_per_direction,
        center=default.center_coords,
        base_seed=default.plane_base_seed,
        direction_seeds=default.direction_seeds,
        geometry=default.geometry,
        endpoint=default.endpoint,
    )


def noise_shape(settings: Settings) -> Shape:
    """The shape (C, H, W) of the model's states.

    Raises: UserError if the settings name another size or number of channels.
    """
    shape = model_shape(settings)
    check_shape(settings, shape)
    return shape


def check_shape(
    settings: Settings,
    shape: Shape,
    *,
    spelled: Callable[[str], str] = GenerationConfig.spelled,
) -> None:
    """Refuse a size or a number of channels that differs from the model's.

    Args:
        spelled: how the message names a field of the generation configuration.
    """
    (channels, height, width), requested = shape, settings.generation
    model, size = settings.model.model, requested.image_size
    if requested.channels not in (None, channels):
        raise UserError(
            f"{spelled('channels')} is {requested.channels}; allowed: {channels}, the channels of {model}"
        )
    if size is not None and (size, size) != (height, width):
        allowed = f"{height}" if height == width else f"{height} by {width}"
        raise UserError(f"{spelled('image_size')} is {size}; allowed: {allowed}, the size of {model}")
