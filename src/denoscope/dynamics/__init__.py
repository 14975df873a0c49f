"""The denoising map as a dynamical system: measures of denoisers, recordings and arrays.

Each measure returns a result with its origin and warnings; estimates have intervals.

>>> from denoscope import dynamics as d
>>> d.spectrum(denoiser, x_T, k=8, steps=50).exponents
>>> d.divergence(recording)
>>> d.verdict(labels)
"""

# All at once: a function with the name of its module must be bound after the module is, or the module hides it.
from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.basin_fractions import basin_fractions
from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.point_labels import PointLabels
from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent, uncertainty_exponent_of
from denoscope.dynamics.boundaries.verdict import verdict
from denoscope.dynamics.boundaries.wada import wada
from denoscope.dynamics.loops.closed_loop import closed_loop
from denoscope.dynamics.loops.correlation_dimension import correlation_dimension
from denoscope.dynamics.loops.fixed_points import fixed_points
from denoscope.dynamics.loops.kaplan_yorke import kaplan_yorke
from denoscope.dynamics.loops.lyapunov import lyapunov
from denoscope.dynamics.loops.orbit import orbit
from denoscope.dynamics.loops.orbit_diagram import orbit_diagram
from denoscope.dynamics.loops.periodicity import periodicity
from denoscope.dynamics.loops.recurrence import recurrence
from denoscope.dynamics.loops.zero_one import zero_one
from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.sensitivity.epsilon_sweep import epsilon_sweep
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.local_expansion import local_expansion
from denoscope.dynamics.sensitivity.plane_growth import plane_growth
from denoscope.dynamics.sensitivity.spectra import spectra
from denoscope.dynamics.sensitivity.spectrum import spectrum
from denoscope.dynamics.trajectories.commitment import commitment
from denoscope.dynamics.trajectories.commitment_of import commitment_of
from denoscope.dynamics.trajectories.covariance_spectrum import covariance_spectrum
from denoscope.dynamics.trajectories.divergence import divergence
from denoscope.dynamics.trajectories.divergence_of import divergence_of
from denoscope.dynamics.trajectories.gaussian_theory import gaussian_theory
from denoscope.dynamics.trajectories.participation import participation
from denoscope.dynamics.trajectories.path_geometry import path_geometry
from denoscope.dynamics.trajectories.similarity import cka_matrix, linear_cka
from denoscope.dynamics.trajectories.speciation import speciation
from denoscope.dynamics.trajectories.trajectory_distances import trajectory_distances
from denoscope.dynamics.trajectories.u_turn import u_turn

__all__ = [
    "Estimate",
    "PointLabels",
    "Result",
    "basin_entropy",
    "basin_fractions",
    "boundary_dimension",
    "cka_matrix",
    "closed_loop",
    "commitment",
    "commitment_of",
    "correlation_dimension",
    "covariance_spectrum",
    "divergence",
    "divergence_of",
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
    "spectra",
    "spectrum",
    "trajectory_distances",
    "u_turn",
    "uncertainty_exponent",
    "uncertainty_exponent_of",
    "verdict",
    "wada",
    "zero_one",
]


def __dir__() -> list[str]:
    return __all__
