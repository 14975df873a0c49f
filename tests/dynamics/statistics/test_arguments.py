"""Arguments of measures: arrays of any library become float64; wrong arrays, seeds and confidences are refused."""

import numpy as np
import pytest
import torch
import xarray
from label_planes import newton, newton_labels

import denoscope as ds
from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.basin_fractions import basin_fractions
from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.label_plane import classes_of
from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent
from denoscope.dynamics.boundaries.verdict import verdict
from denoscope.dynamics.boundaries.wada import wada
from denoscope.dynamics.loops.periodicity import periodicity
from denoscope.dynamics.loops.zero_one import zero_one
from denoscope.dynamics.statistics.arguments import (
    parse_confidence,
    parse_numbers,
    parse_points,
    parse_series,
    parse_trajectories,
)
from denoscope.dynamics.trajectories.participation import participation
from denoscope.dynamics.trajectories.path_geometry import path_geometry
from denoscope.dynamics.trajectories.trajectory_distances import trajectory_distances
from denoscope.foundation.errors import UserError

PLANE = newton(60)


def exponent(points, **options):
    return uncertainty_exponent(newton_labels, points, [0.01, 0.03, 0.1], **options)


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], dtype=np.float16),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16, requires_grad=True),
        xarray.DataArray([[1, 2], [3, 4]], dims=("sample", "step")),
    ],
)
def test_arrays_of_every_library_become_float64(given):
    found = parse_numbers(given, "x")
    assert found.dtype == np.float64 and found.tolist() == [[1, 2], [3, 4]]


def test_states_of_any_shape_are_flattened():
    assert parse_points(np.arange(5), name="x", minimum=2).shape == (5, 1)
    assert parse_points(np.arange(24).reshape(4, 2, 3), name="x", minimum=2).shape == (4, 6)
    assert parse_trajectories(np.arange(24).reshape(2, 3, 2, 2), name="x", minimum=2).shape == (2, 3, 4)
    assert parse_trajectories(np.arange(6).reshape(2, 3), name="x", minimum=2).shape == (2, 3, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 2], [3]], "x has rows of unequal length"),
        (["a"], "x .*real numbers"),
        (torch.tensor([1j]), "x .*real numbers"),
        ([1.0, np.nan, np.inf], r"x .*2 NaN or Inf among 3 numbers, the first at \[1\]"),
        (2e60 * np.ones(3), r"x .*2e\+60.*1e-60 to 1e\+60"),
    ],
)
def test_values_that_are_not_finite_real_numbers_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        parse_numbers(given, "x")


def test_a_recording_is_refused_with_its_arrays_as_the_remedy(tiny):
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), steps=1)
    with pytest.raises(
        UserError,
        match="a is a Recording; allowed: an array of real numbers, such as the sequence of a recording",
    ):
        trajectory_distances(rec)
    assert trajectory_distances(rec.sequence).values.shape == (2, 2)


@pytest.mark.parametrize(
    ("parse", "given", "message"),
    [
        (parse_series, np.ones((4, 2)), r"x has shape \[4, 2\]; allowed: .*\[time\]"),
        (parse_series, [1.0], "x has 1 values; allowed: at least 2"),
        (parse_series, [3.0, 3.0], "x is constant at 3"),
        (parse_points, [], "x has shape .*; allowed: points"),
        (parse_points, [[1.0, 2.0]], "x has 1 points; allowed: at least 2"),
        (parse_points, [[1.0, 2.0]] * 3, "all 3 rows of x are equal"),
        (parse_trajectories, np.ones(4), r"x has shape \[4\]; allowed: trajectories"),
        (parse_trajectories, np.ones((3, 1, 2)), "x has 1 states per trajectory; allowed: at least 2"),
    ],
)
def test_series_points_and_trajectories_without_dynamics_are_refused(parse, given, message):
    with pytest.raises(UserError, match=message):
        parse(given, name="x", minimum=2)


