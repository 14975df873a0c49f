"""Layer addresses as names of arrays in a store, each of which must be one part of a key."""

from __future__ import annotations

from collections.abc import Iterable

ESCAPED = {"%", "/", "\\"}
RESERVED = {"zarr.json"}


def encode(address: str) -> str:
    """Return the name of an address in a store.

    The characters /, \\, % and control characters are percent-encoded, as UTF-8; so is the first character of names that
    Zarr reserves. All other addresses are their own names, and no two addresses share one.

    >>> encode("up_blocks.0.resnets"), encode("up/0"), encode("50%")
    ('up_blocks.0.resnets', 'up%2F0', '50%25')
    """
    name = "".join(
        _percent(letter) if letter in ESCAPED or not letter.isprintable() else letter for letter in address
    )
    if name.startswith("__") or name in RESERVED or not name.strip("."):
        name = _percent(name[:1]) + name[1:]
    return name


def decode(names: Iterable[str], addresses: Iterable[str]) -> dict[str, str]:
    """Return the address that each name stands for, out of the addresses that were recorded.

    A name that stands for none of them is its own address: recordings of denoscope 0.1 have unencoded names.
    """
    by_name = {encode(address): address for address in addresses}
    return {name: by_name.get(name, name) for name in names}


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))
