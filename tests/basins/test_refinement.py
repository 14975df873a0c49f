"""Refinement of maps whose truth is known: what is found, what it costs, and what is said of the cells that are filled."""

import numpy as np
import pytest
from label_planes import newton_labels

from denoscope.basins.refinement import BACKED, COMPUTED, PROBED, UNKNOWN, Refinement

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


def refine(truth: np.ndarray, *, side=16, gap=None, seed=0, lanes=1) -> tuple[Refinement, int]:
    """The refinement of a map whose labels are known, and the number of its requests."""
    found = Refinement(
        label=np.full(truth.shape, -9),
        gap=np.full(truth.shape, np.nan),
        spacing=(1.0, 1.0),
        side=side,
        seed=seed,
        lanes=lanes,
    )
    asked = np.zeros(truth.shape, int)
    requests = 0
    for rows, columns in found.requests(audit=0):
        asked[rows, columns] += 1
        found.label[rows, columns] = truth[rows, columns]
        if gap is not None:
            found.gap[rows, columns] = gap[rows, columns]
        requests += 1
    assert asked.max() == 1 and np.array_equal(asked == 1, found.status == COMPUTED)
    assert np.array_equal(found.label[asked == 1], truth[asked == 1])
    assert not (found.status == UNKNOWN).any()
    return found, requests


def points(shape):
    y, x = (np.linspace(-1, 1, count) for count in shape)
    return np.meshgrid(x, y)


def disk(shape, x0=0.1, y0=-0.05, radius=0.6):
    x, y = points(shape)
    return (np.hypot(x - x0, y - y0) < radius).astype(int)


