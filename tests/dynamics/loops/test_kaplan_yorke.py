"""Kaplan–Yorke dimensions of known exponents."""

import math

import numpy as np
import pytest
import torch

from denoscope.dynamics.loops.kaplan_yorke import kaplan_yorke
from denoscope.foundation.errors import UserError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, -1, -1], 2),
        ([1, 1, -0.5], 3),
        ([-0.1, -2], 0),
        ([-1, 1, -1], 2),
        ([0, -1], 1),
        ([0.41929, -1.62327], 1.2583),
        ([0.906, 0, -14.572], 2.0622),
        ([0.5, 0.5, -2, -2], 2.5),
        ([1, -np.inf], 1),
        ([-np.inf], 0),
    ],
)
def test_known_dimensions(given, expected):
    assert float(kaplan_yorke(given)) == pytest.approx(expected, abs=1e-4)


def test_a_volume_that_does_not_shrink_gives_a_warning():
    assert "not negative" in kaplan_yorke([1, 1, -0.5]).warnings[0]
    assert not kaplan_yorke(torch.tensor([1.0, -2.0])).warnings


@pytest.mark.parametrize("given", [[], [[1.0]], [1.0, math.nan], [math.inf, -1], ["a"]])
def test_wrong_exponents_are_refused(given):
    with pytest.raises(UserError, match="exponents"):
        kaplan_yorke(given)


@pytest.mark.parametrize("given", [None, "ab"])
def test_what_is_no_list_is_named(given):
    with pytest.raises(UserError, match=f"exponents is {given!r}; allowed: a list"):
        kaplan_yorke(given)
