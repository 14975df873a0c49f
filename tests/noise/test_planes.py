"""Spherical planes, planes through three noises, and planes that share their cells."""

import json
import math

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope import UserError, noise
from denoscope.noise.plane_grid import PlaneGrid

SHAPE = (1, 8, 8)


def angles(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The angles between rows of x and rows of y, in float64."""
    x, y = (rows.double().flatten(1) for rows in (x, y))
    sine = torch.linalg.norm(x / x.norm(dim=1, keepdim=True) - y / y.norm(dim=1, keepdim=True), dim=1) / 2
    return 2 * torch.asin(sine)


def test_noises_of_a_spherical_plane_have_the_norm_of_the_base_and_their_distance_is_the_arc():
    x = noise.plane((9, 7), SHAPE, lengths=(20.0, 12.0), geometry="spherical", base_seed=3)
    base = noise.plane((1, 1), SHAPE, base_seed=3).tensor(0)[None]
    radius = base.double().norm()
    cells = x.at(np.stack([x.coords["u"], x.coords["v"]], 1), dtype=torch.float64)
    torch.testing.assert_close(cells.flatten(1).norm(dim=1), radius.expand(63), rtol=1e-7, atol=0)
    arcs = angles(cells, base.expand(63, -1, -1, -1)) * radius
    expected = torch.from_numpy(np.hypot(x.coords["u"], x.coords["v"]))
    torch.testing.assert_close(arcs, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(x.batch(range(63)), cells.float())


def test_a_spherical_plane_reaches_the_opposite_pole_and_ends_there():
    radius = float(noise.plane((1, 1), SHAPE, base_seed=3).tensor(0).double().norm())
    around = 2 * math.pi * radius
    x = noise.plane((3, 1), SHAPE, lengths=(around * 0.9999999, 1.0), geometry="spherical", base_seed=3)
    torch.testing.assert_close(x.tensor(0), -x.tensor(1), rtol=0, atol=1e-5)
    with pytest.raises(
        UserError, match=rf"lengths is .* allowed with geometry='spherical': up to {around:.4g}"
    ):
        noise.plane((3, 1), SHAPE, lengths=(around * 1.001, 1.0), geometry="spherical", base_seed=3)


def test_a_plane_through_three_noises_contains_them():
    a, b, c = (x.double() for x in noise.random(3, SHAPE, seed=5))
    x = noise.plane_through(a, b, c, (8, 8))
    apart = float((b - a).norm())
    along = float(((c - a) * (b - a)).sum()) / apart
    off = math.sqrt(float((c - a).norm()) ** 2 - along**2)
    found = x.at([[0, 0], [apart, 0], [along, off]], dtype=torch.float64)
    torch.testing.assert_close(found, torch.stack([a, b, c]), rtol=0, atol=1e-12)
    assert x.lengths == pytest.approx((1.5 * (max(apart, along) - min(0, along)), 1.5 * off))
    assert x.center == pytest.approx(((max(apart, along) + min(0, along)) / 2, off / 2))


def test_a_sphere_through_three_noises_contains_their_directions():
    a, b, c = noise.random(3, SHAPE, seed=5)
    x = noise.plane_through(a, b, c, (8, 8), geometry="spherical")
    points = x.frame.coordinates("spherical")
    found = x.at(points.numpy(), dtype=torch.float64)
    torch.testing.assert_close(
        angles(found, torch.stack([a, b, c])), torch.zeros(3).double(), rtol=0, atol=1e-9
    )
    torch.testing.assert_close(found.flatten(1).norm(dim=1), a.double().norm().expand(3), rtol=1e-9, atol=0)
    arc = float(angles(a[None], b[None])) * float(a.double().norm())
    assert points[1].tolist() == pytest.approx([arc, 0], abs=1e-9)


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
@pytest.mark.parametrize("endpoint", [True, False])
def test_a_plane_through_three_noises_is_read_back_to_the_rounding_of_its_files(tmp_path, geometry, endpoint):
    x = noise.plane_through(*noise.random(3, SHAPE, seed=5), (7, 4), geometry=geometry, endpoint=endpoint)
    x.write(tmp_path / "noises")
    grid = PlaneGrid.of(noise.read(tmp_path / "noises"))
    assert grid.plane.u.tolist() == x.u.tolist() and grid.plane.v.tolist() == x.v.tolist()
    assert grid.made_with["anchors_sha256"] == x.parameters["anchors_sha256"]
    assert grid.plane.geometry == geometry and grid.plane.endpoint is endpoint
    torch.testing.assert_close(grid.plane.directions, x.directions, rtol=0, atol=1e-6)
    points = np.stack([x.coords["u"], x.coords["v"]], 1)
    found = grid.plane.at(points, torch.float64)
    torch.testing.assert_close(found, x.at(points, torch.float64), rtol=0, atol=2e-6)
    for count in ((7, 1), (1, 7), (1, 1)):
        noise.plane_through(*noise.random(3, SHAPE, seed=5), count, geometry=geometry).write(
            tmp_path / f"{count}"
        )
        with pytest.raises(UserError, match=r"through three states, .* noise\.plane_through again$"):
            PlaneGrid.of(noise.read(tmp_path / f"{count}"))


def test_a_plane_through_three_noises_has_as_many_cells_as_one_of_the_command_line():
    assert noise.plane_through(*noise.random(3, SHAPE)).counts == (25, 41)
    with pytest.raises(UserError, match="counts is None; allowed: two numbers"):
        noise.plane_through(*noise.random(3, SHAPE), None)


def test_a_plane_through_states_of_a_recording_contains_them(tiny):
    rec = ds.record(tiny, noise.random(3, tiny.shape), steps=2)
    a, b, c = (rec.sequence.isel(sample=k, state=1) for k in range(3))
    x = noise.plane_through(a, b, c, (4, 4))
    found = x.at(x.frame.coordinates("flat"), torch.float64)
    for one, state in zip(found, (a, b, c), strict=True):
        np.testing.assert_allclose(one, state.values, rtol=0, atol=1e-6)


def test_anchors_may_be_arrays_of_any_library_and_identify_the_plane():
    a, b, c = noise.random(3, SHAPE, seed=5)
    one = noise.plane_through(a, b, c, (4, 4))
    assert one == noise.plane_through(a.numpy(), b[None], c.double(), (4, 4))
    assert one != noise.plane_through(a, c, b, (4, 4))
    assert len(one.parameters["anchors_sha256"]) == 64 and json.dumps(one.parameters)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"third": torch.zeros(1, 4, 4)},
            r"third has shape \[1, 4, 4\]; allowed: \[1, 8, 8\], that of the first",
        ),
        ({"third": "b"}, "third is 'b'"),
        ({"second": "a"}, "second is 'a'"),
        ({"second": torch.full(SHAPE, math.nan)}, "second holds NaN or Inf"),
        ({"second": "first"}, "the three states span no plane: two are equal"),
        (
            {"counts": (0, 4)},
            r"counts is \(0, 4\): the number along u is 0; allowed: an integer of at least 1",
        ),
        ({"lengths": (0, 0)}, r"lengths is \(0, 0\): the number along u is 0; allowed: a number above 0"),
        ({"geometry": "round"}, "geometry is 'round'; allowed: flat, spherical"),
        ({"endpoint": 1}, "endpoint is 1"),
    ],
)
def test_anchors_and_options_that_make_no_plane_are_refused(change, line):
    a, b, c = noise.random(3, SHAPE, seed=5)
    given = {"first": a, "second": b, "third": c, "counts": (4, 4)} | change
    if given["second"] == "first":
        given["second"] = a.clone()
    with pytest.raises(UserError, match=line):
        noise.plane_through(**given)


@pytest.mark.parametrize("factor", [0, -1, 2])
def test_states_in_one_plane_with_zero_span_no_sphere(factor):
    a, _, c = noise.random(3, SHAPE, seed=5)
    for states in ((a, factor * a, c), (factor * a, a, c)):
        with pytest.raises(UserError, match="on a sphere in one plane with 0"):
            noise.plane_through(*states, (4, 4), geometry="spherical")


def test_noises_on_one_line_make_no_plane():
    a, b, _ = noise.random(3, SHAPE, seed=5)
    with pytest.raises(UserError, match="all lie on one line"):
        noise.plane_through(a, b, a + 2 * (b - a), (4, 4))


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
def test_a_plane_without_endpoint_shares_its_cells_with_finer_ones_to_the_bit(geometry):
    options = {"lengths": (9.7, 3.3), "center": (0.1, -0.2), "geometry": geometry, "endpoint": False}
    coarse, fine = (noise.plane((n, n), SHAPE, **options) for n in (12, 48))
    assert coarse.u.tolist() == fine.u[::4].tolist() and coarse.v.tolist() == fine.v[::4].tolist()
    shared = [48 * x + y for x in range(0, 48, 4) for y in range(0, 48, 4)]
    assert torch.equal(coarse.batch(range(144)), fine.batch(shared))
    assert fine.u[0] == pytest.approx(0.1 - 9.7 / 2) and fine.u[-1] == pytest.approx(0.1 + 9.7 / 2 - 9.7 / 48)


def test_a_folder_keeps_geometry_and_endpoint(tmp_path):
    x = noise.plane((3, 2), SHAPE, lengths=(5.0, 4.0), geometry="spherical", endpoint=False)
    x.write(tmp_path / "noises")
    grid = PlaneGrid.of(noise.read(tmp_path / "noises"))
    assert grid.plane == x and grid.made_with["geometry"] == "spherical"
    flat = noise.plane((3, 2), SHAPE, lengths=(5.0, 4.0))
    assert not {"geometry", "endpoint"} & set(flat.parameters)


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
def test_a_part_of_a_plane_around_a_point_has_the_noises_of_the_plane_there(geometry):
    """At the point, and along the direction to it, where a great circle stays one."""
    x = noise.plane((5, 5), SHAPE, lengths=(8.0, 8.0), base_seed=3, geometry=geometry)
    part = x.in_precision(torch.float64).around((1.5, -2.0), (2.0, 2.0))
    along = np.linspace(-1, 1, 9)[:, None] * np.array([0.6, -0.8])
    torch.testing.assert_close(
        part.at(along, torch.float64), x.at(along + np.array([1.5, -2.0]), torch.float64), rtol=0, atol=1e-14
    )
    cells = part.batch(range(25))
    norms = cells.flatten(1).norm(dim=1)
    assert cells.dtype == torch.float64 and part.parameters["dtype"] == "float64"
    if geometry == "spherical":
        torch.testing.assert_close(norms, x.frame.vectors(geometry)[0].norm().expand(25), rtol=1e-14, atol=0)
    else:
        everywhere = np.stack([part.coords["u"], part.coords["v"]], 1) + np.array([1.5, -2.0])
        torch.testing.assert_close(cells, x.at(everywhere, torch.float64), rtol=0, atol=1e-14)


def test_a_part_far_below_the_precision_of_the_coordinates_keeps_the_steps_between_noises():
    """Steps of 1e-8 between noises of size 1000: float64 has room for four digits of them, float32 for none."""
    x = noise.plane((5, 5), SHAPE, lengths=(8000.0, 8000.0), base_seed=3)
    part = x.in_precision(torch.float64).around((3000.0, 1000.0), (5e-8, 5e-8))
    cells = part.batch(range(25)).reshape(5, 5, -1)
    steps = (cells[1:] - cells[:-1]).norm(dim=-1)
    torch.testing.assert_close(steps, torch.full_like(steps, 1e-8), rtol=1e-4, atol=0)
    assert part.resolution < 1e-8 < x.around((3000.0, 1000.0), (5e-8, 5e-8)).resolution


def test_a_plane_in_float32_is_described_as_before_there_were_others():
    assert "dtype" not in noise.plane((2, 2), SHAPE).parameters
    spacing = np.spacing(noise.plane((2, 2), SHAPE).tensor(0).abs().numpy()).astype(float)
    assert noise.plane((2, 2), SHAPE).resolution == 10 * math.sqrt((spacing**2).sum() / 6)
    assert (
        noise.plane((2, 2), SHAPE).in_precision(torch.bfloat16).around((0.0, 0.0), (1.0, 1.0)).resolution
        > 0.1
    )
