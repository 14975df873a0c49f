"""The denoising map as a dynamical system: arrays in, arrays out; every number with its interval and its limits.

>>> from denoscope import dynamics as d
>>> d.spectrum(denoiser, x_T, k=8, steps=50).exponents
>>> d.divergence(recording)
>>> d.verdict(labels)
"""

# All at once: a function that has its module's name must be bound after the module is, or the module hides it.
from denoscope.dynamics.basin_entropy import basin_entropy, basin_fractions
from denoscope.dynamics.boundary import boundary_dimension
from denoscope.dynamics.boundary_drawings import draw_boundary_dimension, draw_uncertainty
from denoscope.dynamics.closed_loop import closed_loop
from denoscope.dynamics.commitment import commitment
from denoscope.dynamics.correlation_dimension import correlation_dimension
from denoscope.dynamics.decided_drawings import (
    draw_commitment,
    draw_entropy,
    draw_turn_distance,
    draw_u_turn,
)
from denoscope.dynamics.divergence import divergence
from denoscope.dynamics.drawings import (
    draw_basins,
    draw_divergence,
    draw_expansion,
    draw_exponents,
    draw_growth,
    draw_sweep,
)
from denoscope.dynamics.epsilon_sweep import epsilon_sweep
from denoscope.dynamics.exponents import kaplan_yorke, lyapunov
from denoscope.dynamics.full_spectrum import full_spectrum
from denoscope.dynamics.gaussian_theory import covariance_spectrum, gaussian_theory
from denoscope.dynamics.geometry_drawings import (
    draw_distances,
    draw_participation,
    draw_path,
    draw_similarity,
    draw_speed,
)
from denoscope.dynamics.local_expansion import local_expansion
from denoscope.dynamics.loop_drawings import (
    draw_correlation_sum,
    draw_lyapunov,
    draw_orbit,
    draw_orbit_diagram,
    draw_recurrence,
)
from denoscope.dynamics.orbits import fixed_points, orbit, orbit_diagram, periodicity
from denoscope.dynamics.participation import participation
from denoscope.dynamics.path_geometry import path_geometry
from denoscope.dynamics.plane_growth import plane_growth
from denoscope.dynamics.recurrence import recurrence
from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.similarity import cka_matrix, linear_cka
from denoscope.dynamics.speciation import speciation
from denoscope.dynamics.spectrum import spectrum
from denoscope.dynamics.trajectory_distances import trajectory_distances
from denoscope.dynamics.u_turn import u_turn
from denoscope.dynamics.uncertainty import uncertainty_exponent
from denoscope.dynamics.verdict import verdict
from denoscope.dynamics.wada import wada
from denoscope.dynamics.zero_one import zero_one

__all__ = [
    "Estimate",
    "Result",
    "basin_entropy",
    "basin_fractions",
    "boundary_dimension",
    "cka_matrix",
    "closed_loop",
    "commitment",
    "correlation_dimension",
    "covariance_spectrum",
    "divergence",
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
    "epsilon_sweep",
    "fixed_points",
    "full_spectrum",
    "gaussian_theory",
    "kaplan_yorke",
    "linear_cka",
    "local_expansion",
    "lyapunov",
    "orbit",
    "orbit_diagram",
    "participation",
    "path_geometry",
    "periodicity",
    "plane_growth",
    "recurrence",
    "speciation",
    "spectrum",
    "trajectory_distances",
    "u_turn",
    "uncertainty_exponent",
    "verdict",
    "wada",
    "zero_one",
]