@pytest.mark.parametrize("measure", [path_geometry, participation, trajectory_distances])
@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_states_whose_squares_overflow_or_underflow_are_refused(measure, size):
    paths = size * np.random.default_rng(0).normal(size=(6, 4, 3))
    with pytest.raises(UserError, match=r"numbers of up to .*e.200, .* divide all of them by"):
        measure(paths)


@pytest.mark.parametrize("measure", [zero_one, periodicity])
def test_series_that_underflow_are_refused_and_those_above_are_measured_right(measure):
    series = np.random.default_rng(0).random(300)
    with pytest.raises(UserError, match=r"numbers of up to 1e-200, .* divide all of them by"):
        measure(1e-200 * series / series.max())
    for name in ("value", "period", "returns"):
        found, expected = (getattr(measure(scale * series), name, 0) for scale in (1e-59, 1))
        np.testing.assert_allclose(np.array(found, float), np.array(expected, float), rtol=1e-9)


def test_a_long_double_beyond_float64_is_refused():
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("long doubles are float64 on this machine")
    with pytest.raises(UserError, match="x holds 1 NaN or Inf among 2 numbers"):
        parse_series(np.array([1, np.longdouble("1e4000")]), name="x", minimum=2)


def test_states_of_the_largest_and_smallest_allowed_size_are_measured_right():
    paths = np.random.default_rng(0).normal(size=(6, 4, 3))
    paths /= np.abs(paths).max()
    for size in (1e59, 1e-59):
        large = path_geometry(size * paths)
        np.testing.assert_allclose(large.straightness, path_geometry(paths).straightness)
        for name in ("ratio", "corrected", "shares", "intervals"):
            found, expected = (getattr(participation(scale * paths), name) for scale in (size, 1))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", [-1, None, 1.5, True])
@pytest.mark.parametrize(
    ("measure", "given"), [(boundary_dimension, PLANE), (verdict, PLANE), (exponent, np.ones((5, 2)))]
)
def test_a_wrong_seed_is_refused(measure, given, seed):
    with pytest.raises(UserError, match=f"seed is {seed}; allowed: an integer of at least 0"):
        measure(given, seed=seed)


@pytest.mark.parametrize("confidence", [0, 1, 95, np.nan, "high"])
def test_a_wrong_confidence_is_refused(confidence):
    with pytest.raises(UserError, match=r"confidence is .*; allowed: a number above 0 and below 1"):
        parse_confidence(confidence)


@pytest.mark.parametrize("confidence", [1e-300, 1e-17, np.nextafter(1, 0)])
def test_a_confidence_whose_quantile_is_rounded_away_is_refused(confidence):
    with pytest.raises(UserError, match=r"confidence is .*; allowed: 1e-15 to 0\.999999999999999"):
        basin_fractions(PLANE, confidence=confidence)
    for allowed in (1e-15, 0.999999999999999):
        assert np.isfinite(basin_fractions(PLANE, confidence=allowed).intervals).all()


@pytest.mark.parametrize(
    ("measure", "given"),
    [(boundary_dimension, PLANE), (wada, PLANE), (basin_fractions, PLANE), (exponent, np.ones((5, 2)))],
)
def test_measures_of_label_planes_check_their_confidence(measure, given):
    with pytest.raises(UserError, match="confidence is 95"):
        measure(given, confidence=95)


@pytest.mark.parametrize(
    "measure", [basin_entropy, basin_fractions, boundary_dimension, wada, verdict, exponent]
)
def test_rows_of_unequal_length_are_refused(measure):
    with pytest.raises(UserError, match="rows of unequal length"):
        measure([[1, 2], [1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.int64])
def test_labels_of_every_integer_type_are_equivalent(dtype):
    assert basin_entropy(PLANE.astype(dtype)).entropy == basin_entropy(PLANE).entropy


@pytest.mark.parametrize(
    "labels", [[[3, -1], [0, 3]], [[100_000, -1], [5, 5]], [[True, False], [True, True]]]
)
def test_classes_are_the_labels_that_occur(labels):
    np.testing.assert_array_equal(classes_of(np.array(labels)), np.unique(labels))
