"""What counts as a whole number, a real one, a function or a word, and the line that refuses the rest."""

from fractions import Fraction

import numpy as np
import pytest

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import function, one_of, real, whole


def test_numbers_of_every_kind_become_python_s_own():
    assert type(whole(np.uint8(3), "n")) is int and whole(0, "n") == 0
    assert type(real(np.float32(0.5), "x")) is float
    assert real(Fraction(1, 4), "x") == 0.25 and real(2, "x", most=2) == 2.0


@pytest.mark.parametrize("value", [2.5, 2.0, float("nan"), "2", None, True, np.array([2]), np.float64(2)])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(UserError, match=r"n is .*; allowed: a whole number of at least 0"):
        whole(value, "n")


def test_the_line_names_the_bounds():
    with pytest.raises(UserError, match=r"^n is 5; allowed: 1 to 4, the numbers in one state$"):
        whole(5, "n", least=1, most=4, what="the numbers in one state")
    with pytest.raises(UserError, match=r"^n is 1.5; allowed: whole numbers 1 to 4$"):
        whole(1.5, "n", least=1, most=4)
    with pytest.raises(UserError, match=r"^x is 0; allowed: a number above 0 and up to 1, as 0.9$"):
        real(0, "x", above=0, most=1, example="0.9")
    with pytest.raises(UserError, match=r"^x is -1; allowed: a number of at least 0$"):
        real(-1, "x", least=0)
    with pytest.raises(UserError, match=r"^x is 2; allowed: a number between 0 and 1$"):
        real(2, "x", above=0, below=1)
    with pytest.raises(UserError, match=r"^x is a list; allowed: a number that is finite$"):
        real(list(range(100)), "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "1", None, False, 1j, np.ones(1)])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(UserError, match="x is "):
        real(value, "x")


@pytest.mark.parametrize("value", ["c", "", None, 1, ["a"], np.array(["a"])])
def test_a_word_is_one_of_those_that_are_allowed(value):
    assert one_of("a", "word", ("a", "b")) == "a"
    with pytest.raises(UserError, match=r"^word is .*; allowed: a, b$"):
        one_of(value, "word", ("a", "b"))


def test_what_cannot_be_called_is_no_function():
    function(len, "label_of", "points to labels")
    with pytest.raises(UserError, match=r"^label_of is 5; needed is a function of points to labels$"):
        function(5, "label_of", "points to labels")
