"""Addresses of states in a network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from denoscope.foundation.errors import UserError

What = Literal["out", "in", "diff", "q", "k", "v", "probs"]
ATTENTION = ("q", "k", "v", "probs")
SUFFIXES = ":in, :out, :diff, :q, :k, :v, :probs, then [0] for one element, then :before"
_SUFFIX = re.compile(
    rf"(?::(?P<what>{'|'.join(get_args(What))}))?(?:\[(?P<index>\d+)\])?(?P<before>:before)?$"
)


@dataclass(frozen=True)
class Address:
    """The place of a state: the path of a module, and which of its values is meant.

    `what` is the module's output ("out"), its input ("in") or output − input ("diff"). For an attention module it can
    also be the queries, keys or values that enter the softmax [head, token, feature] ("q", "k", "v"), or its weights
    [head, query, key] ("probs"). `index` picks one element of a tuple; without it, the first tensor is taken.
    `before` means the value before interventions at the same place.

    >>> str(Address("mid_block.attentions.0", "probs"))
    'mid_block.attentions.0:probs'
    """

    path: str
    what: What = "out"
    index: int | None = None
    before: bool = False

    def __str__(self) -> str:
        what = "" if self.what == "out" else f":{self.what}"
        index = "" if self.index is None else f"[{self.index}]"
        return f"{self.path}{what}{index}{':before' if self.before else ''}"


def parse(text: str) -> Address:
    """The address that a text stands for; its path need not exist.

    >>> parse("mid_block:out[1]")
    Address(path='mid_block', what='out', index=1, before=False)
    """
    path, suffix = split(text)
    if not path or ":" in path or "[" in path:
        raise UserError(f"layer {text!r} is not an address; an address is a module's path, then {SUFFIXES}")
    return replace(suffix, path=path)


def split(text: str) -> tuple[str, Address]:
    """The part of a text before its suffixes, and an address without a path for the suffixes."""
    suffix = _SUFFIX.search(text)
    assert suffix is not None
    if text.startswith("re:") and suffix["index"] and not suffix["what"]:
        # A pattern may end in a set of characters; an element is written :out[0].
        return text, Address("")
    what: What = suffix["what"] or "out"  # type: ignore[assignment]
    index = None if suffix["index"] is None else int(suffix["index"])
    if index is not None and what not in ("out", "in"):
        raise UserError(f"layer {text!r}: only :in and :out have elements; leave out [{index}]")
    return text[: suffix.start()], Address("", what, index, bool(suffix["before"]))
