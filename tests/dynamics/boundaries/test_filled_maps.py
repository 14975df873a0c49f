"""Measures of maps with filled cells: planes that the audit allows contain the truth, and nothing is lost on the way."""

import re

import numpy as np
import pytest
import xarray
from label_planes import half_plane, newton

from denoscope.dynamics.boundaries import box_fit, filled_maps
from denoscope.dynamics.boundaries.audit import Audit, audit_of
from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.basin_fractions import basin_fractions
from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.filled_maps import allowed_planes
from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent_of
from denoscope.dynamics.boundaries.verdict import verdict
from denoscope.dynamics.boundaries.wada import wada
from denoscope.foundation.errors import UserError

CELLS = 100


def filled(labels, checked, *, share=0.9, wrong=0):
    """Labels as `basins.map` returns them, of which a share was filled and some of these were checked."""
    audit = {"filled": int(share * labels.size), "checked": checked, "wrong": wrong}
    return xarray.DataArray(labels, dims=("y", "x"), attrs={"audit": audit})


def thirds(size=CELLS):
    y, x = np.mgrid[:size, :size] - size / 2 + 0.3
    return ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * 2.999).astype(int)


def islands(labels, count, seed=0):
    """The labels with an island of 2×2 cells of another class at some places: a truth that a map can miss."""
    truth, draws = labels.copy(), np.random.default_rng(seed)
    for y, x in draws.integers(0, len(labels) - 1, (count, 2)):
        truth[y : y + 2, x : x + 2] = (labels[y, x] + 1) % 2
    return truth


def test_an_audit_leaves_what_its_bound_allows_and_what_it_found_is_corrected():
    assert Audit(filled=1000, checked=300, wrong=0).missed(0.95) == int(1000 * (1 - 0.05 ** (1 / 300)))
    assert Audit(filled=40, checked=40, wrong=7).missed(0.95) == 0
    assert Audit(filled=1000, checked=0, wrong=0).missed(0.95) == 1000
    few, more = (Audit(filled=1000, checked=300, wrong=wrong).missed(0.95) for wrong in (1, 9))
    assert 0 < few < more


