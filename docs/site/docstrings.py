"""Docstrings of denoscope as reStructuredText, which Sphinx reads.

Their sections ("Args:", "Raises:", "Caveats:", …) become fields, and the entries of a section a list.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

SECTION = re.compile(r"(Args\b[^:]*|Attributes|Raises|Returns|Interpretation|Caveats|Source):(?: (.*))?")
ENTRY = re.compile(r"    (\S[^:`]*): (.*)")
PAGE = re.compile(r"`?\bdocs/(\w+)\.md\b`?")
ATTRIBUTE = re.compile(r"(?<![^\s(])`(\.\w+)`")
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
FUNCTION = re.compile(r"<function (\w+)[^<>]*>")
VALUE = re.compile(r"<(\w+)[^<>]*>")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("autodoc-process-signature", _read_signature)


def _read_docstring(_app: Any, _kind: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def _read_signature(
    _app: Any, kind: str, _name: str, of: Any, _options: Any, signature: str | None, returned: str
) -> tuple[str, str] | None:
    """Leave out the signature of a class that only functions make: one whose docstring explains no arguments."""
    if kind in ("class", "exception") and "Args:" not in (inspect.getdoc(of) or ""):
        return "", ""
    return (_as_python(signature), returned) if signature else None


def _as_python(signature: str) -> str:
    """A signature that Sphinx can read: one whose defaults are written as Python, not as `<Condition …>`."""
    return VALUE.sub(r"\1()", FUNCTION.sub(r"\1", ALIAS.sub(r"\1", signature)))


def as_rst(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    return [line if line.lstrip().startswith((">>>", "...")) else _escaped(line) for line in _rst(lines)]


def _escaped(line: str) -> str:
    """A line in which bars and @ begin nothing and attributes are no names, with links to pages of the documentation."""
    line = ATTRIBUTE.sub(r"``\1``", re.sub(r"([|@])", r"\\\1", line))
    return PAGE.sub(r":doc:`/\1`", line)


def _rst(lines: Iterable[str]) -> Iterator[str]:
    section = ""
    for line in lines:
        if found := SECTION.fullmatch(line):
            section = "entries" if found[2] is None else "text"
            yield from ("", f":{found[1]}: {found[2] or ''}".rstrip())
        elif section == "entries" and (entry := ENTRY.fullmatch(line)):
            names = ", ".join(f"**{name.replace('*', '')}**" for name in entry[1].split(", "))
            yield f"    * {names}: {entry[2]}"
        elif section == "entries" and line.startswith("    "):
            yield f"      {line[8:]}"
        elif section == "text" and line:
            yield f"    {line.strip()}"
        else:
            section = section if section == "entries" and not line else ""
            yield line
