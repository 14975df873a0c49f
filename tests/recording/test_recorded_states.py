"""Recorded states by name."""

import pytest

import denoscope as ds


def test_states_describe_themselves_in_one_line(tiny):
    rec = ds.record(tiny, ds.noise.random(1, tiny.shape), steps=2, layers=["conv_in", "mid_block"])
    shapes = {address: list(states.shape) for address, states in rec.states.items()}
    assert list(shapes) == ["conv_in", "mid_block"] and shapes["conv_in"][:2] == [1, 2]
    assert (
        repr(rec.states) == f"<RecordedStates: conv_in {shapes['conv_in']}, mid_block {shapes['mid_block']}>"
    )


@pytest.mark.parametrize("wrong", ["mid_blok", "", 3, None, ["conv_in"]])
def test_an_unknown_name_is_an_error_of_one_line(tiny, wrong):
    rec = ds.record(tiny, ds.noise.random(1, tiny.shape), steps=1, layers=["conv_in"])
    for mapping in (rec, rec.states):
        with pytest.raises(ds.UserError) as caught:
            mapping[wrong]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f"layer {wrong!r} was not recorded; recorded layers: conv_in"
