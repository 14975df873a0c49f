"""The rows of every network call of a map."""

from __future__ import annotations

import math

from denoscope.config import LARGE_IMAGE, LARGE_IMAGE_LANES, MAP_LANES
from denoscope.models.denoiser import Denoiser


def map_lanes(denoiser: Denoiser) -> int:
    """The rows of every network call of a map, unless the caller names some.

    A small network computes several times as many rows a second with 64 as with 8. On a processor one of larger images is no faster with
    more than 16, and smaller calls waste fewer rows and show a first picture sooner.
    """
    is_large = denoiser.device.type == "cpu" and math.prod(denoiser.shape) > LARGE_IMAGE
    return LARGE_IMAGE_LANES if is_large else MAP_LANES