def random_classes(size: int, length: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest of ten smooth random fields with a correlation length in parts of the plane, and half its lead."""
    draws = np.random.default_rng(seed)
    squared = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size) ** 2
    smooth = np.exp(-2 * np.pi**2 * squared * (length * size) ** 2)
    fields = np.fft.irfft2(np.fft.rfft2(draws.standard_normal((10, size, size))) * smooth, s=(size, size))
    fields /= fields.std(axis=(1, 2), keepdims=True)
    ordered = np.sort(fields, axis=0)
    return fields.argmax(axis=0), (ordered[-1] - ordered[-2]) / 2


@pytest.mark.parametrize("shape", [(256, 256), (200, 131), (37, 90), (1, 40), (40, 1), (1, 1), (2, 2)])
def test_a_disk_is_found_to_the_cell(shape):
    truth = disk(shape)
    found, _ = refine(truth)
    assert np.array_equal(found.label, truth)


def test_cells_are_computed_in_proportion_to_the_length_of_the_boundary():
    """The circumference of a disk has 2.4·size cells; both sides are computed, and a coarse grid."""
    for size, radius in ((128, 0.6), (256, 0.6), (512, 0.6), (512, 0.3)):
        truth = disk((size, size), radius=radius)
        found, requests = refine(truth, side=size // 16)
        around = radius / 0.6 * size
        assert np.array_equal(found.label, truth)
        assert np.count_nonzero(found.status == COMPUTED) < 600 + 8 * around and requests < 25


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length", [0.15, 0.08, 0.04])
def test_random_classes_with_a_margin_are_found_to_the_cell(length, seed):
    truth, gap = random_classes(256, length, seed)
    found, _ = refine(truth, gap=gap)
    assert np.array_equal(found.label, truth)
    assert np.count_nonzero(found.status == BACKED) > 3 * np.count_nonzero(found.status == PROBED)
    edges = np.count_nonzero(truth[1:] != truth[:-1]) + np.count_nonzero(truth[:, 1:] != truth[:, :-1])
    assert np.count_nonzero(found.status == COMPUTED) < 600 + 2.8 * edges


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_margin_nothing_is_backed_and_few_cells_are_wrong(seed):
    truth, _ = random_classes(256, 0.04, seed)
    found, _ = refine(truth)
    assert not (found.status == BACKED).any()
    assert np.count_nonzero(found.label != truth) < 1e-3 * truth.size


def test_an_island_where_the_margin_is_large_is_found_whole_or_missed_whole_and_changes_nothing_else():
    """Four cells of another class far from the boundary, of which no margin can tell."""
    truth, gap = random_classes(256, 0.15, 0)
    y, x = np.unravel_index(gap.argmax(), gap.shape)
    smooth, _ = refine(truth, gap=gap)
    island = truth.copy()
    island[y : y + 2, x : x + 2] = 11
    found, _ = refine(island, gap=gap)
    wrong = found.label != island
    assert wrong.sum() in (0, 4) and np.array_equal(found.label[~wrong], smooth.label[~wrong])


def test_a_tongue_one_cell_wide_is_followed_from_end_to_end():
    """It begins at the boundary of a disk and winds through the plane between the corners of blocks."""
    truth = disk((256, 256), x0=-0.8, y0=-0.8, radius=0.15)
    x = np.arange(20, 245)
    y = np.round(100 + 60 * np.sin(x / 25)).astype(int)
    for k in range(len(x) - 1):
        low, high = sorted((y[k], y[k + 1]))
        truth[low : high + 1, x[k]] = 2
    truth[20:101, 20] = 2
    found, _ = refine(truth)
    assert np.array_equal(found.label, truth)


def test_boundaries_where_three_basins_meet_everywhere():
    """Newton's method for z³ = 1, whose basins are Wada."""
    line = np.linspace(-1, 1, 256)
    truth = newton_labels(np.stack(np.meshgrid(line, line), axis=-1))
    found, _ = refine(truth)
    assert np.count_nonzero(found.label != truth) <= 2e-4 * truth.size
    assert np.count_nonzero(found.status == COMPUTED) < 0.3 * truth.size


def test_rejected_and_lost_cells_are_a_class_without_a_margin():
    truth, gap = random_classes(256, 0.15, 2)
    rejected, lost = disk((256, 256), x0=0.4, radius=0.3) == 1, disk((256, 256), x0=-0.5, radius=0.2) == 1
    truth[rejected | lost] = -1
    gap[lost] = np.nan
    found, _ = refine(truth, gap=gap)
    assert np.array_equal(found.label, truth)


def test_the_order_of_work_is_the_same_every_time_and_the_seed_moves_the_inner_cells():
    truth, gap = random_classes(128, 0.08, 5)
    one, again, other = (refine(truth, gap=gap, seed=seed)[0].status for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_cells_that_are_needed_at_the_same_time_are_asked_for_together():
    """The second request holds the corners of the halves of 16² blocks at the boundary, and a cell inside each other block."""
    truth = disk((256, 256))
    found = Refinement(np.full(truth.shape, -9), np.full(truth.shape, np.nan), (1.0, 1.0), 16)
    asked = []
    for place in found.requests(audit=0):
        asked.append(np.stack(place))
        found.label[place] = truth[place]
    edges = [*range(0, 255, 16), 255]
    at = truth[np.ix_(edges, edges)]
    differ = (at[:-1, :-1] != at[1:, 1:]) | (at[:-1, :-1] != at[1:, :-1]) | (at[:-1, :-1] != at[:-1, 1:])
    _, (rows, columns), *_ = asked
    on_halves = np.isin(rows, [*range(0, 255, 8), 247, 255]) & np.isin(columns, [*range(0, 255, 8), 247, 255])
    inside = np.stack([rows, columns])[:, ~on_halves] // 16
    assert np.count_nonzero(on_halves) > differ.sum() and len(inside.T) > 0.9 * np.count_nonzero(~differ)
    assert not differ[tuple(inside)].any()


def test_checked_cells_are_random_filled_ones_and_take_their_computed_label():
    truth = disk((128, 128))
    truth[70:72, 5] = 2  # an island of two cells between the computed ones
    unchecked, _ = refine(truth)
    missed = unchecked.label != truth
    assert missed.sum() == 2
    every = np.count_nonzero(unchecked.status != COMPUTED)
    for count in (0, 300, every, 10**6):
        found = Refinement(np.full(truth.shape, -9), np.full(truth.shape, np.nan), (1.0, 1.0), 16)
        for place in found.requests(audit=count):
            found.label[place] = truth[place]
        newly = (found.status == COMPUTED) & (unchecked.status != COMPUTED)
        assert newly.sum() == min(count, every) == found.audit.checked
        assert found.audit.filled == every and found.audit.wrong == (newly & missed).sum()
        np.testing.assert_array_equal(found.label, np.where(newly, truth, unchecked.label))


def test_cells_that_are_checked_in_the_end_are_known_from_the_beginning_and_do_not_depend_on_labels():
    truth, gap = random_classes(128, 0.08, 5)
    truth[40:50, 77] = 12  # where cells are filled wrongly
    found = Refinement(np.full(truth.shape, -9), np.full(truth.shape, np.nan), (1.0, 1.0), 16)
    first = np.stack(found.to_check(400))
    asked = []
    for place in found.requests(audit=400):
        asked.append(np.stack(place))
        found.label[place], found.gap[place] = truth[place], gap[place]
    *needed, checked = asked
    needed = np.concatenate(needed, axis=1)
    flat, before, late = (np.ravel_multi_index(cells, truth.shape) for cells in (first, needed, checked))
    assert np.isin(flat, [*before, *late]).all(), "none was computed in vain"
    order = np.random.default_rng([0, truth.size]).permutation(truth.size)
    assert set(late) == set(order[~np.isin(order, before)][:400])
    other = Refinement(np.full(truth.shape, -9), np.full(truth.shape, np.nan), (1.0, 1.0), 16)
    assert np.array_equal(first, np.stack(other.to_check(400))) and len(np.unique(flat)) == 400


def test_a_boundary_is_followed_by_fewer_calls_when_each_is_filled_up():
    """A thin tongue that the first blocks miss is entered at one end, and followed to the other."""
    truth = disk((256, 256), radius=0.4)
    truth[131, 20:100] = 1
    alone, one_by_one = refine(truth)
    found, requests = refine(truth, lanes=64)
    assert np.array_equal(alone.label, truth) and np.array_equal(found.label, truth)
    assert requests < one_by_one / 2
