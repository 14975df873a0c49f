"""The bound that an audit states, over a hundred seeded maps whose wrong cells are known."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.dynamics.boundaries.audit import Audit

CELLS, HALF = 48, 4.0


class Islands:
    """One class with round islands of another, at random places: many are smaller than the blocks of a map."""

    def __init__(self, linear, plane, seed):
        (one,) = ds.sample(linear, plane.tensor(0)[None], steps=1)
        self.factor = float(one.flatten()[0] / plane.tensor(0).flatten()[0])
        self.base = plane.at([[0.0, 0.0]], torch.float64).flatten()
        self.directions = plane.directions.flatten(1)
        rng = np.random.default_rng(seed)
        self.centres = rng.uniform(-HALF, HALF, (rng.integers(20, 300), 2))
        self.radius = rng.uniform(0.05, 0.12)

    def labels(self, u, v):
        away = np.hypot(u[..., None] - self.centres[:, 0], v[..., None] - self.centres[:, 1])
        return (away < self.radius).any(axis=-1).astype(int)

    def __call__(self, images):
        offset = images.double().flatten(1) / self.factor - self.base
        return self.labels(*(offset @ self.directions.T).T.numpy())


@pytest.mark.slow
def test_the_bound_of_an_audit_holds_in_as_many_maps_as_it_says(linear):
    plane = ds.noise.plane((CELLS, CELLS), linear.shape, lengths=(2 * HALF,) * 2, base_seed=2, endpoint=False)
    audits, shares = [], []
    for seed in range(100):
        islands = Islands(linear, plane, seed)
        found = ds.basins.map(
            linear,
            plane,
            steps=1,
            classifier=islands,
            method="adaptive",
            audit=32,
            lanes=16,
            batch_size=4096,
        )
        audit = Audit(**found.attrs["audit"])
        truth = islands.labels(*np.meshgrid(found["u"], found["v"]))
        wrong = np.count_nonzero(found["label"].values != truth) + audit.wrong
        audits.append(audit)
        shares.append(wrong / audit.filled)
    violated = {
        level: sum(share > audit.bound(level) for share, audit in zip(shares, audits, strict=True))
        for level in (0.95, 0.999)
    }
    assert np.mean([share > 0 for share in shares]) > 0.5, "most of the maps have wrong cells"
    assert violated[0.95] <= 10 and violated[0.999] == 0
    # A bound that is far too wide would pass as well; twice the share is more than it allows in many of the maps.
    assert sum(2 * share > audit.bound(0.95) for share, audit in zip(shares, audits, strict=True)) >= 10
