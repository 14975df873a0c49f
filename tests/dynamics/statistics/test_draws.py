"""Seeds, confidences and arrays that are none are refused alike by every measure of label planes."""

import numpy as np
import pytest
from label_planes import newton, newton_labels

from denoscope.dynamics.boundaries.basin_entropy import basin_entropy
from denoscope.dynamics.boundaries.basin_fractions import basin_fractions
from denoscope.dynamics.boundaries.boundary_dimension import boundary_dimension
from denoscope.dynamics.boundaries.label_plane import classes_of
from denoscope.dynamics.boundaries.uncertainty_exponent import uncertainty_exponent
from denoscope.dynamics.boundaries.verdict import verdict
from denoscope.dynamics.boundaries.wada import wada
from denoscope.foundation.errors import UserError

PLANE = newton(60)


def exponent(points, **options):
    return uncertainty_exponent(newton_labels, points, [0.01, 0.03, 0.1], **options)


@pytest.mark.parametrize("seed", [-1, None, 1.5, True])
@pytest.mark.parametrize(
    ("measure", "given"), [(boundary_dimension, PLANE), (verdict, PLANE), (exponent, np.ones((5, 2)))]
)
def test_a_wrong_seed_is_refused(measure, given, seed):
    with pytest.raises(UserError, match=f"seed is {seed}; allowed: an integer of at least 0"):
        measure(given, seed=seed)


@pytest.mark.parametrize("confidence", [0, 1, 95, "high"])
@pytest.mark.parametrize(
    ("measure", "given"),
    [(boundary_dimension, PLANE), (wada, PLANE), (basin_fractions, PLANE), (exponent, np.ones((5, 2)))],
)
def test_a_wrong_confidence_is_refused(measure, given, confidence):
    with pytest.raises(UserError, match=r"confidence is .*; allowed: a number above 0 and below 1"):
        measure(given, confidence=confidence)


@pytest.mark.parametrize(
    "measure", [basin_entropy, basin_fractions, boundary_dimension, wada, verdict, exponent]
)
def test_rows_of_unequal_length_are_refused(measure):
    with pytest.raises(UserError, match="rows of unequal length"):
        measure([[1, 2], [1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.int64])
def test_labels_of_every_integer_type_are_the_same(dtype):
    assert basin_entropy(PLANE.astype(dtype)).entropy == basin_entropy(PLANE).entropy


@pytest.mark.parametrize(
    "labels", [[[3, -1], [0, 3]], [[100_000, -1], [5, 5]], [[True, False], [True, True]]]
)
def test_classes_are_those_that_occur(labels):
    np.testing.assert_array_equal(classes_of(np.array(labels)), np.unique(labels))
