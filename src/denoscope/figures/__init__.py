"""Figures: each `draw_*` draws one result on a matplotlib axis."""

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
from denoscope.figures.sensitivity import (
    draw_basins,
    draw_divergence,
    draw_expansion,
    draw_exponents,
    draw_growth,
    draw_sweep,
)

__all__ = [
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
]
