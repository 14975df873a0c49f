"""Results of measures from the JSON values that `to_dict` gives."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from denoscope.dynamics.result import KIND, Result
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe


def results_in(content: Any, name: str = "") -> Iterator[tuple[str, Result]]:
    """Each result within JSON values, and the keys that lead to it, joined by dots.

    Raises: UserError if a result lacks a field, or holds a value of another type.
    """
    if not isinstance(content, Mapping):
        return
    if isinstance(content.get(KIND), str) and content[KIND] in kinds():
        yield name, from_dict(content)
        return
    for key, value in content.items():
        yield from results_in(value, f"{name}.{key}" if name else str(key))


def from_dict(content: Mapping[str, Any]) -> Result:
    """The result whose `to_dict` gave these values: lists become arrays, and None becomes NaN where a number must be.

    Values that `to_dict` leaves out, such as singular vectors, are None.

    Raises: UserError if it is no result, lacks a field, or holds a value of another type.
    """
    kind = kinds().get(str(content.get(KIND)))
    if kind is None:
        raise UserError(f"{KIND} is {content.get(KIND)!r}; allowed: {', '.join(sorted(kinds()))}")
    result = _dataclass(kind, content, kind.__name__)
    assert isinstance(result, Result)
    return result


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
    if not isinstance(content, Mapping):
        raise UserError(f"{name} is {describe(content)}; allowed: an object")
    hints, values = typing.get_type_hints(kind), dict[str, Any]()
    for item in dataclasses.fields(kind):
        required = item.default is item.default_factory is dataclasses.MISSING
        if item.name not in content:
            if required and item.name not in getattr(kind, "unstored", ()):
                raise UserError(f"{name} lacks {item.name}")
            if required:
                values[item.name] = None
            continue
        values[item.name] = _value(hints[item.name], content[item.name], f"{name}.{item.name}")
    return kind(**values)


def _value(hint: Any, value: Any, name: str) -> Any:
    """A JSON value as an annotation wants it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        others = [one for one in arguments if one is not type(None)]
        lists = [one for one in others if one is np.ndarray or typing.get_origin(one) is tuple]
        return _value((lists if isinstance(value, list) and lists else others)[0], value, name)
    if hint is Any or origin is typing.Literal:
        return _array(value, name) if isinstance(value, list) else value
    if hint is np.ndarray:
        return _array(value, name)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), value, name)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{name} is {describe(value)}; allowed: a list")
        return tuple(_value(arguments[0], entry, name) for entry in value)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise UserError(f"{name} is {describe(value)}; allowed: an object")
        return {key: _value(arguments[1], entry, f"{name}.{key}") for key, entry in value.items()} if arguments[1] is not Any else dict(value)  # fmt: skip
    if hint is float and value is None:
        return math.nan
    allowed = (int, float) if hint is float else hint
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{name} is {describe(value)}; allowed: {getattr(hint, '__name__', hint)}")
    return value


def _array(value: Any, name: str) -> np.ndarray:
    """Nested lists of numbers as an array; None becomes NaN."""
    if not isinstance(value, list):
        raise UserError(f"{name} is {describe(value)}; allowed: numbers in lists of equal lengths")
    try:
        array = np.array(value)
        return array.astype(float) if array.dtype == object else array
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} is {describe(value)}; allowed: numbers in lists of equal lengths") from error
