"""A result of every kind, computed from small arrays and from systems with known values."""

import numpy as np
import torch
import xarray
from analytic import gaussian

from denoscope import dynamics

RNG = np.random.default_rng(0)
PATHS = RNG.normal(size=(12, 6, 5)).cumsum(axis=1)
PLANE = (np.add.outer(np.arange(64), np.arange(64)) > 60).astype(int) + (np.arange(64) > 50)
START = torch.tensor([0.3], dtype=torch.float64)
ORBIT = dynamics.orbit(lambda x: 4 * x * (1 - x), START, iterations=600)
CYCLE = np.tile([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]], (100, 1))
X_T = torch.zeros(1, 1, 1, 3)
MAP = gaussian((3.0, 1.0, 0.5))


def logistic(rate):
    return lambda x: rate * x * (1 - x)


def sweep():
    epsilons = np.repeat(np.logspace(-3, 0, 4), 8)
    apart = np.stack([epsilons, 2 * epsilons], 1)
    return dynamics.epsilon_sweep(
        xarray.Dataset(
            dict.fromkeys(("separation", "relative"), (("sample", "state"), apart))
            | {"usable": (("sample", "state"), np.ones_like(apart, bool))},
            coords={"epsilon": ("sample", epsilons), "state": [0, 1]},
            attrs={"warnings": []},
        )
    )


MEASURED = {
    "BasinEntropy": lambda: dynamics.basin_entropy(PLANE, box=(3, 5, 9)),
    "BasinFractions": lambda: dynamics.basin_fractions(np.where(PLANE == 2, -1, PLANE)),
    "BoundaryDimension": lambda: dynamics.boundary_dimension(PLANE),
    "CorrelationDimension": lambda: dynamics.correlation_dimension(RNG.uniform(size=(600, 2))),
    "CovarianceSpectrum": lambda: dynamics.covariance_spectrum(RNG.normal(size=(30, 1, 3, 3))),
    "EpsilonSweep": sweep,
    "FixedPoints": lambda: dynamics.fixed_points(
        lambda x: x + 0.1 * (x - x**3), torch.tensor([[-0.5], [0.1], [0.5]]).double(), iterations=300
    ),
    "GaussianTheory": lambda: dynamics.gaussian_theory(MAP, np.array([3.0, 0.5, 0.1]), steps=4),
    "KaplanYorke": lambda: dynamics.kaplan_yorke([0.4, -1.6]),
    "LocalExpansion": lambda: dynamics.local_expansion(MAP, X_T, 2, steps=4),
    "Lyapunov": lambda: dynamics.lyapunov(logistic(4.0), START, iterations=300),
    "OrbitDiagram": lambda: dynamics.orbit_diagram(
        logistic, [2.9, 3.3, 3.9], START, iterations=20, discard=20
    ),
    "Participation": lambda: dynamics.participation(PATHS),
    "PathGeometry": lambda: dynamics.path_geometry(PATHS),
    "Periodicity": lambda: dynamics.periodicity(CYCLE),
    "Recurrence": lambda: dynamics.recurrence(ORBIT[:200]),
    "Similarity": lambda: dynamics.linear_cka(PATHS[:, 0], PATHS[:, 3]),
    "SimilarityMatrix": lambda: dynamics.cka_matrix([PATHS[:, k] for k in (0, 2, 5)]),
    "Spectrum": lambda: dynamics.spectrum(MAP, X_T, 3, steps=4),
    "TrajectoryDistances": lambda: dynamics.trajectory_distances(PATHS),
    "UncertaintyExponent": lambda: dynamics.uncertainty_exponent(
        lambda points: (points[:, 0] > 0).astype(int), RNG.uniform(-1, 1, (400, 2)), [0.03, 0.1, 0.3]
    ),
    "Verdict": lambda: dynamics.verdict(PLANE),
    "Wada": lambda: dynamics.wada(PLANE),
    "ZeroOne": lambda: dynamics.zero_one(ORBIT[:, 0].numpy(), seed=0),
}
NOT_DRAWN = {"Estimate", "Null", "Speciation"}
"""A base class, a part of `Verdict`, and a level that other drawings mark."""
