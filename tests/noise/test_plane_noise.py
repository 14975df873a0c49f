"""Planes of noises: their geometry, recomputed in float64."""

import json
import pickle
import re
import tracemalloc

import numpy as np
import pytest
import torch

from denoscope import UserError, noise
from denoscope.noise.plane_grid import PlaneGrid

SHAPE = (1, 28, 28)


def norm(tensor: torch.Tensor) -> float:
    return tensor.double().norm().item()


@pytest.mark.parametrize("seeds", [(100, 200), (1, 2), (7, 0)])
@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 4), (1, 1, 2)])
def test_the_directions_of_a_plane_are_orthonormal(shape, seeds):
    first, second = noise.plane((1, 1), shape, direction_seeds=seeds).directions
    assert first.dtype == second.dtype == torch.float64 and first.shape == second.shape == shape
    products = [(first * first).sum(), (second * second).sum(), (first * second).sum()]
    np.testing.assert_allclose(products, [1, 1, 0], rtol=0, atol=1e-12)


def test_the_cells_of_a_plane_are_base_plus_u_d1_plus_v_d2():
    x = noise.plane((3, 4), SHAPE, lengths=(200.0, 600.0), center=(10.0, -20.0))
    first, second = noise.plane((1, 1), SHAPE).directions
    u, v = (torch.from_numpy(x.coords[axis]) for axis in "uv")
    assert u.tolist() == [-90.0] * 4 + [10.0] * 4 + [110.0] * 4
    assert v.tolist() == [-320.0, -120.0, 80.0, 280.0] * 3
    cells = x.batch(range(12)).double()
    offsets = cells - cells[0]
    expected = (u - u[0]).view(-1, 1, 1, 1) * first + (v - v[0]).view(-1, 1, 1, 1) * second
    torch.testing.assert_close(offsets, expected, rtol=0, atol=1e-5)
    assert norm(cells[4] - cells[0]) == pytest.approx(100, rel=1e-6)
    assert norm(cells[1] - cells[0]) == pytest.approx(200, rel=1e-6)
    assert ((cells[4] - cells[0]) * (cells[1] - cells[0])).sum().abs() < 1e-6 * 100 * 200


def test_the_middle_of_a_centred_plane_is_the_base_of_its_seed():
    one, two = (noise.plane((3, 3), SHAPE, base_seed=seed) for seed in (420, 421))
    assert torch.equal(one.tensor(4), noise.perturbed(1, SHAPE, base_seed=420).tensor(0))
    assert not torch.equal(one.tensor(4), two.tensor(4))


def test_a_plane_of_one_cell_is_its_centre():
    x = noise.plane((1, 1), SHAPE, center=(3.0, 4.0))
    assert x.coords["u"].tolist() == [3.0] and x.coords["v"].tolist() == [4.0]
    base = noise.plane((1, 1), SHAPE).tensor(0)
    assert norm(x.tensor(0).double() - base.double()) == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize(("center", "finest"), [((0.0, 0.0), 1e-5), ((1e6, 0.0), 0.2)])
def test_a_plane_finer_than_float32_is_refused_with_the_smallest_length_that_works(center, finest):
    """At the smallest length rounding moves cells by a tenth of their distance, measured on the cells."""
    for lengths in ((1e-30, 1e-30), (1e-30, 60.0), (60.0, finest)):
        axis = "u" if lengths[0] < 1 else "v"
        with pytest.raises(UserError, match=rf"lengths is .* cells along {axis} .* float32") as refused:
            noise.plane((5, 5), SHAPE, lengths=lengths, center=center)
    least = float(str(refused.value).partition("allowed: about ")[2].split()[0])
    x = noise.plane((5, 5), SHAPE, lengths=(60.0, 1.05 * least), center=center)
    _, second = noise.plane((1, 1), SHAPE).directions
    off = x.tensor(1).double() - x.tensor(0).double() - 1.05 * least / 4 * second
    assert 0.08 < norm(off) / (1.05 * least / 4) < 0.12
    noise.plane((1, 5), SHAPE, lengths=(1e-30, 60.0))  # one cell has no neighbour


def test_points_of_a_plane_are_computed_in_float64_and_rounded_last():
    x = noise.plane((3, 4), SHAPE, lengths=(20.0, 60.0), base_seed=7, direction_seeds=(5, 6))
    draw = noise.perturbed(1, SHAPE, base_seed=7).tensor(0).double()
    first, second = x.directions
    points = [(0.0, 0.0), (1 / 3, -2.5), (1e-9, 0.0)]
    exact = torch.stack([draw + u * first + v * second for u, v in points])
    for given in (points, np.array(points), torch.tensor(points, dtype=torch.float64)):
        noises = x.at(given, dtype=torch.float64)
        assert noises.dtype == torch.float64 and torch.equal(noises, exact)
        assert torch.equal(x.at(given), exact.float())
    step = (x.at(points, torch.float64)[2] - x.at(points, torch.float64)[0]).norm().item()
    assert step == pytest.approx(1e-9, rel=1e-5)


