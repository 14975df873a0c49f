"""What results look like when they are printed."""

import dataclasses

import numpy as np
import pytest
import torch

from denoscope import dynamics


@pytest.fixture(scope="module")
def plane():
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij")
    return (rows + 2 * columns > 90).long()


@pytest.fixture(scope="module")
def orbit():
    return dynamics.lyapunov(
        lambda x: 3.9 * x * (1 - x), torch.tensor([0.3], dtype=torch.float64), iterations=1000
    )


def test_a_result_is_shown_with_one_line_a_field(plane, orbit):
    for found in (orbit, dynamics.boundary_dimension(plane), dynamics.verdict(plane)):
        name, *lines = repr(found).splitlines()
        assert name == f"<{type(found).__name__}>"
        assert sorted(line.split(":")[0].strip() for line in lines) == sorted(
            item.name for item in dataclasses.fields(found)
        )
        assert lines[-1].split(":")[0].strip() == "warnings" and len(repr(found)) < 2000
    assert str(dynamics.verdict(plane)).startswith("smooth: ")


def test_of_an_array_type_shape_and_ends_are_shown(orbit):
    first, last = orbit.history[0, 0], orbit.history[-1, 0]
    (line,) = [line for line in str(orbit).splitlines() if line.strip().startswith("history:")]
    assert f"float64 [200, 1]  {first:.6g} " in line and line.endswith(f" {last:.6g}") and "…" in line
    assert f"  exponents:          float64 [1]  {orbit.exponents[0]:.6g}" in str(orbit)
    assert len(orbit.to_dict()["history"]) == 200 and np.isfinite(orbit.history).all()
