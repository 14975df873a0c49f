"""The norms of Gaussian noise."""

from __future__ import annotations

import functools
import math

from denoscope.noise.noise_set import Shape

RARE = 1e-6
"""The probability that a norm lies below the bounds, and the probability that one lies above."""


@functools.cache
def bounds(dimension: int, count: int = 1) -> tuple[float, float]:
    """The least and the largest norm (L2) to expect of `count` independent standard normal vectors.

    The least norm of so many is smaller with probability 1e-6 at most, and the largest norm is larger with the same. These
    are quantiles of the χ distribution. For one vector of many dimensions they lie about 3.4 below and above √dimension.
    """
    from scipy import special

    least = special.gammaincinv(dimension / 2, RARE / count)
    most = special.gammainccinv(dimension / 2, RARE / count)
    return math.sqrt(2 * least), math.sqrt(2 * most)


def warnings(
    noises: str, norms: tuple[float, float], shape: Shape, *, advice: str, count: int = 1
) -> list[str]:
    """A line if noises have norms that Gaussian noise does not have, since models are trained on Gaussian noise.

    Args:
        noises: what the line calls them.
        norms: their smallest and their largest norm (L2).
        advice: how to make others.
        count: how many they are, if they are independent of each other.
    """
    dimension = math.prod(shape)
    (low, high), (least, most) = norms, bounds(dimension, count)
    if least <= low and high <= most:
        return []
    return [
        f"{noises} have norms (L2) of {low:.4g} to {high:.4g}, up to {max(least - low, high - most):.4g} outside of the range "
        f"{least:.4g} to {most:.4g} (√{dimension} ± {(most - least) / 2:.2g}) of Gaussian noise, on which models are trained; "
        f"{advice}"
    ]
