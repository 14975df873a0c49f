"""The base class of the configuration classes: frozen dataclasses that check the values of their fields."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import typing
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, Self

from denoscope.foundation import spelling
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.validation import LARGEST_INTEGER, describe

Rule = tuple[str, Callable[[Any], bool]]
"""What is allowed, in words, and the test of a value that has the right type."""

_FROM_ARGUMENTS: ContextVar[bool] = ContextVar("from_arguments", default=False)

_WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("a string", "strings"),
    Path: ("a path", "paths"),
}
"""How messages describe one value of a type, and several."""
_NUMBERS = ("no", "one", "two", "three")


def at_least(minimum: int) -> Rule:
    """The rule that allows integers of at least `minimum`."""
    return f"an integer of at least {minimum}", lambda value: value >= minimum


def option(
    default: Any,
    help: str,
    rule: Rule | None = None,
    *,
    positional: bool = False,
    alias: str | None = None,
    takes_url: bool = False,
) -> Any:
    """A field with its help text and, if the type allows too much, the rule for its values.

    Args:
        positional: the command line takes the value without a flag. Only a list may then be omitted.
        alias: a short flag, such as "-v".
        takes_url: whether a path may also be the URL of a recording.
    """
    metadata = {
        "help": help, "rule": rule, "positional": positional, "alias": alias, "takes_url": takes_url
    }  # fmt: skip
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@functools.cache
def type_hints(owner: type) -> dict[str, Any]:
    """The type of each field of a dataclass; resolving them takes milliseconds."""
    return typing.get_type_hints(owner)


class Checked:
    """Base of dataclasses that refuse an invalid value, and a field that does not exist.

    Raises: UserError naming the field, its value and what is allowed. The field is spelled as the caller wrote it: as
        a flag on the command line, as an argument in `from_arguments`, otherwise with the name of the class.
    """

    ARGUMENTS: typing.ClassVar[dict[str, str]] = {}
    """The name of the argument in Python, for fields where it differs from that of the field."""

    def __new__(cls, *_: Any, **values: Any) -> Self:
        known = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
        if unknown := next((name for name in values if name not in known), None):
            raise UserError(f"{cls.__name__} has no field {unknown!r}; its fields are {', '.join(known)}")
        return super().__new__(cls)

    @classmethod
    def from_arguments(cls, **values: Any) -> Self:
        """An instance made of the arguments of a function, which messages name instead of the fields."""
        token = _FROM_ARGUMENTS.set(True)
        try:
            return cls(**values)
        finally:
            _FROM_ARGUMENTS.reset(token)

    def __post_init__(self) -> None:
        hints = type_hints(type(self))  # type: ignore[arg-type]
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            given, hint = getattr(self, item.name), hints[item.name]
            value = _converted(given, hint)
            if value is not given:
                object.__setattr__(self, item.name, value)
            if isinstance(value, Path) and not item.metadata.get("takes_url") and is_url(value):
                # A URL may hold a secret, which is not repeated.
                raise UserError(f"{self.spelled(item.name)} is a URL; allowed: a path of this machine")
            if allowed := _allowed_instead(value, hint, item.metadata.get("rule")):
                raise UserError(f"{self.spelled(item.name)} is {_shown(given)}; allowed: {allowed}")

    @classmethod
    def spelled(cls, name: str) -> str:
        """A field as the caller wrote it."""
        if spelling.on_command_line() or _FROM_ARGUMENTS.get():
            return spelling.spelled(cls.ARGUMENTS.get(name, name))
        return f"{cls.__name__}.{name}"


def _converted(value: Any, hint: Any) -> Any:
    """A text as a path and a list as a tuple, if the field holds these."""
    if isinstance(value, str) and value and hint in (Path, Path | None):
        return Path(value)
    # A list would pass every check, but cannot be the default of a flag.
    kinds = map(typing.get_origin, (hint, *typing.get_args(hint)))
    if isinstance(value, list) and any(kind is tuple for kind in kinds):
        return tuple(value)
    return value


def _shown(value: Any) -> str:
    """A value as the caller wrote it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple) and spelling.on_command_line():
        return " ".join(map(str, value))
    text = repr(value)
    return text if len(text) <= 200 and "\n" not in text else describe(value)


def _allowed_instead(value: Any, hint: Any, rule: Rule | None) -> str | None:
    """What is allowed instead of an invalid value; None for a valid one."""
    if value is None and type(None) in typing.get_args(hint):
        return None
    if _fits(value, hint) and (rule is None or rule[1](value)):
        return None
    allowed = rule[0] if rule else _in_words(hint)
    return f"{allowed} and below 2**63" if _holds_large_integer(value) else allowed


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, Hashable) and value in arguments
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return len(hints) == len(value) and all(map(_fits, value, hints))
    if origin is dict:
        return isinstance(value, dict)
    if arguments:
        return any(_fits(value, choice) for choice in arguments)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(float(value))
    if hint is int:
        is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return is_integer and not _holds_large_integer(value)
    return isinstance(value, hint)


def _holds_large_integer(value: Any) -> bool:
    """Whether the value is an integer that arrays and files do not hold, or a tuple with such an integer."""
    entries = value if isinstance(value, tuple) else (value,)
    return any(isinstance(entry, numbers.Integral) and abs(int(entry)) > LARGEST_INTEGER for entry in entries)


def allowed_in(owner: type, item: dataclasses.Field[Any]) -> str:
    """What a field of a class allows, in words."""
    rule = item.metadata.get("rule")
    return rule[0] if rule else _in_words(type_hints(owner)[item.name])


def _in_words(hint: Any) -> str:
    arguments = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    if typing.get_origin(hint) is Literal:
        return ", ".join(str(choice) for choice in arguments)
    if typing.get_origin(hint) is tuple:
        several = _WORDS[arguments[0]][1]
        return (
            f"a list of {several}" if arguments[-1] is Ellipsis else f"{_NUMBERS[len(arguments)]} {several}"
        )
    return _WORDS[hint][0] if hint in _WORDS else " or ".join(map(_in_words, arguments))
