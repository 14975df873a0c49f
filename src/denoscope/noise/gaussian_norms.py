"""The norms of Gaussian noise."""

from __future__ import annotations

import functools

RARE = 1e-6
"""The share of noises whose norm is below the bounds, and the share of those above."""


@functools.cache
def bounds(dimension: int) -> tuple[float, float]:
    """The norms (L2) that all but one in a million standard normal vectors exceed, and fall below.

    These are quantiles of the χ distribution. They lie about 3.4 below and above √dimension in many dimensions.
    """
    from scipy import special

    least, most = 2 * special.gammaincinv(dimension / 2, [RARE, 1 - RARE])
    return float(least**0.5), float(most**0.5)