def test_cells_are_points_of_their_plane_and_any_number_of_points_has_the_same_bits():
    x = noise.plane((20, 15), (1, 3, 3), lengths=(20.0, 60.0))
    cells = np.stack([x.coords["u"], x.coords["v"]], 1)
    at = x.at(cells)
    assert torch.equal(at, x.batch(range(300)))
    assert torch.equal(at, torch.cat([x.at(cell[None]) for cell in cells]))
    assert x.at(np.zeros((0, 2))).shape == (0, 1, 3, 3)
    np.testing.assert_array_equal(x.u, np.linspace(-10, 10, 20))
    np.testing.assert_array_equal(x.v, np.linspace(-30, 30, 15))


@pytest.mark.parametrize(
    ("points", "received"),
    [(np.zeros(2), "[2]"), (np.zeros((2, 3)), "[2, 3]"), ([[0, np.nan]], "NaN"), ([[np.inf, 0]], "Inf")],
)
def test_points_that_are_not_in_a_plane_are_refused(points, received):
    with pytest.raises(UserError, match=f"^points .*{re.escape(received)}.*; allowed: "):
        noise.plane((2, 2), SHAPE).at(points)


def test_a_plane_is_computed_when_it_is_used():
    """A million cells take no more memory than four."""
    noise.plane((2, 2), SHAPE)  # fills the cache of directions
    tracemalloc.start()
    try:
        x = noise.plane((1000, 1000), SHAPE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000 and len(pickle.dumps(x)) < 1000
    assert len(x) == len(x.names) == 1_000_000
    assert x.names[1_001] == "plane_0420_100_200_x001_y001" and x.names[-1].endswith("_x999_y999")
    assert x.coords["u"].nbytes == 8_000_000 and repr(x.names).count("plane") == 3


GRIDS = {
    "made": lambda plane, _: plane,
    "read": lambda plane, folder: plane.write(folder) and noise.read(folder),
    "shuffled": lambda plane, _: plane.subset([3, 0, 5, 1, 4, 2]),
}


@pytest.mark.parametrize("kind", GRIDS)
def test_the_grid_of_a_plane_has_each_noise_in_its_cell(kind, tmp_path):
    plane = noise.plane((2, 3), SHAPE, lengths=(20.0, 60.0))
    noises = GRIDS[kind](plane, tmp_path)
    grid = PlaneGrid.of(noises)
    assert grid.plane == plane and grid.shape == (3, 2)
    points = np.stack([grid.coords["u"][1][grid.columns], grid.coords["v"][1][grid.rows]], 1)
    assert torch.equal(plane.at(points), noises.batch(range(6)))


@pytest.mark.parametrize(
    "noises",
    [None, torch.zeros(4, *SHAPE), noise.random(4, SHAPE), noise.plane((2, 3), SHAPE).subset(range(4))],
)
def test_noises_that_are_not_one_whole_plane_are_refused(noises):
    with pytest.raises(UserError, match=r"^plane "):
        PlaneGrid.of(noises)


def test_a_manifest_without_the_parameters_of_its_plane_is_refused(tmp_path):
    noise.plane((2, 3), SHAPE).write(tmp_path)
    manifest = tmp_path / "plane_0420_100_200.json"
    content = json.loads(manifest.read_text()) | {"format": "denoscope noise 1"}
    del content["lengths"], content["checksum"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="lengths"):
        PlaneGrid.of(noise.read(tmp_path))


@pytest.mark.parametrize("endpoint", [True, False])
def test_the_spacing_is_the_distance_of_neighbouring_cells(endpoint):
    x = noise.plane((5, 1), (1, 8, 8), lengths=(8.0, 3.0), endpoint=endpoint)
    u, v = x.spacing
    np.testing.assert_allclose(np.diff(x.u), u, rtol=1e-12)
    assert v == 0 and float((x.tensor(1).double() - x.tensor(0).double()).norm()) == pytest.approx(
        u, rel=1e-5
    )


def test_cells_closer_than_the_resolution_are_refused_with_and_without_endpoint():
    """At the smallest spacing that is allowed, whichever number of cells the length is divided into."""
    for count, endpoint in ((2, True), (2, False), (3, False)):
        least = noise.plane((2, 2), (1, 8, 8), lengths=(8.0, 8.0)).resolution * (count - endpoint)
        lengths = {part: (part * least, 8.0) for part in (0.7, 1.3)}
        noise.plane((count, 2), (1, 8, 8), lengths=lengths[1.3], endpoint=endpoint)
        with pytest.raises(UserError, match="below the resolution of float32"):
            noise.plane((count, 2), (1, 8, 8), lengths=lengths[0.7], endpoint=endpoint)
