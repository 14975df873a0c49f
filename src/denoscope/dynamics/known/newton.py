"""Newton's method for z³ = 1 as steps of DDIM: basins with a fractal boundary and published values."""

from __future__ import annotations

import numpy as np
import torch

from denoscope import dynamics
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.known.check import Check
from denoscope.sampling.loop import sample

STEPS = 50
CELLS, POINTS = 300, 20_000
BOXES = 5, 10
ENTROPY = 0.108312, 0.162880
BOUNDARY_ENTROPY = 0.691350, 0.672438
UNCERTAINTY = 0.555
DIMENSION = 2 - UNCERTAINTY
"""The box counts of 300² cells, in spacings between cells, come within 0.04 of it."""


def checks() -> list[Check]:
    line = np.linspace(-1, 1, CELLS)
    plane = np.stack(np.meshgrid(line, line))
    labels = _denoised(plane)
    entropy = dynamics.basin_entropy(labels, box=BOXES)
    prefix = "Newton z³−1, DDIM N=50"
    results = [
        Check(f"{prefix}: labels unlike NumPy's", 0, int(np.count_nonzero(labels != _iterated(plane))))
    ]
    for k, box in enumerate(BOXES):
        results += [
            Check(f"{prefix}: basin entropy, boxes of {box}", ENTROPY[k], entropy.entropy[k], 1e-6),
            Check(
                f"{prefix}: boundary entropy, {box}", BOUNDARY_ENTROPY[k], entropy.boundary_entropy[k], 1e-6
            ),
        ]
    points = np.random.default_rng(0).uniform(-1, 1, (POINTS, 2))
    exponent = dynamics.uncertainty_exponent(_labels_of, points, np.logspace(-4, -1, 8).tolist())
    return [
        *results,
        Check(f"{prefix}: boundary dimension", DIMENSION, dynamics.boundary_dimension(labels).value, 0.04),
        Check(f"{prefix}: uncertainty exponent", UNCERTAINTY, exponent.value, 0.02),
        Check(f"{prefix}: verdict", "fractal", dynamics.verdict(labels).verdict),
        Check(f"{prefix}: Wada test", "wada", dynamics.wada(labels).reading),
    ]


def _denoised(points: np.ndarray) -> np.ndarray:
    """The index of the root to which points [2, h, w], all in one state, are denoised."""
    network = models.embedded(models.newton, STEPS, points.shape)
    x_0 = sample(network, torch.from_numpy(points)[None], steps=STEPS, lanes=1)
    return models.nearest_root(x_0[0].numpy())


def _labels_of(points: np.ndarray) -> np.ndarray:
    """The labels [n] of points [n, 2]."""
    return _denoised(np.ascontiguousarray(points.T)[:, None])[0]


def _iterated(points: np.ndarray) -> np.ndarray:
    """The index of the root that Newton's method reaches, in NumPy."""
    z = points[0] + 1j * points[1]
    for _ in range(STEPS):
        z = z - (z**3 - 1) / (3 * z**2)
    return models.nearest_root(np.stack([z.real, z.imag]))
