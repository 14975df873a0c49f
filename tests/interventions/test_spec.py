"""Interventions as values: wrong arguments, forms of a value, and how they are shown."""

import math

import numpy as np
import pytest
import torch
import xarray

from denoscope.foundation.errors import UserError
from denoscope.interventions.spec import Intervention


def halve(state, _call):
    return state / 2


WRONG_FIELDS = [
    (dict(at="", do="scale", value=1), "'at' of an intervention is empty"),
    (
        dict(at="mid_block", do="scal", value=1),
        "'do' of an intervention is 'scal'; the nearest is scale; allowed: set, add",
    ),
    (dict(at="mid_block", do="scale"), "allowed: a number"),
    (dict(at="mid_block", do="set", value="mean"), "allowed: a number"),
    (dict(at="mid_block", do="swap", value=3), "allowed: the path of a stored recording"),
    (dict(at="mid_block", do="noise", value=-1), "value is -1; allowed: a standard deviation"),
    *(
        (dict(at="mid_block", do="noise", value=value), f"value is {value}; allowed: a standard deviation")
        for value in (math.inf, math.nan, True, 0)
    ),
    (dict(at="mid_block", do="scale", value=True), "value is True; allowed: a number"),
    (dict(at="mid_block", do="add", value=math.nan), "^add at mid_block: the value is NaN; allowed: finite"),
    (
        dict(at="mid_block", do="set", value=[1, math.inf]),
        "the value is infinite in 1 of its 2 numbers; allowed",
    ),
    (dict(at="mid_block", do="add", value=[]), r"the value is empty \(float64 \[0\]\)"),
    (dict(at="mid_block", do="add", value=torch.zeros(2) + 1j), r"the value is complex \(complex64 \[2\]\)"),
    (
        dict(at="mid_block", do="add", value=["a"]),
        r"the value is \['a'\]; allowed: a number or a regular list",
    ),
    (
        dict(at="mid_block", do="add", value=(k for k in range(3))),
        "the value is a generator; allowed: a number, a list",
    ),
    *(
        (
            dict(at="mid_block", do=do, value=mask),
            rf"^{do} at mid_block: the value is a boolean mask \[2\]; .*channels=",
        )
        for do in ("add", "set", "project_out")
        for mask in (torch.tensor([True, False]), np.array([True, False]), [True, False])
    ),
    (dict(at="mid_block", do=halve, value=1), "value is 1; allowed: nothing"),
    (dict(at="mid_block", do="ablate", value=1), "zero, mean, or the path of a stored recording"),
    (dict(at="mid_block", do="scale", value=1, source="a"), "only swap has a source"),
    (dict(at="mid_block", do="scale", value=1, steps=1.5), "'steps' of an intervention is 1.5"),
    (dict(at="mid_block", do="scale", value=1, samples=[1]), "'samples' of an intervention is"),
]


@pytest.mark.parametrize(("fields", "match"), WRONG_FIELDS)
def test_a_wrong_argument_is_an_error_of_one_line(fields, match):
    with pytest.raises(UserError, match=match) as caught:
        Intervention(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        torch.tensor,
        np.array,
        lambda numbers: xarray.DataArray(numbers, dims="channel"),
        lambda n: np.array(n)[::-1][::-1],
    ],
)
def test_a_value_is_a_tensor_whatever_array_it_comes_from(form):
    value = Intervention("mid_block", "add", form([1.0, 2.0, 3.0])).value
    assert isinstance(value, torch.Tensor) and value.tolist() == [1.0, 2.0, 3.0]


def test_a_value_is_copied():
    vector = torch.ones(3)
    item = Intervention("mid_block", "add", vector)
    vector.zero_()
    assert item.value.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (Intervention("mid_block", "ablate"), "Intervention(at='mid_block', do='ablate')"),
        (
            Intervention(["a", "b"], "add", torch.zeros(96), steps=[0, 3], samples="sample_0001"),
            "Intervention(at=('a', 'b'), do='add', value=tensor [96], steps='0,3', samples='sample_0001')",
        ),
        (Intervention("mid_block", halve), f"Intervention(at='mid_block', do={__name__}.halve)"),
    ],
)
def test_an_intervention_is_shown_in_one_line_and_as_a_table(item, text):
    assert repr(item) == text
    assert "<table" in item._repr_html_() and str(item).split()[0] in item._repr_html_()


def test_a_range_is_a_list_of_numbers():
    assert Intervention("mid_block", "add", range(3)).value == [0, 1, 2]
