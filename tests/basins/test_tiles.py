"""Parts of a plane at all levels: the labels of maps of the whole plane, coarse first."""

import itertools

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.dynamics.known import analytic_models as models


def disk(images):
    """A disk in the plane of the first two numbers of the images."""
    return (images.double().flatten(1)[:, :2].norm(dim=1) < 0.3).long()


@pytest.fixture(scope="module")
def linear():
    scheduler = models.unclipped_scheduler("ddim")
    gaussian = models.Gaussian(0.25 * torch.eye(4, dtype=torch.float64), scheduler)
    return models.denoiser(gaussian, scheduler, (1, 1, 4))


@pytest.fixture(scope="module")
def plane(linear):
    return ds.noise.plane((2, 2), linear.shape, lengths=(8.0, 4.0), center=(0.5, 0.25), base_seed=1)


def whole(linear, plane, count, **options):
    grid = ds.noise.plane(
        (count, count), linear.shape, lengths=plane.lengths, center=plane.center, base_seed=1, endpoint=False
    )
    return ds.basins.map(linear, grid, steps=2, lanes=64, batch_size=4096, classifier=disk, **options)


def test_tiles_have_the_labels_of_a_map_of_the_whole_plane(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk)
    exact = whole(linear, plane, 128)
    assert len(np.unique(exact["label"])) == 2
    for x, y in itertools.product(range(4), range(4)):
        found = tiles(2, x, y)
        expected = exact.isel(x=slice(32 * x, 32 * x + 32), y=slice(32 * y, 32 * y + 32))
        np.testing.assert_array_equal(found["label"], expected["label"])
        np.testing.assert_array_equal(found["u"], expected["u"])
        np.testing.assert_array_equal(found["v"], expected["v"])
        assert found.attrs["audit"]["checked"] == 0


def test_refinements_are_coarse_first_and_end_in_the_tile(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=64, steps=2, classifier=disk)
    *previews, finished = tiles.refinements(1, 0, 0)
    computed = [int(preview["computed"].sum()) for preview in previews]
    assert computed == sorted(computed) and computed[0] == 64 and len(computed) > 3
    for preview in previews:
        assert (preview["label"] >= 0).all(), "every cell has the label of the nearest computed one"
        done = preview["computed"].values
        np.testing.assert_array_equal(preview["label"].values[done], finished["label"].values[done])
    assert finished.identical(tiles(1, 0, 0)) and computed[-1] == int(finished["computed"].sum())


def test_a_cancelled_tile_leaves_the_others_whole(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk)
    working = tiles.refinements(1, 1, 1)
    next(working)
    working.close()
    assert tiles(1, 1, 1).identical(
        ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk)(1, 1, 1)
    )


def test_deep_levels_need_a_network_in_double_precision(plane):
    """The disk's edge crosses the part whose corner is on it, at a scale that float32 noises cannot show."""
    scheduler = models.unclipped_scheduler("ddim")
    gaussian = models.Gaussian(0.25 * torch.eye(4, dtype=torch.float64), scheduler)
    linear = models.denoiser(gaussian, scheduler, (1, 1, 4))
    base, first, _ = plane.frame.vectors("flat")
    level = 36

    def half(images):
        """Which side of the middle of the plane along u an image is on."""
        factor = float(
            ds.sample(linear, base[None], steps=2).flatten()
            @ first.flatten()
            / (base.flatten() @ first.flatten())
        )
        along = images.double().flatten(1) @ first.flatten() / factor - base.flatten() @ first.flatten()
        return (along > 0.5 + 8 * 2.0**-38).long()

    found = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=half)(level, 2**35, 2**35)
    edge = np.argmax(found["label"].values, axis=1)
    assert set(np.unique(found["label"])) == {0, 1} and np.ptp(edge) <= 1 and abs(edge[0] - 8) <= 1
    single = models.denoiser(gaussian, scheduler, (1, 1, 4), dtype="float32")
    with pytest.raises(ds.UserError, match="below the resolution of float32"):
        ds.basins.tiles(single, plane, cells=32, steps=2, classifier=half)(level, 2**35, 2**35)


def test_parts_that_do_not_exist_are_refused(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=16, steps=2, classifier=disk)
    for at, line in (
        ((-1, 0, 0), "level is -1"),
        ((65, 0, 0), "level is 65"),
        ((1.0, 0, 0), "level is 1.0"),
        ((1, 2, 0), "x is 2; allowed: .*1"),
        ((1, 0, -1), "y is -1"),
        ((55, 2**54, 2**54), "below the resolution of float64"),
    ):
        with pytest.raises(ds.UserError, match=line):
            tiles(*at)
    with pytest.raises(ds.UserError, match="cells is 1"):
        ds.basins.tiles(linear, plane, cells=1, steps=2, classifier=disk)
    with pytest.raises(ds.UserError, match="is not a plane"):
        ds.basins.tiles(linear, ds.noise.random(4, linear.shape), steps=2, classifier=disk)
