"""Groups of flags that several commands take."""

from __future__ import annotations

from dataclasses import dataclass

from denoscope.cli.verb import OwnFlags
from denoscope.config import LANES, LARGE_IMAGE, LARGE_IMAGE_LANES, MAP_LANES
from denoscope.foundation.checked import option

MODEL = "model scheduler clip_sample dtype"
"""Fields of the model configuration."""
CLUSTER = "cluster allow_different_devices"
"""Fields of the system configuration that say which workers share the work."""
EARLIER_WORK = "resume overwrite"
"""Fields of the inference configuration that say what to do with earlier work."""
CONDITION = "labels condition guidance_scale"
"""Fields of the inference configuration that say under which condition all noises are denoised."""
EXTENT = "num_prompts_per_direction len_per_direction center_coords plane_base_seed:base_seed direction_seeds"
"""Fields of the default configuration that say where a plane of noises is, and how many it has."""
FLAT_PLANE = f"{EXTENT} endpoint"
"""Fields of the default configuration that describe a flat plane of noises."""
PLANE = f"{FLAT_PLANE} geometry"
"""Fields of the default configuration that describe a plane of noises, or a part of a sphere."""
ZOOMED_PLANE = f"{EXTENT} geometry"
"""Fields that describe the first plane of a zoom, which places the cells of all its levels in one way."""
CLASSIFIED_PLANE = {
    "system": f"device threads seed {CLUSTER}",
    "model": MODEL,
    "inference": f"num_steps {CONDITION} batch_size {EARLIER_WORK}",
    "classifier": "classifier classifier_weights reject",
    "default": PLANE,
}
"""The classes that noises of a plane become."""
SPECTRUM = {
    "system": f"inputs device threads seed {CLUSTER}",
    "model": MODEL,
    "inference": f"num_steps {CONDITION} noise {EARLIER_WORK}",
}
"""Exponents of the noises of a folder."""
LOOP = {
    "system": "inputs device threads seed",
    "model": MODEL,
    "inference": f"num_steps {CONDITION} {EARLIER_WORK}",
}
"""A closed loop that begins with a noise of a folder."""
ARRAYS = {"system": "threads", "inference": "overwrite"}
"""A measure of arrays, too quick to be resumed."""
SHAPE = {"generation": "image_size channels", "model": "model"}
"""The shape of noises."""


@dataclass(frozen=True)
class MapLanesFlags(OwnFlags):
    """How many noises go through the network in one call."""

    lanes: int | None = option(
        None,
        f"Rows of every network call; the last bits depend on it. By default {MAP_LANES}, or {LARGE_IMAGE_LANES} for images of more "
        f"than {LARGE_IMAGE} numbers on a processor.",
        LANES,
    )
