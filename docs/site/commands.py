"""The page of all commands, from what their `--help` prints."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from unittest import mock

from denoscope.cli import command, registry

WIDE = "10000"
"""Columns of a terminal in which no text of the help is wrapped."""
COMMON = ("-h, --help", "-v, --verbose", "-q, --quiet")
"""Flags of all commands, which the page names once."""


def page() -> str:
    """A section for each command, with its flags, in Markdown."""
    return "\n".join(line for name in registry.VERBS for line in _section(name))


def _section(name: str) -> Iterator[str]:
    usage, about, flags = parsed(_help(name))
    yield from (f"## denoscope {name}", "", about, "", "```text", usage, "```", "")
    for flag, meaning in flags.items():
        if flag not in COMMON:
            yield from (f"`{flag}`", f": {meaning}", "")


def _help(name: str) -> str:
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS=WIDE, NO_COLOR="1"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        command.main([*name.split(), "--help"])
    return printed.getvalue()


def parsed(printed: str) -> tuple[str, str, dict[str, str]]:
    """The usage, the description and the meaning of each flag, from the help of a command."""
    usage, _, about, *lines = printed.splitlines()
    flags: dict[str, str] = {}
    for line in lines:
        text = line.removeprefix("  ").rstrip()
        if text.startswith("  "):  # the meaning of a long flag has a line of its own
            flags[next(reversed(flags))] = text.strip()
        elif text and line.startswith("  "):
            flag, _, meaning = text.partition("  ")
            flags[flag] = meaning.strip()
    return usage.removeprefix("usage: "), about, flags
