"""The flags of a command: from the fields of the configuration classes to values."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.errors import UserError


def parse(verb: Verb, arguments: Sequence[str], settings: Settings, program: str) -> Any:
    """An object with one attribute a flag; flags that are not given have their default from `settings`.

    Raises: UserError if the words cannot be read. SystemExit after `--help`.
    """
    import tyro

    for flag, word in itertools.pairwise([program, *arguments]):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UserError(
                f"{word.rstrip('=') or flag} is given an empty text; give it a value or leave it out"
            )
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                _flags(verb, settings),
                args=list(arguments),
                prog=program,
                description=verb.help,
                use_underscores=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if stop.code:
            raise UserError(f"{_first_part(printed.getvalue())} (see {program} --help)") from None
        raise


def _first_part(framed: str) -> str:
    """What is wrong: the part of tyro's framed message above its first rule, where its advice begins."""
    lines = framed.splitlines()[1:]
    return " ".join(line.strip("│ ") for line in itertools.takewhile(lambda line: "──" not in line, lines))


def own_flags(verb: Verb, parsed: Any) -> Any:
    """The flags that belong to this command alone, checked; None if there are none."""
    if verb.own is None:
        return None
    return verb.own(**{item.name: getattr(parsed, item.name) for item in dataclasses.fields(verb.own)})


def merged(verb: Verb, settings: Settings, parsed: Any) -> Settings:
    """The settings with the flags' values; each configuration checks its own."""
    changes: dict[str, dict[str, Any]] = {}
    for config, attribute, flag in verb.fields():
        changes.setdefault(config, {})[attribute] = getattr(parsed, flag)
    changed = {
        config: dataclasses.replace(getattr(settings, config), **values) for config, values in changes.items()
    }
    return dataclasses.replace(settings, **changed)


def _flags(verb: Verb, settings: Settings) -> type:
    """A dataclass with one field a flag."""
    fields: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(verb.own) if verb.own else ():
        fields.append(_flag(item.name, typing.cast(type, verb.own), item.name, item.default))
    for config, attribute, flag in verb.fields():
        instance = getattr(settings, config)
        fields.append(_flag(flag, type(instance), attribute, getattr(instance, attribute)))
    return dataclasses.make_dataclass("Flags", fields, kw_only=True)


def _flag(flag: str, owner: type, attribute: str, default: Any) -> tuple[str, Any, Any]:
    import tyro

    item = next(item for item in dataclasses.fields(owner) if item.name == attribute)
    hint: Any = Annotated[typing.get_type_hints(owner)[attribute], tyro.conf.arg(help=item.metadata["help"])]
    if item.metadata["positional"]:
        # Only a list may be left out.
        omitted = dataclasses.field(default=default) if isinstance(default, tuple) else dataclasses.field()
        return flag, Annotated[hint, tyro.conf.Positional], omitted
    return flag, hint, dataclasses.field(default=default)