@pytest.mark.parametrize("checked", [100, 1000])
def test_allowed_planes_differ_in_as_many_cells_as_the_audit_allows_away_from_the_boundary(checked):
    labels = half_plane(CELLS, 0.3)
    audit = audit_of(filled(labels, checked))
    near = np.zeros(labels.shape, bool)
    near[:-1] |= labels[1:] != labels[:-1]
    near[1:] |= labels[1:] != labels[:-1]
    near[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    near[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    planes = list(allowed_planes(labels, audit))
    assert len(planes) == 3
    for plane in planes:
        changed = plane != labels
        assert changed.sum() == audit.missed(0.95) > 0 and not (changed & near).any()
    scattered, in_islands, beside = (plane != labels for plane in planes)
    neighbours = [(changed[1:] & changed[:-1]).sum() / changed.sum() for changed in (scattered, in_islands)]
    assert neighbours[0] < 0.5 < neighbours[1]
    assert not list(allowed_planes(labels, audit_of(labels)))
    assert np.count_nonzero(beside) == np.count_nonzero(scattered)


def test_the_share_of_wrong_cells_that_an_audit_allows_is_added_to_fractions_in_quadrature():
    labels = half_plane(CELLS, 0.3)
    exact, found = basin_fractions(labels), basin_fractions(filled(labels, 300))
    missed = int(0.9 * labels.size * (1 - 0.05 ** (1 / 300))) / labels.size
    np.testing.assert_array_equal(found.fractions, exact.fractions)
    expected = np.sqrt((exact.intervals - exact.fractions[:, None]) ** 2 + missed**2)
    np.testing.assert_allclose(np.abs(found.intervals - found.fractions[:, None]), expected, atol=1e-12)
    one_class = basin_fractions(filled(np.zeros((40, 40), int), 100))
    assert one_class.intervals[0][0] < 1 - 0.9 * 0.029


def test_measures_of_a_map_contain_those_of_a_truth_with_islands_that_it_missed():
    labels = half_plane(CELLS, 0.3)
    truth = islands(labels, 8)
    seen = filled(labels, 250)
    assert np.count_nonzero(truth != labels) < audit_of(seen).missed(0.95)
    dimension, of_truth = (
        boundary_dimension(seen, boxes=(5, 9, 17)),
        boundary_dimension(truth, boxes=(5, 9, 17)),
    )
    assert dimension.interval[0] <= of_truth.value <= dimension.interval[1]
    assert dimension.value == boundary_dimension(labels, boxes=(5, 9, 17)).value
    entropy, of_truth = basin_entropy(seen, box=5), basin_entropy(truth, box=5)
    assert entropy.entropy_interval[0] <= of_truth.entropy <= entropy.entropy_interval[1]
    assert entropy.boundary_interval[0] <= of_truth.boundary_entropy <= entropy.boundary_interval[1]
    assert not basin_entropy(labels, box=5).entropy_interval[1] >= of_truth.entropy


def test_a_dimension_of_which_the_audit_leaves_too_much_open_is_warned_of():
    labels = half_plane(CELLS, 0.3)
    (line,) = boundary_dimension(filled(labels, 20), boxes=(5, 9, 17)).warnings
    assert "of 9000 filled cells may be wrong" in line and "20 were checked" in line and "audit" in line
    assert boundary_dimension(filled(labels, 8999), boxes=(5, 9, 17)).warnings == ()


@pytest.mark.parametrize(("checked", "kind"), [(200, "undecided"), (9000, "smooth")])
def test_a_verdict_that_wrong_cells_could_change_is_undecided(checked, kind):
    found = verdict(filled(half_plane(CELLS, 0.3), checked))
    assert found.verdict == kind and found.shown == "smooth"
    assert ("are smooth" in found.reason and "method='exact'" in found.reason) == (kind == "undecided")


def test_the_number_of_checks_that_a_verdict_names_decides_and_half_of_it_does_not():
    labels = newton(200)
    found = verdict(filled(labels, 100))
    assert found.verdict == "undecided" and found.shown == verdict(labels).verdict == "fractal"
    named = re.search(r"(\d+) checks without a wrong cell would decide: audit=\1$", found.reason)
    assert named
    number = int(named[1])
    assert verdict(filled(labels, number)).verdict == "fractal"
    assert number < 0.9 * labels.size / 2  # else one half is all that was tried
    assert verdict(filled(labels, number // 2)).verdict == "undecided"


def test_wada_basins_are_judged_on_all_planes_that_the_audit_allows():
    labels = thirds()
    exact, found = wada(labels, boxes=(5, 9)), wada(filled(labels, 60), boxes=(5, 9))
    assert (exact.reading, found.reading) == ("not wada", "undecided")
    assert any("60 were checked" in line for line in found.warnings)
    assert wada(filled(labels, 9000), boxes=(5, 9)).reading == "not wada"
    assert (found.intervals[:, 0] <= exact.intervals[:, 0]).all()
    assert (found.intervals[:, 1] >= exact.intervals[:, 1]).all()
    assert (np.ptp(found.intervals, axis=1) > np.ptp(exact.intervals, axis=1)).any()
    assert found.origin["audit"] == {"filled": 9000, "checked": 60, "wrong": 0}


@pytest.mark.parametrize("measure", [basin_fractions, boundary_dimension, basin_entropy])
def test_a_map_and_its_labels_give_the_same_numbers(measure):
    labels = filled(half_plane(CELLS, 0.3), 200)
    known = xarray.full_like(labels, 1)
    whole = xarray.Dataset({"label": labels, "computed": known == 0, "status": known}, attrs=labels.attrs)
    assert measure(whole).to_json() == measure(labels).to_json()
    assert measure(whole).origin["audit"] == labels.attrs["audit"]
    exact = xarray.Dataset({"label": labels.drop_attrs(), "computed": known == 1})
    assert measure(exact).to_json() == measure(labels.values).to_json()
    for unfinished in (whole.assign(status=known * 0), exact.assign(computed=known == 0)):
        with pytest.raises(UserError, match="labels is a map with 10000 of 10000 cells unknown"):
            measure(unfinished)
    with pytest.raises(UserError, match="labels is a Dataset of computed; allowed"):
        measure(exact[["computed"]])


@pytest.mark.parametrize(
    "audit",
    ["done", {"filled": 3}, {"filled": 3, "checked": 4, "wrong": 0}, {"filled": 3, "checked": 1, "wrong": 2}],
)
def test_an_attribute_that_is_no_audit_is_refused(audit):
    labels = xarray.DataArray(half_plane(CELLS, 0.3), attrs={"audit": audit})
    with pytest.raises(
        UserError, match=r"labels have the attribute audit=.*; allowed: the numbers of filled"
    ):
        basin_fractions(labels)


def test_pairs_of_labels_of_a_filled_map_are_refused():
    labels = filled(half_plane(CELLS, 0.3), 200).values.ravel()
    marked = xarray.DataArray(labels, attrs={"audit": {"filled": 9, "checked": 1, "wrong": 0}})
    with pytest.raises(UserError, match=r"filled cells.*label_of"):
        uncertainty_exponent_of(marked, np.stack([labels] * 3), [0.1, 0.2, 0.3], dimension=2)


def test_a_verdict_draws_the_allowed_planes_once_and_gives_the_dimension_of_its_boxes(monkeypatch):
    labels, drawn, fitted = filled(half_plane(CELLS, 0.3), 300), [], []

    def counted(function, calls):
        return lambda *arguments: calls.append(1) or function(*arguments)

    monkeypatch.setattr(filled_maps, "_with_other_labels", counted(filled_maps._with_other_labels, drawn))
    monkeypatch.setattr(box_fit, "_box_fit", counted(box_fit._box_fit, fitted))
    found = verdict(labels)
    assert found.verdict == "undecided"
    # Planes with the wrong cells that 300 checks allow are drawn once, and those that half of the cells allow until one differs.
    assert 3 < len(drawn) <= 6
    assert len(fitted) == 2 + len(
        drawn
    )  # its own boxes with and without the edge, and those of the allowed planes
    fitted.clear()
    alone = boundary_dimension(labels, boxes=(2, 3, 5, 9, 17))
    assert len(fitted) == 2  # the slopes of the allowed planes need no intervals
    assert (alone.value, alone.interval) == (found.dimension.value, found.dimension.interval)
    assert alone.interval[1] > 1.2  # the islands that may be missed
