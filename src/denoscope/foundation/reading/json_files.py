"""The reader of untrusted JSON: it limits size and depth, and checks the content against a schema."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.regular_files import read_bytes
from denoscope.foundation.validation import describe

Kind = TypeVar("Kind")
BYTES = 2**29
"""The largest file: six times the manifest of a plane of a million noises."""
VALUES = 2**24
"""How many values a file may hold; in memory each takes up to 100 bytes."""
DEPTH = 64
"""How deeply values may be nested. Python's own functions fail at about a thousand levels, each in its own way."""
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLACE = re.compile(r"(?P<problem>.*?)(?: - at (?:key in )?`\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")


class MalformedError(UserError):
    """A JSON file that cannot be read, or that does not have the content it must have."""


def read(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """The content of a file, as `parse` returns it.

    Raises: MalformedError as `parse` does, and if the file cannot be read.
    """
    try:
        data = read_bytes(Path(path), limit=BYTES)
    except OSError as error:
        raise MalformedError(f"cannot read {path}: {error.strerror or error}") from error
    return parse(data, kind, str(path))


def parse(data: bytes, kind: type[Kind], name: str) -> Kind:
    """The content of JSON text as a `kind`.

    Args:
        kind: a type of plain values, such as `dict[str, int]`, or a dataclass with a field for each key; see `check`.
        name: the file, for messages.

    Raises: MalformedError naming the file, the key, its value and what is allowed.
    """
    if len(data) > BYTES:
        raise MalformedError(f"{name} has {format_bytes(len(data))}; allowed: at most {format_bytes(BYTES)}")
    # n values have at least n − 1 separators. Separators within strings are counted too.
    if sum(data.count(sign) for sign in b",[{") > VALUES:
        raise MalformedError(f"{name} holds more than {VALUES:,} values; allowed: at most that many")
    try:
        content = json.loads(data)
        if rb"\u" in data:  # an escape can be a lone surrogate, which no valid string holds
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError as error:
        raise MalformedError(f"{name} is not JSON: {str(error).splitlines()[0]}") from error
    if _is_deep(data):
        raise _too_deep(name)
    return check(content, kind, name)


def check(content: Any, kind: type[Kind], name: str) -> Kind:
    """Plain values as a `kind`. Keys that a dataclass has no field for are ignored; its defaults stand for missing ones.

    Raises: MalformedError naming the file, the key, its value and what is allowed.
    """
    import msgspec

    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise MalformedError(_described(str(error), content, name, kind)) from error


def _described(message: str, content: Any, name: str, kind: Any) -> str:
    """msgspec's message, such as "Expected `int`, got `str` - at `$.samples[0]`", with the file's name and the value."""
    match = _PLACE.fullmatch(message)
    assert match is not None
    path, problem = (match["path"] or "").lstrip("."), match["problem"]
    if missing := re.fullmatch(r"Object missing required field `(.+)`", problem):
        return f"{name} lacks {f'{path}.{missing[1]}' if path else missing[1]}"
    allowed = re.sub(r"^Expected |, got .*$|`", "", problem)
    allowed = ", ".join(_words_at(kind, match["path"] or "")) or allowed
    known, value = _value_at(content, match["path"] or "")
    shown = describe(value) if known else f"of type {problem.partition('got ')[2].strip('`')}"
    return (
        f"{name} has {path} {shown}; allowed: {allowed}" if path else f"{name} is {shown}; allowed: {allowed}"
    )


def _value_at(content: Any, path: str) -> tuple[bool, Any]:
    """Whether msgspec's path leads to a known value, and that value. The path does not name the keys of mappings."""
    for step in _STEP.finditer(path):
        if step["index"] and isinstance(content, list):
            content = content[int(step["index"])]
        elif step["key"] and isinstance(content, dict):
            content = content.get(step["key"])
        else:
            return False, None
    return True, content


def _words_at(kind: Any, path: str) -> list[str]:
    """The values that a type allows at msgspec's path, and null if it does; empty if they are not a few fixed ones."""
    kinds = [kind]
    for step in _STEP.finditer(path):
        inner = [item for part in kinds for item in _options(part)]
        if step["key"]:
            kinds = [hints[step["key"]] for part in inner if step["key"] in (hints := _fields(part))]
        else:  # an entry of a list, or a value of a mapping
            kinds = [typing.get_args(part)[-1] for part in inner if typing.get_args(part)]
    options = [item for part in kinds for item in _options(part)]
    fixed = [part for part in options if typing.get_origin(part) is typing.Literal]
    words = [str(word) for part in fixed for word in typing.get_args(part)]
    if len(fixed) + (type(None) in options) < len(options):
        return []
    return [*words, "null"] if words and type(None) in options else words


def _options(kind: Any) -> tuple[Any, ...]:
    """The types that a type allows: those of a union, otherwise itself."""
    if typing.get_origin(kind) is typing.Annotated:
        return _options(typing.get_args(kind)[0])
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return tuple(item for part in typing.get_args(kind) for item in _options(part)) if is_union else (kind,)


def _fields(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True) if dataclasses.is_dataclass(kind) else {}


def _is_deep(data: bytes) -> bool:
    """Whether values are nested in more than DEPTH levels, if the text is JSON."""
    brackets = data.translate(_BRACKETS, delete=_OTHERS)
    if not _vanishes(brackets):  # brackets within texts are not nested
        brackets = _TEXT.sub(b"", data).translate(_BRACKETS, delete=_OTHERS)
    return not _vanishes(brackets)


def _vanishes(brackets: bytes) -> bool:
    """Whether nothing remains after the innermost pairs of brackets were removed DEPTH times."""
    for _ in range(DEPTH):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def _too_deep(name: str) -> MalformedError:
    return MalformedError(f"{name} is nested too deeply; allowed: at most {DEPTH} levels")
