"""Checks of every measure on systems with known values, most of them run through diffusers' schedulers and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from denoscope.dynamics.known import gaussian_data, geometry, maps, mixture, newton, rounding
from denoscope.dynamics.known.check import HEAD, Check

__all__ = ["HEAD", "Check", "run"]

Group = Callable[[], list[Check]]
CELLS, QUICK_CELLS = 180, 40
"""Cells per side of the plane of the fake fractal."""


def run(*, quick: bool = False) -> Iterator[Check]:
    """Yield all checks, group by group as they are measured.

    A group that raises an error yields one check that fails.

    Args:
        quick: leave out Hénon's attractor and use a smaller plane for the fake fractal.
    """
    for name, group in _groups(quick).items():
        try:
            yield from group()
        except Exception as error:  # whatever a broken measure raises
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
        "rounding": rounding.checks,
        "fake fractal": partial(mixture.fake_fractal, QUICK_CELLS if quick else CELLS),
    }
    return groups if quick else groups | {"Hénon's attractor": maps.attractor}
