"""Queries: which addresses of a network a user means."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.hooks.addresses import ATTENTION, SUFFIXES, Address, split
from denoscope.hooks.module_survey import Layer, first_and_last_convolution

_BOTTLENECK = "mid_block"


def as_queries(layers: str | Iterable[str]) -> tuple[str, ...]:
    """The queries of an argument `layers`: one, or several.

    Raises: UserError if they are not texts.
    """
    queries: tuple[Any, ...] = (None,)
    with suppress(TypeError):  # not iterable, or an array without axes
        queries = (layers,) if isinstance(layers, str) else tuple(layers)
    if not all(isinstance(query, str) for query in queries):
        raise UserError(
            f"{spelled('layers')} is {describe(layers)}; allowed: the query of a layer, such as 'mid_block', or several in a list"
        )
    return queries


def choose(
    queries: Sequence[str], layers: Sequence[Layer], aliases: Mapping[str, str] | None = None
) -> list[Address]:
    """The addresses that the queries match, each once: query by query, each in the order of calls.

    A query is a module's path, with `*` for one part and `**` for any number of them; `re:PATTERN`, searched
    in the path; `type:CLASS`, also for classes that inherit from it; `first` or `last`, the first and the last
    convolution; or `h-space`, the bottleneck of a UNet. A suffix says which value is read there, as in an `Address`.
    With a leading `!` its matches are removed from those of the queries before it.

    Args:
        aliases: further paths of shared modules, and the path in `layers` of each.

    Raises:
        UserError: if a query matches nothing, with the nearest names, or no match is left.
    """
    chosen: dict[Address, None] = {}
    for query in queries:
        matches = _matches(query.removeprefix("!"), query, layers, aliases or {})
        if query.startswith("!"):
            chosen = {address: None for address in chosen if not _is_removed(address, matches)}
        else:
            chosen |= dict.fromkeys(matches)
    if queries and not chosen:
        raise UserError(
            f"{' '.join(queries)} leaves no layer; first name the layers to take, then those to remove, as in "
            "** !conv_in"
        )
    return list(chosen)


def _is_removed(address: Address, removed: Sequence[Address]) -> bool:
    """Whether an address is among `removed`; a path without a suffix covers all addresses of its module."""
    return address in removed or Address(address.path) in removed


def _matches(text: str, query: str, layers: Sequence[Layer], aliases: Mapping[str, str]) -> list[Address]:
    """The addresses that one query matches, in the order of calls."""
    paths = [layer.address for layer in layers]
    # A path may end like a suffix, as that of a module named c[0] does.
    if (whole := text.removesuffix(":before")) in paths:
        return [Address(whole, before=whole != text)]
    pattern, suffix = split(text)
    if pattern in paths:
        return [replace(suffix, path=pattern)]
    if suffix.what in ATTENTION:
        layers = [layer for layer in layers if layer.kind.endswith("Attention")]
    matches = _paths(pattern, layers)
    if not matches:
        raise _unknown(query, pattern, layers, aliases)
    return [replace(suffix, path=path) for path in matches]


def _paths(pattern: str, layers: Sequence[Layer]) -> list[str]:
    """The paths that a pattern matches."""
    if pattern in ("first", "last"):
        return [first_and_last_convolution(layers)[0 if pattern == "first" else 1]]
    paths = [layer.address for layer in layers]
    if pattern == "h-space":
        if _BOTTLENECK not in paths:
            raise UserError("h-space is the mid_block of a UNet, and this network has none; name a layer")
        return [_BOTTLENECK]
    kind, _, rest = pattern.partition(":")
    if kind == "re" and rest:
        return [path for path in paths if _expression(rest).search(path)]
    if kind == "type" and rest:
        return [layer.address for layer in layers if any(fnmatch.fnmatchcase(k, rest) for k in layer.kinds)]
    return [path for path in paths if _glob(pattern).fullmatch(path)] if "*" in pattern else []


def _unknown(query: str, pattern: str, layers: Sequence[Layer], aliases: Mapping[str, str]) -> UserError:
    """The error for a query that matches nothing."""
    kind, _, rest = pattern.partition(":")
    if pattern in aliases:
        surveyed = aliases[pattern]
        return UserError(
            f"layer {query!r} is another name of the shared module {surveyed!r}; name {surveyed!r}"
        )
    if ":" in pattern and kind not in ("re", "type"):
        return UserError(f"unknown layer {query!r}; a path may be followed by {SUFFIXES}")
    names = (
        sorted({k for layer in layers for k in layer.kinds})
        if kind == "type"
        else [x.address for x in layers]
    )
    near = difflib.get_close_matches(rest if kind == "type" else pattern, names, n=3, cutoff=0.0)
    hint = f"the nearest are {', '.join(near)}" if near else "no layer of this network can be read there"
    return UserError(f"unknown layer {query!r}; {hint}")


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"layer 're:{pattern}' is not a regular expression: {error}") from error


def _glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a path with wildcards; `*` stays within one part of it."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": r".*", "*": r"[^.]*"}.get(part, re.escape(part)) for part in parts))
