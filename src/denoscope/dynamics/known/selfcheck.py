"""Every measure on systems whose numbers are known, most of them run through diffusers' schedulers and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from denoscope.dynamics.known import gaussian_data, geometry, maps, mixture, newton
from denoscope.dynamics.known.check import HEAD, Check

__all__ = ["HEAD", "Check", "run"]

Group = Callable[[], list[Check]]
CELLS, QUICK_CELLS = 180, 40
"""Cells each way of the plane that shows the fake fractal."""


def run(*, quick: bool = False) -> Iterator[Check]:
    """All checks, each as soon as its group is measured: about a minute on one core.

    A group that fails altogether is one check that misses: a broken measure is what this is to find.

    Args:
        quick: leave Hénon's attractor out and take a smaller plane of the fake fractal: about ten seconds.
    """
    for name, group in _groups(quick).items():
        try:
            yield from group()
        except Exception as error:  # whatever a broken measure may raise
            yield Check(
                f"{name}: {type(error).__name__}: {' '.join(str(error).split())}", "an answer", "none"
            )


def _groups(quick: bool) -> dict[str, Group]:
    groups: dict[str, Group] = {
        "Gaussian data": gaussian_data.checks,
        "boundary of two Gaussians": mixture.boundary,
        "sides of two Gaussians": mixture.decided,
        "maps of fifty steps": maps.finite_maps,
        "series of states": maps.series,
        "Newton's basins": newton.checks,
        "points and series": geometry.checks,
        "fake fractal": partial(mixture.fake_fractal, QUICK_CELLS if quick else CELLS),
    }
    return groups if quick else groups | {"Hénon's attractor": maps.attractor}
