"""Measures of points and series with known values."""

from __future__ import annotations

import numpy as np

from denoscope import dynamics
from denoscope.dynamics.known.check import Check


def checks() -> list[Check]:
    draws = np.random.default_rng(0)
    noise, states = draws.normal(size=2000), draws.normal(size=(200, 6))
    turned = 3 * states @ np.linalg.qr(draws.normal(size=(6, 6)))[0] + 1
    rate = 0.2
    dimensions = [
        Check(f"Kaplan–Yorke dimension of {name}", value, dynamics.kaplan_yorke(exponents).value, 1e-12)
        for name, exponents, value in (
            ("1, −1, −1", (1, -1, -1), 2),
            ("1, 1, −1/2", (1, 1, -0.5), 3),
            ("−1, −2", (-1, -2), 0),
        )
    ]
    return [
        *dimensions,
        Check("white noise: K of the 0–1 test, as for chaos", 1.0, dynamics.zero_one(noise).value, 0.05),
        Check(
            "white noise, recurrence rate 0.2: determinism",
            1 - (1 - rate) ** 2,
            dynamics.recurrence(noise, rate=rate).determinism or float("nan"),
            0.03,
        ),
        Check("linear CKA of states with themselves", 1.0, dynamics.linear_cka(states, states).value, 1e-12),
        Check(
            "linear CKA of states with rotated and scaled ones",
            1.0,
            dynamics.linear_cka(states, turned).value,
            1e-12,
        ),
        *_of_paths(),
    ]


def _of_paths() -> list[Check]:
    """A half circle of 12 chords, and four equal directions."""
    angles = np.linspace(0, np.pi, 13)
    arc = np.stack([np.cos(angles), np.sin(angles)], 1)
    shape = dynamics.path_geometry(arc[None])
    apart = dynamics.trajectory_distances(arc[None], arc[None] + (3, 4), metric="frechet").values[0, 0]
    corners = np.concatenate([np.eye(4), -np.eye(4)])[:, None]
    return [
        Check("half circle of 12 chords: length", 24 * np.sin(np.pi / 24), float(shape.lengths[0]), 1e-12),
        Check(
            "half circle of 12 chords: turning angle", np.pi / 12, float(shape.turning_angles[0, 0]), 1e-12
        ),
        Check("half circle moved by (3, 4): Fréchet distance", 5.0, float(apart), 1e-12),
        Check(
            "four equal directions: participation ratio",
            4.0,
            float(dynamics.participation(corners).ratio[0]),
            1e-12,
        ),
    ]
