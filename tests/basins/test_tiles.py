"""Parts of a plane at all levels: the labels of maps of the whole plane, coarse first."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.dynamics.known import analytic_models as models


def disk(images):
    """A disk in the plane of the first two numbers of the images."""
    return (images.double().flatten(1)[:, :2].norm(dim=1) < 0.3).long()


@pytest.fixture(scope="module")
def plane(linear):
    return ds.noise.plane((2, 2), linear.shape, lengths=(8.0, 4.0), center=(0.5, 0.25), base_seed=1)


def test_a_tile_is_the_map_of_its_part(linear, plane):
    """To the bit, with attributes and warnings: the map of the plane that the tile's coordinates make."""
    tiles = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk, audit=20)
    classes = set()
    for x, y in ((0, 0), (1, 1), (2, 1), (1, 2), (3, 3)):
        middle = [
            c + length * ((k + 0.5) / 4 - 0.5)
            for c, length, k in zip(plane.center, plane.lengths, (x, y), strict=True)
        ]
        part = ds.noise.plane(
            (32, 32), linear.shape, lengths=(2.0, 1.0), center=middle, base_seed=1, endpoint=False
        ).in_precision(torch.float64)
        expected = ds.basins.map(linear, part, steps=2, classifier=disk, method="adaptive", audit=20)
        found = tiles(2, x, y)
        for name in ("label", "u", "v"):
            np.testing.assert_array_equal(found[name], expected[name])
        # It begins with the blocks of a map of the whole plane, which are wider.
        assert found.attrs["block"] == 8 and int(found["computed"].sum()) < int(expected["computed"].sum())
        assert found.attrs["warnings"] and found["status"].attrs["flag_meanings"]
        classes |= set(np.unique(found["label"]))
    assert classes == {0, 1}
    corner = tiles(2, 0, 0)
    assert (corner["u"][0], corner["v"][0]) == (0.5 - 4, 0.25 - 2)


def test_tiles_take_points_from_the_cache_and_leave_theirs_when_cancelled(bars, tmp_path):
    whole = ds.noise.plane((2, 2), bars.shape, lengths=(16.0, 16.0))
    tiles = ds.basins.tiles(bars, whole, cells=8, steps=2, lanes=4, cache=tmp_path / "points.db")

    def rows(work) -> int:
        before = bars.network.rows
        work()
        return bars.network.rows - before

    def cancelled() -> None:
        working = tiles.refinements(0, 0, 0)
        for _ in range(3):
            next(working)
        working.close()

    assert rows(cancelled) == 12
    every = int(tiles(0, 0, 0)["computed"].sum())
    assert rows(lambda: tiles(0, 0, 0)) == 0
    fresh, finer = ds.basins.tiles(bars, whole, cells=8, steps=2, lanes=4), []
    assert rows(lambda: fresh(0, 0, 0)) >= every
    assert rows(lambda: finer.append(fresh(1, 0, 0))) > rows(lambda: finer.append(tiles(1, 0, 0))) > 0
    finer = [found.assign_attrs(network_rows=0) for found in finer]  # the cache saves some
    assert finer[1].identical(finer[0])
    assert (
        rows(lambda: tiles.lattice(0, 0, 0, every=2))
        == 0
        < rows(lambda: fresh.lattice(0, 0, 0, every=2))
        == 16
    )


def test_a_lattice_is_every_nth_cell_of_the_whole_map(linear, plane):
    options = {"steps": 2, "classifier": disk}
    part = ds.noise.plane(
        (8, 8), linear.shape, lengths=(8.0, 4.0), center=(0.5, 0.25), base_seed=1, endpoint=False
    ).in_precision(torch.float64)
    expected = ds.basins.map(linear, part, **options)
    found = ds.basins.tiles(linear, plane, cells=32, **options).lattice(0, 0, 0, every=4)
    assert set(found) == set(expected) and found["computed"].all() and found.sizes == expected.sizes
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])
    for axis in "uv":
        np.testing.assert_array_equal(found[axis], expected[axis])
    assert len(np.unique(found["label"])) == 2


