"""The norms of Gaussian noise, and the warning of planes that leave them."""

import math

import pytest
import torch
from scipy import stats

import denoscope as ds
from denoscope.noise import gaussian_norms

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("dimension", [1, 3, 64, 784, 16384])
def test_the_bounds_are_quantiles_of_the_chi_distribution(dimension):
    expected = stats.chi(dimension).ppf([1e-6, 1 - 1e-6])
    assert gaussian_norms.bounds(dimension) == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize("lengths", [(3.0, 2.0), (14.0, 5.0), (40.0, 40.0), (2000.0, 3000.0)])
@pytest.mark.parametrize("center", [(0.0, 0.0), (2.0, -30.0)])
def test_the_norms_are_those_of_the_noises(lengths, center):
    x = ds.noise.plane((5, 4), SHAPE, lengths=lengths, center=center)
    norms = (
        x.at(torch.stack([torch.from_numpy(x.coords[axis]) for axis in "uv"], 1), torch.float64)
        .flatten(1)
        .norm(dim=1)
    )
    assert x.norms == pytest.approx((norms.min().item(), norms.max().item()), rel=1e-12)
    least, most = stats.chi(64).ppf([1e-6, 1 - 1e-6])
    assert bool(x.warnings) == bool((norms < least).any() or (norms > most).any())
    for warning in x.warnings:
        beyond = max(least - norms.min().item(), norms.max().item() - most)
        assert f"up to {beyond:.4g}" in warning and "lengths" in warning and "\n" not in warning


def test_no_gaussian_noises_are_warned_of():
    norms = ds.noise.random(2000, SHAPE).batch(range(2000)).flatten(1).norm(dim=1)
    least, most = gaussian_norms.bounds(64)
    assert least < norms.min() and norms.max() < most


@pytest.mark.parametrize("count", [1, 40, 10**9])
def test_the_bounds_of_several_noises_are_those_of_one_at_a_rarer_probability(count):
    """The least of n independent norms is below a bound with probability 1 − (1 − p)ⁿ ≤ n·p."""
    chi = stats.chi(64)
    expected = chi.ppf(1e-6 / count), chi.isf(1e-6 / count)
    assert gaussian_norms.bounds(64, count) == pytest.approx(expected, rel=1e-9)


def write(folder, norms, shape=SHAPE):
    """A folder of noises in one direction with these norms."""
    folder.mkdir(exist_ok=True)
    for k, norm in enumerate(norms):
        direction = torch.ones(shape, dtype=torch.float64) / math.sqrt(math.prod(shape))
        torch.save(direction * norm, folder / f"{k}.pt")


def test_a_folder_is_warned_of_where_a_norm_is_not_that_of_gaussian_noise(tmp_path):
    least, most = stats.chi(64).ppf(5e-7), stats.chi(64).isf(5e-7)  # for two noises
    for number, (norms, beyond) in enumerate(
        [
            ((least + 1e-6, most - 1e-6), 0),
            ((8, most + 0.5), 0.5),
            ((least - 0.25, 8), 0.25),
            ((500, 500), 500 - most),
        ]
    ):
        write(folder := tmp_path / f"noises{number}", norms)
        x = ds.noise.read(folder)
        assert x.norms == pytest.approx((min(norms), max(norms)), rel=1e-12)
        if not beyond:
            assert x.warnings == []
            continue
        (warning,) = x.warnings
        for part in (
            folder,
            f"{min(norms):.4g} to {max(norms):.4g}",
            f"{beyond:.4g}",
            f"{least:.4g} to {most:.4g}",
            "√64 ±",
        ):
            assert str(part) in warning
        assert "\n" not in warning


def test_a_recording_of_a_folder_warns_once(tiny, tmp_path, caplog):
    ds.noise.random(3, tiny.shape).write(tmp_path / "normal")
    ds.record(tiny, ds.noise.read(tmp_path / "normal"), steps=1)
    assert not caplog.records
    write(tmp_path / "far", [500.0], tiny.shape)
    ds.record(tiny, x := ds.noise.read(tmp_path / "far"), steps=1)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == x.warnings != []


def test_a_sphere_never_leaves_the_norm_of_its_base_and_says_when_it_is_covered_twice():
    x = ds.noise.plane((9, 9), SHAPE, geometry="spherical")
    radius = x.frame.circumference / (2 * math.pi)
    assert x.norms == pytest.approx((radius, radius)) and not x.warnings
    assert x.lengths == pytest.approx((2 * math.pi * radius / 3,) * 2)
    # A corner of a square with half the diagonal π·r is the opposite pole; beyond it noises come again.
    once, twice = (x.frame.circumference * part / math.sqrt(2) for part in (0.999, 1.001))
    assert not ds.noise.plane((2, 2), SHAPE, lengths=(once, once), geometry="spherical").warnings
    (warning,) = ds.noise.plane((2, 2), SHAPE, lengths=(twice, twice), geometry="spherical").warnings
    assert "twice" in warning
    angle, beyond = 0.3, 1.2 * math.pi * radius
    points = [
        (distance * math.cos(turn), distance * math.sin(turn))
        for distance, turn in ((beyond, angle), (2 * math.pi * radius - beyond, angle + math.pi))
    ]
    one, other = x.at(points, torch.float64)
    torch.testing.assert_close(one, other)


def test_a_recording_and_a_map_of_such_a_plane_warn_once(tiny, caplog):
    x = ds.noise.plane((2, 2), tiny.shape, lengths=(500.0, 500.0))
    ds.record(tiny, x, steps=1)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == x.warnings
    found = ds.basins.map(tiny, x, steps=1, classifier=lambda images: images.mean((1, 2, 3)) > 0)
    assert found.attrs["warnings"] == x.warnings != []
    near = ds.noise.plane((2, 2), tiny.shape, lengths=(1.0, 1.0))
    assert (
        ds.basins.map(tiny, near, steps=1, classifier=lambda images: images.mean((1, 2, 3)) > 0).attrs[
            "warnings"
        ]
        == []
    )


def test_growth_refuses_a_sphere_whose_directions_turn(tiny):
    x = ds.noise.plane((2, 2), tiny.shape, geometry="spherical")
    with pytest.raises(ds.UserError, match=r"plane has geometry='spherical'; allowed: a flat plane"):
        ds.dynamics.plane_growth(tiny, x, steps=1)


@pytest.mark.parametrize(("epsilon", "warned"), [(0.01, False), (1.0, False), (10.0, True), (500.0, True)])
def test_perturbations_are_warned_of_where_they_leave_the_norms_of_gaussian_noise(epsilon, warned):
    """In 64 dimensions Gaussian noise has norms of 4.4 to 11.9, and a perturbation of 10 about √(64 + 100) = 12.8."""
    x = ds.noise.perturbed(3, (1, 8, 8), epsilon=epsilon, base_seed=1)
    assert [("choose a smaller epsilon" in line) for line in x.warnings] == [True] * warned
    if warned:
        largest = max(float(x.tensor(k).norm()) for k in range(4))
        assert f"to {largest:.4g}," in x.warnings[0]
