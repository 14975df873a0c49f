"""Figures: each `draw_*` draws one result on a given matplotlib axis and returns the axis.

>>> figure, ax = ds.figures.plots.figure()
>>> ds.figures.draw_divergence(ax, ds.dynamics.divergence(recording))
>>> ds.figures.plots.save(figure, "divergence.png")

`plots` has figures, files and planes of classes, `images` has tensors as pictures.
"""

from denoscope.figures import images, plots
from denoscope.figures.boundaries import draw_boundary_dimension, draw_uncertainty
from denoscope.figures.decisions import draw_commitment, draw_entropy, draw_turn_distance, draw_u_turn
from denoscope.figures.geometry import (
    draw_distances,
    draw_participation,
    draw_path,
    draw_similarity,
    draw_speed,
)
from denoscope.figures.loops import (
    draw_correlation_sum,
    draw_lyapunov,
    draw_orbit,
    draw_orbit_diagram,
    draw_recurrence,
)
from denoscope.figures.refinements import RefinementFrames, save_refinement
from denoscope.figures.sensitivity import (
    draw_basins,
    draw_divergence,
    draw_expansion,
    draw_exponents,
    draw_growth,
    draw_sweep,
)
from denoscope.figures.zooms import draw_zoom, save_zoom

__all__ = [
    "RefinementFrames",
    "draw_basins",
    "draw_boundary_dimension",
    "draw_commitment",
    "draw_correlation_sum",
    "draw_distances",
    "draw_divergence",
    "draw_entropy",
    "draw_expansion",
    "draw_exponents",
    "draw_growth",
    "draw_lyapunov",
    "draw_orbit",
    "draw_orbit_diagram",
    "draw_participation",
    "draw_path",
    "draw_recurrence",
    "draw_similarity",
    "draw_speed",
    "draw_sweep",
    "draw_turn_distance",
    "draw_u_turn",
    "draw_uncertainty",
    "draw_zoom",
    "images",
    "plots",
    "save_refinement",
    "save_zoom",
]


def __dir__() -> list[str]:
    return __all__
