"""Parsing an address and writing it again gives the same text."""

import pytest

import denoscope as ds
from denoscope.hooks.addresses import Address, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a.b", Address("a.b")),
        ("a:in", Address("a", "in")),
        ("a:out[2]", Address("a", "out", 2)),
        ("a[0]:before", Address("a", "out", 0, True)),
        ("a.1:probs:before", Address("a.1", "probs", None, True)),
    ],
)
def test_an_address_is_parsed_and_written_back(text, address):
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize("text", ["", ":in", "a:b:in", "a[0][1]"])
def test_text_that_is_not_an_address_is_an_error(text):
    with pytest.raises(ds.UserError, match="is not an address") as caught:
        parse(text)
    assert repr(text) in str(caught.value) and ":in, :out, :diff" in str(caught.value)
