"""Results of measures from the JSON values that `to_dict` gives."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from denoscope.dynamics.result import COMMON, KIND, Result
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_choice


def results_in(content: Any, name: str = "") -> Iterator[tuple[str, Result]]:
    """Each result within JSON values, and the keys that lead to it, joined by dots.

    Raises: UserError if a result lacks a field, or holds a value of another type.
    """
    for place, values in _contents(content, name):
        if kind_of(values):
            yield place, from_dict(values)


def unknown_in(content: Any, name: str = "") -> Iterator[str]:
    """The keys that lead to each result within JSON values which is of no kind of this version, joined by dots."""
    for place, values in _contents(content, name):
        if not kind_of(values):
            yield place


def _contents(content: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The values of each result within JSON values, and the keys that lead to it, joined by dots."""
    if not isinstance(content, Mapping):
        return
    if content.keys() >= {*COMMON}:
        yield name, content
        return
    for key, value in content.items():
        yield from _contents(value, f"{name}.{key}" if name else str(key))


def from_dict(content: Mapping[str, Any]) -> Result:
    """The result whose `to_dict` gave these values: lists become arrays, and None becomes NaN where a number must be.

    Values that `to_dict` leaves out, such as singular vectors, are None.

    Raises: UserError if it is no result, lacks a field, or holds a value of another type.
    """
    kind = kind_of(content)
    if kind is None:
        raise UserError(f"{KIND} is {content.get(KIND)!r}; allowed: {', '.join(sorted(kinds()))}")
    result = _dataclass(kind, content, kind.__name__)
    assert isinstance(result, Result)
    return result


def kind_of(content: Mapping[str, Any]) -> type[Result] | None:
    """The kind of result that JSON values are: the one they name, or the one whose fields they have.

    Files of early versions name none. Of several kinds whose fields they have, the one with the most fields counts, and of
    kinds with equal fields the one from which the others derive.
    """
    if KIND in content:
        return kinds().get(content[KIND]) if isinstance(content[KIND], str) else None
    fitting = {kind: len(fields) for kind in kinds().values() if content.keys() >= (fields := _needed(kind))}
    most = [kind for kind, count in fitting.items() if count == max(fitting.values())]
    return next((kind for kind in most if all(issubclass(other, kind) for other in most)), None)


def _needed(kind: type[Result]) -> set[str]:
    """The fields that a file of a kind has: those that every result of it has, and the origin and the warnings."""
    own = {
        item.name
        for item in dataclasses.fields(kind)
        if item.default is item.default_factory is dataclasses.MISSING and item.name not in kind.unstored
    }
    return {*own, *COMMON}


@cache
def kinds() -> dict[str, type[Result]]:
    """All kinds of results of this package by name."""
    from denoscope import dynamics

    for module in pkgutil.walk_packages(dynamics.__path__, f"{dynamics.__name__}."):
        importlib.import_module(module.name)

    def below(kind: type[Result]) -> Iterator[type[Result]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    return {kind.__name__: kind for kind in below(Result) if kind.__module__.startswith(dynamics.__name__)}


def _dataclass(kind: type, content: Any, name: str) -> Any:
    _check(content, Mapping, "an object", name)
    hints, values = typing.get_type_hints(kind), dict[str, Any]()
    for item in dataclasses.fields(kind):
        if item.name in content:
            values[item.name] = _value(hints[item.name], content[item.name], f"{name}.{item.name}")
        elif item.name in getattr(kind, "unstored", ()):
            values[item.name] = None
        elif item.default is item.default_factory is dataclasses.MISSING:
            raise UserError(f"{name} lacks {item.name}")
    return kind(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    """A JSON value as an annotation wants it."""
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return None if value is None else _value(_member(arguments, value), value, name)
    if kind is typing.Literal:
        return parse_choice(value, name, arguments)
    if kind is tuple:
        return _tuple(arguments, value, name)
    if kind in (dict, Mapping):
        return _mapping(arguments[1], value, name)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), value, name)
    if hint is np.ndarray or (hint is Any and isinstance(value, list)):
        return _array(value, name)
    if hint is float and value is None:
        return math.nan
    if hint is not Any:
        _check(value, (int, float) if hint is float else hint, hint.__name__, name)
    return value


def _member(hints: Sequence[Any], value: Any) -> Any:
    """The member of a union that a value may be: one that is made of lists, or one that is not."""
    others = [hint for hint in hints if hint is not types.NoneType]
    return next((hint for hint in others if _is_listed(hint) == isinstance(value, list)), others[0])


def _is_listed(hint: Any) -> bool:
    """Whether JSON holds values of a type as lists."""
    return hint is np.ndarray or typing.get_origin(hint) is tuple


def _tuple(hints: Sequence[Any], value: Any, name: str) -> tuple[Any, ...]:
    _check(value, list, "a list", name)
    if hints[-1] is not Ellipsis and len(value) != len(hints):
        raise UserError(f"{name} has {len(value)} entries; allowed: {len(hints)}")
    return tuple(_value(hints[0], entry, name) for entry in value)


def _mapping(hint: Any, value: Any, name: str) -> dict[str, Any]:
    _check(value, Mapping, "an object", name)
    # What may be anything, such as an origin, stays as it is.
    return {
        key: entry if hint is Any else _value(hint, entry, f"{name}.{key}") for key, entry in value.items()
    }


def _array(value: Any, name: str) -> np.ndarray:
    """Nested lists of numbers as an array; None becomes NaN."""
    allowed = "numbers in lists of equal lengths"
    _check(value, list, allowed, name)
    try:
        array = np.array(value)
        array = array.astype(float) if array.dtype == object else array
    except (TypeError, ValueError):
        array = np.array("")
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} is {describe(value)}; allowed: {allowed}")
    return array


def _check(value: Any, kind: Any, allowed: str, name: str) -> None:
    """Refuse a value that is not of a kind; True and False are no numbers."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{name} is {describe(value)}; allowed: {allowed}")
