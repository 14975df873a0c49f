"""Each value lies within its own interval."""

from typing import Any

import numpy as np
import pytest

from denoscope import dynamics as d


def measured(seed: int) -> list[tuple[str, Any, Any]]:
    """Names, values and intervals of measures of random data."""
    draws = np.random.default_rng(seed)
    x, plane = draws.standard_normal((60, 5)), np.kron(draws.integers(0, 3, (8, 8)), np.ones((5, 5), int))
    entropies = [d.basin_entropy(plane, box=box, offsets=offsets) for box in (4, 6) for offsets in (1, 3)]
    shares, paths = d.basin_fractions(plane), d.participation(draws.standard_normal((12, 2, 3)))
    estimates = [
        d.linear_cka(x, x @ draws.standard_normal((5, 3))),
        d.zero_one(draws.standard_normal(300), seed=seed),
        d.correlation_dimension(draws.standard_normal((250, 2))),
        d.boundary_dimension(plane, boxes=(2, 4, 8)),
        d.uncertainty_exponent(
            lambda points: (np.abs(points[:, 0]) < 0.3).astype(int),
            draws.standard_normal((400, 1)),
            (0.01, 0.03, 0.1),
        ),
    ]
    return [
        *((type(one).__name__, one.value, one.interval) for one in estimates),
        *(("entropy", one.entropy, one.entropy_interval) for one in entropies),
        *(("boundary entropy", one.boundary_entropy, one.boundary_interval) for one in entropies),
        *(("fraction", *pair) for pair in zip(shares.fractions, shares.intervals, strict=True)),
        *(("ratio", *pair) for pair in zip(paths.ratio, paths.intervals, strict=True)),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_value_lies_within_its_interval(seed):
    for name, value, interval in measured(seed):
        assert interval is None or interval[0] <= value <= interval[1], name
