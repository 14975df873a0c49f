"""Which values count as an integer, a real number, a function or a choice, and the message that refuses others."""

import functools
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import (
    check_call,
    check_callable,
    parse_choice,
    parse_integer,
    parse_real,
)


def test_numbers_are_returned_as_python_numbers():
    assert type(parse_integer(np.uint8(3), "n")) is int and parse_integer(0, "n") == 0
    assert type(parse_real(np.float32(0.5), "x")) is float
    assert parse_real(Fraction(1, 4), "x") == 0.25 and parse_real(2, "x", maximum=2) == 2.0


@pytest.mark.parametrize("value", [2.5, 2.0, float("nan"), "2", None, True, np.array([2]), np.float64(2)])
def test_a_value_that_is_not_an_integer_is_refused(value):
    with pytest.raises(UserError, match=r"n is .*; allowed: an integer of at least 0"):
        parse_integer(value, "n")


def test_the_message_names_the_bounds():
    with pytest.raises(UserError, match=r"^n is 5; allowed: 1 to 4, the numbers in one state$"):
        parse_integer(5, "n", minimum=1, maximum=4, note="the numbers in one state")
    with pytest.raises(UserError, match=r"^n is 1.5; allowed: integers 1 to 4$"):
        parse_integer(1.5, "n", minimum=1, maximum=4)
    with pytest.raises(
        UserError, match=r"^x is 0; allowed: a number above 0 and at most 1 \(for example 0.9\)$"
    ):
        parse_real(0, "x", above=0, maximum=1, example="0.9")
    with pytest.raises(UserError, match=r"^x is -1; allowed: a number of at least 0$"):
        parse_real(-1, "x", minimum=0)
    with pytest.raises(UserError, match=r"^x is 2; allowed: a number above 0 and below 1$"):
        parse_real(2, "x", above=0, below=1)
    with pytest.raises(UserError, match=r"^x is a list; allowed: a finite number$"):
        parse_real(list(range(100)), "x")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "1", None, False, 1j, np.ones(1)])
def test_a_value_that_is_not_a_finite_number_is_refused(value):
    with pytest.raises(UserError, match="x is "):
        parse_real(value, "x")


@pytest.mark.parametrize("value", ["c", "", None, 1, ["a"], np.array(["a"])])
def test_a_choice_is_one_of_the_allowed_strings(value):
    assert parse_choice("a", "word", ("a", "b")) == "a"
    with pytest.raises(UserError, match=r"^word is .*; allowed: a, b$"):
        parse_choice(value, "word", ("a", "b"))


def test_a_value_that_cannot_be_called_is_refused():
    check_callable(len, "label_of", ("points",), "labels")
    with pytest.raises(UserError, match=r"^label_of is 5; allowed: a function from points to labels$"):
        check_callable(5, "label_of", ("points",), "labels")


TAKES = {
    "no argument": (lambda: None, ()),
    "one": (lambda a: a, (1,)),
    "two": (lambda a, b: (a, b), (2,)),
    "three": (lambda a, b, c: (a, b, c), ()),
    "one or two": (lambda a, b=None: (a, b), (1, 2)),
    "any": (lambda *args: args, (1, 2)),
    "one by name": (lambda *, a: a, ()),
    "one, and one by name": (lambda a, *, b: (a, b), ()),
    "part of three": (functools.partial(lambda a, b, c: (a, b, c), 1), (2,)),
    "a bound method": ([].append, (1,)),
    "a module": (nn.Identity(), (1,)),
    "a module of two": (nn.Bilinear(1, 1, 1), (2,)),
    "a function of NumPy": (np.mean, (1, 2)),
}
"""Functions, and which of one and two arguments they take by position."""


@pytest.mark.parametrize("name", TAKES)
@pytest.mark.parametrize("count", [1, 2])
def test_a_call_is_refused_if_the_function_does_not_take_it(name, count):
    function, taken = TAKES[name]
    if count in taken:
        check_call(function, ["value"] * count, "f")
        return
    allowed = "1 argument" if count == 1 else "2 arguments"
    with pytest.raises(
        UserError, match=rf"^f is .*, which is called as .*; allowed: a function of {allowed}$"
    ):
        check_call(function, ["value"] * count, "f")


def test_functions_without_a_signature_are_left_to_their_own_errors():
    for function in (torch.sin, max, "no function"):
        check_call(function, ["a", "b", "c"], "f")


def test_a_message_names_the_function_its_signature_and_the_call():
    def brightness(x_0, scale: float) -> float:
        return x_0.mean() * scale

    with pytest.raises(UserError) as caught:
        check_call(brightness, ["Tensor"], "objective")
    assert str(caught.value) == (
        "objective is brightness(x_0, scale: float), which is called as brightness(Tensor); allowed: a function of 1 argument"
    )
