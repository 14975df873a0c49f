"""Texts select the same indices as Python's slices and lists."""

import numpy as np
import pytest

from denoscope.foundation.errors import UserError
from denoscope.hooks.index_texts import parse_indices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:3", np.s_[0:3]),
        ("::2", np.s_[::2]),
        (":", np.s_[:]),
        ("-2:", np.s_[-2:]),
        ("5", [5]),
        ("-1,0", [-1, 0]),
    ],
)
def test_a_text_names_the_indices_that_numpy_chooses(text, expected):
    assert parse_indices(text, 6) == np.arange(6)[expected].tolist()


@pytest.mark.parametrize(
    ("text", "part"), [("a", "not a choice"), ("::-1", "not a choice"), ("6:", "0 to 5"), ("6", "0 to 5")]
)
def test_a_text_that_names_none_is_an_error(text, part):
    with pytest.raises(UserError) as caught:
        parse_indices(text, 6)
    assert repr(text) in str(caught.value) and part in str(caught.value) and "allowed: " in str(caught.value)
