"""Addresses of states in a network: how they are written, and which ones a query names."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer, first_and_last_convolution

What = Literal["out", "in", "diff", "q", "k", "v", "probs"]
ATTENTION = ("q", "k", "v", "probs")
GRAMMAR = ":in, :out, :diff, :q, :k, :v, :probs, then [0] for one element, then :before"
_ENDING = re.compile(
    rf"(?::(?P<what>{'|'.join(get_args(What))}))?(?:\[(?P<index>\d+)\])?(?P<before>:before)?$"
)
_BOTTLENECK = "mid_block"


@dataclass(frozen=True)
class Address:
    """Where a state is: a module's path and what is taken of it.

    `what` is the module's output ("out"), its input ("in"), output − input ("diff"), or of an attention
    module the queries, keys and values that enter the softmax [head, token, feature] ("q", "k", "v") and its
    weights [head, query, key] ("probs"). `index` picks one element of a tuple; without it, it is the first
    tensor. `before` reads what was there before an intervention at the same place.

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
    path, ending = _split(text)
    if not path or ":" in path or "[" in path:
        raise UserError(f"layer {text!r} is no address; written is a module's path, then {GRAMMAR}")
    return replace(ending, path=path)


def choose(queries: Sequence[str], layers: Sequence[Layer]) -> list[Address]:
    """The addresses that the queries name, each once: query by query, inside of each in the order of calls.

    A query is a module's path, with `*` for one part and `**` for any number of them; `re:PATTERN`, searched
    in the path; `type:CLASS`; `first` or `last`, the first and the last convolution; or `h-space`, the
    bottleneck of a UNet. Behind it stands what is read, as in an `Address`. A leading `!` takes its matches
    away from what the queries before it chose.

    Raises:
        UserError: if a query names nothing, with the nearest names, or nothing is left of what they chose.
    """
    chosen: dict[Address, None] = {}
    for query in queries:
        path, ending = _split(query.removeprefix("!"))
        found = [replace(ending, path=match) for match in _matches(path, ending, query, layers)]
        if query.startswith("!"):
            chosen = {address: None for address in chosen if not _taken_away(address, found)}
        else:
            chosen |= dict.fromkeys(found)
    if queries and not chosen:
        raise UserError(
            f"layers {' '.join(queries)} leave nothing; name what stays in front of what is taken away, as in "
            "** !conv_in"
        )
    return list(chosen)


def _taken_away(address: Address, found: Sequence[Address]) -> bool:
    """Whether one of `found` means the address; a bare path means everything of its module."""
    return address in found or Address(address.path) in found


def _split(text: str) -> tuple[str, Address]:
    """A query's pattern, and an address without path that says what is read there."""
    ending = _ENDING.search(text)
    assert ending is not None
    if text.startswith("re:") and ending["index"] and not ending["what"]:
        # A pattern may end in a set of characters; its element is asked for as :out[0].
        return text, Address("")
    what: What = ending["what"] or "out"  # type: ignore[assignment]
    index = None if ending["index"] is None else int(ending["index"])
    if index is not None and what not in ("out", "in"):
        raise UserError(f"layer {text!r}: only :in and :out have elements; leave out [{index}]")
    return text[: ending.start()], Address("", what, index, bool(ending["before"]))


def _matches(pattern: str, ending: Address, query: str, layers: Sequence[Layer]) -> list[str]:
    """The paths that a pattern names, in the order of calls."""
    if pattern in (known := [layer.address for layer in layers]):
        return [pattern]
    if ending.what in ATTENTION:
        layers = [layer for layer in layers if layer.kind.endswith("Attention")]
        known = [layer.address for layer in layers]
    if pattern in ("first", "last"):
        return [first_and_last_convolution(layers)[0 if pattern == "first" else 1]]
    if pattern == "h-space":
        if _BOTTLENECK in known:
            return [_BOTTLENECK]
        raise UserError(
            "h-space is the bottleneck of a UNet, and this network has no mid_block; name a layer"
        )
    kind, _, rest = pattern.partition(":")
    if kind == "re" and rest:
        found = [path for path in known if _expression(rest).search(path)]
    elif kind == "type" and rest:
        found = [layer.address for layer in layers if fnmatch.fnmatchcase(layer.kind, rest)]
    elif "*" in pattern:
        found = [path for path in known if _glob(pattern).fullmatch(path)]
    else:
        found = []
    if not found and ":" in pattern and kind not in ("re", "type"):
        raise UserError(f"unknown layer {query!r}; behind a path may stand {GRAMMAR}")
    if not found:
        names = sorted({layer.kind for layer in layers}) if kind == "type" else known
        near = difflib.get_close_matches(rest if kind == "type" else pattern, names, n=3, cutoff=0.0)
        raise UserError(f"unknown layer {query!r}; the nearest are {', '.join(near)}")
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"layer 're:{pattern}' is no regular expression: {error}") from error


def _glob(pattern: str) -> re.Pattern[str]:
    """The expression of a path with wildcards: `*` stays inside of one part of it."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": r".*", "*": r"[^.]*"}.get(part, re.escape(part)) for part in parts))
