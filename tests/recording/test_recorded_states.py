"""Recorded states by name."""

import pytest

import denoscope as ds


@pytest.mark.parametrize("wrong", ["mid_blok", "", 3, None, ["conv_in"]])
def test_an_unknown_name_is_an_error_of_one_line(tiny, wrong):
    rec = ds.record(tiny, ds.noise.random(1, tiny.shape), steps=1, layers=["conv_in"])
    for mapping in (rec, rec.states):
        with pytest.raises(ds.UserError) as caught:
            mapping[wrong]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f"layer {wrong!r} was not recorded; recorded layers: conv_in"
