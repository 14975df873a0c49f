"""Names of layers in a store."""

import itertools

import pytest

from denoscope.storage.array_names import decode, encode

PLAIN = [
    "conv_in",
    "mid_block.attentions.0.to_q",
    "mid_block:in",
    "down:1",
    "attn:probs",
    "h-space",
    "a b",
    "größe",
]
ODD = [
    "up/0",
    "a\\b",
    "50%",
    "a%2Fb",
    "/",
    "//",
    "\\",
    "__a",
    "zarr.json",
    ".",
    "..",
    "...",
    "a\nb",
    "\x00",
    "ü/é",
]


@pytest.mark.parametrize("address", PLAIN)
def test_a_plain_address_is_its_own_name(address):
    assert encode(address) == address


@pytest.mark.parametrize("address", ODD)
def test_any_other_is_one_part_of_a_key_that_zarr_accepts(address):
    name = encode(address)
    assert "/" not in name and "\\" not in name and name.isprintable()
    assert not name.startswith("__") and name.strip(".") and name != "zarr.json"


def test_no_two_addresses_share_a_name():
    alphabet = ["/", "%", "2", "F", "\\", "5", "C", ".", "_"]
    addresses = {
        "".join(letters) for length in range(1, 5) for letters in itertools.product(alphabet, repeat=length)
    }
    assert len({encode(address) for address in addresses}) == len(addresses)


def test_names_are_decoded_to_the_recorded_addresses():
    addresses = [*PLAIN, *ODD]
    names = [encode(address) for address in addresses]
    assert decode(names, addresses) == dict(zip(names, addresses, strict=True))


def test_a_name_of_no_recorded_address_is_its_own_address():
    assert decode(["sequence", "a%2Fb"], ["a%2Fb"]) == {"sequence": "sequence", "a%2Fb": "a%2Fb"}
    assert decode(["a%2Fb", "a%252Fb"], ["a/b", "a%2Fb"]) == {"a%2Fb": "a/b", "a%252Fb": "a%2Fb"}