def test_a_tile_takes_the_points_of_a_map(bars, tmp_path):
    """A map of 16 × 16 cells without ends has all points of level 0 with 16 cells, and of the four parts with 8."""
    cache, options = tmp_path / "points.db", {"steps": 2, "lanes": 4}
    whole = ds.noise.plane((16, 16), bars.shape, lengths=(16.0, 16.0), endpoint=False)
    whole = whole.in_precision(torch.float64)
    found = ds.basins.map(bars, whole, method="exact", cache=cache, **options)
    before = bars.network.rows
    for cells, level, parts in ((16, 0, 1), (8, 1, 2)):
        tiles = ds.basins.tiles(bars, whole, cells=cells, cache=cache, **options)
        for x, y in np.ndindex(parts, parts):
            part = slice(y * cells, (y + 1) * cells), slice(x * cells, (x + 1) * cells)
            np.testing.assert_array_equal(tiles(level, x, y)["label"], found["label"].values[part])
    assert bars.network.rows == before
    ds.basins.tiles(bars, whole, cells=8, cache=cache, **options)(2, 0, 0)
    assert bars.network.rows > before, "a finer part has points of its own"


def test_refinements_are_coarse_first_and_end_in_the_tile(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=64, steps=2, classifier=disk)
    *previews, finished = tiles.refinements(1, 0, 0)
    computed = [int(preview["computed"].sum()) for preview in previews]
    assert computed == sorted(computed) and computed[0] == 64 and len(computed) == 3
    for preview in previews:
        assert (preview["label"] >= 0).all(), "every cell has the label of the nearest computed one"
        done = preview["computed"].values
        np.testing.assert_array_equal(preview["label"].values[done], finished["label"].values[done])
    assert finished.identical(tiles(1, 0, 0)) and computed[-1] == int(finished["computed"].sum())


def test_parts_that_are_refined_together_get_their_own_maps_in_fewer_calls(linear, plane):
    """Most of these parts hold no boundary. Alone, each pads its calls of 64 rows; together, only the last ones are padded."""
    tiles = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk)
    parts = [(2, x, y) for x, y in np.ndindex(4, 4)]
    alone = {part: tiles(*part) for part in parts}
    seen = {part: [] for part in parts}
    calls = []
    counting = linear.network.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    for part, found, finished, error in tiles.refinements_of(parts):
        assert error is None
        seen[part].append((found, finished))
    counting.remove()
    for part, found in seen.items():
        assert [finished for _, finished in found] == [False] * (len(found) - 1) + [True]
        computed = int(alone[part]["computed"].sum())
        assert found[-1][0].identical(alone[part].assign_attrs(network_rows=computed))
        numbers = [int(stage["computed"].sum()) for stage, _ in found]
        assert numbers == sorted(numbers) and numbers[-1] == computed
    total = sum(int(found["computed"].sum()) for found in alone.values())
    padded = sum(found.attrs["network_rows"] for found in alone.values())
    assert total <= sum(calls) / 2 < 0.6 * padded


def test_a_part_that_fails_does_not_keep_the_others_from_being_refined(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=8, steps=2, classifier=disk)
    parts = [(1, 0, 0), (1, 2, 0), (1, 1, 1)]
    found = list(tiles.refinements_of(parts))
    assert {refined.part for refined in found if refined.finished} == {parts[0], parts[2]}
    (failed,) = (refined for refined in found if refined.error)
    assert failed.part == parts[1] and failed.map is None and not failed.finished
    assert isinstance(failed.error, ds.UserError) and "x is 2" in str(failed.error)


def test_deep_levels_need_a_network_in_double_precision(linear, plane):
    """A line crosses the part, at a scale that float32 noises cannot show."""
    base, first, _ = plane.frame.vectors("flat")
    level = 36

    start = float(base.flatten() @ first.flatten())
    factor = float(ds.sample(linear, base[None], steps=2).flatten() @ first.flatten()) / start

    def half(images):
        """Which side of a line near the middle of the plane an image is on."""
        along = images.double().flatten(1) @ first.flatten() / factor - start
        return (along > 0.5 + 8 * 2.0**-38).long()

    found = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=half)(level, 2**35, 2**35)
    edge = np.argmax(found["label"].values, axis=1)
    assert set(np.unique(found["label"])) == {0, 1} and np.ptp(edge) <= 1 and abs(edge[0] - 8) <= 1
    single = models.denoiser(linear.network, linear.scheduler, (1, 1, 4), dtype="float32")
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


def test_tiles_are_shown_in_one_line(linear, plane):
    tiles = ds.basins.tiles(linear, plane, cells=32, steps=2, classifier=disk)
    assert repr(tiles) == f"<Tiles of 32 × 32 cells of {tiles.plane!r}, 2 steps>" and "\n" not in repr(tiles)
