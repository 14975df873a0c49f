"""The flags of a command: they are made from fields of the configuration classes, and parsed into these."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import re
import shutil
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from denoscope.cli.messages import Verbosity
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import allowed_in, type_hints
from denoscope.foundation.errors import UserError

MOST_SHOWN, SHOWN = 200, 40
"""Up to how many characters messages repeat a word, and how many of a longer one."""
NARROWEST = 40
"""Columns of the narrowest terminal that help is made for; with a few, tyro never ends."""
T = typing.TypeVar("T")
Field: typing.TypeAlias = "dataclasses.Field[Any]"


def parse(verb: Verb, arguments: Sequence[str], settings: Settings, program: str) -> Any:
    """An object with one attribute for each flag; flags that are not given have their default from `settings`.

    Raises: UserError if the words cannot be read. SystemExit after `--help`.
    """
    import tyro

    for flag, word in itertools.pairwise([program, *arguments]):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UserError(
                f"{word.rstrip('=') or flag} is given an empty text; give it a value or leave it out"
            )
    for word in arguments:
        _check_known(verb, word, program)
    _check_lists(verb, arguments)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), _wide_enough():
            return tyro.cli(
                _flags(verb, settings),
                args=[_with_home(word) for word in arguments],
                prog=program,
                description=verb.help,
                use_underscores=True,
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stop:
        if stop.code:
            problem = _unframed(printed.getvalue())
            raise UserError(f"{_explained(verb, arguments, problem)} (see {program} --help)") from None
        raise


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """Let a terminal count as at least `NARROWEST` columns wide while the block runs."""
    if shutil.get_terminal_size().columns >= NARROWEST:
        yield
        return
    given = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(NARROWEST)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if given is not None:
            os.environ["COLUMNS"] = given


def _with_home(word: str) -> str:
    """A word with the home folder in place of a leading ~, which shells replace in `--output ~/x` but not in `--output=~/x`."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + equals + (os.path.expanduser(value) if value == "~" or value.startswith("~/") else value)


def _check_known(verb: Verb, word: str, program: str) -> None:
    """Refuse a flag that the command does not have, and suggest the most similar one."""
    typed = word.partition("=")[0]
    if not typed.startswith("--") or typed == "--help":
        return
    fields, name = _fields(verb), typed[2:].replace("-", "_")
    known = [field for field, (_, item) in fields.items() if not item.metadata["positional"]]
    if {name, name.removeprefix("no_")} & set(known):
        return
    problem = ""
    if name in fields:
        problem = f"; {name.upper()} is given without a flag"
    elif near := difflib.get_close_matches(name, known, n=1):
        problem = f"; did you mean {_hyphenated(f'--{near[0]}') if '-' in typed[2:] else f'--{near[0]}'}?"
    raise UserError(f"unknown flag {_shortened(typed)}{problem} (see {program} --help)")


def _check_lists(verb: Verb, arguments: Sequence[str]) -> None:
    """Refuse a list that is given by several flags, of which the last alone would count."""
    flags = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    given = collections.Counter(flag[2:].replace("-", "_") for flag in flags)
    for name, (owner, item) in _fields(verb).items():
        if given[name] > 1 and typing.get_args(type_hints(owner)[item.name])[1:] == (...,):
            flag = as_typed(f"--{name}", arguments)
            raise UserError(f"{flag} is given {given[name]} times; allowed: once, followed by all its values")


def as_typed(flag: str, arguments: Sequence[str]) -> str:
    """A flag with hyphens in place of underscores if the command line spells it so.

    >>> as_typed("--num_steps", ["--num-steps", "0"]), as_typed("--num_steps", [])
    ('--num-steps', '--num_steps')
    """
    hyphenated = _hyphenated(flag)
    return hyphenated if any(word.partition("=")[0] == hyphenated for word in arguments) else flag


def _hyphenated(flag: str) -> str:
    return flag.replace("_", "-")


def _fields(verb: Verb) -> dict[str, tuple[type, Field]]:
    """The class and field behind each flag."""
    classes: list[type] = [Verbosity, *([verb.own_flags] if verb.own_flags else [])]
    own = {item.name: (owner, item) for owner in classes for item in dataclasses.fields(owner)}
    shared = {}
    for config, attribute, flag in verb.fields():
        owner = type_hints(Settings)[config]
        shared[flag] = (owner, next(item for item in dataclasses.fields(owner) if item.name == attribute))
    return own | shared


def _explained(verb: Verb, arguments: Sequence[str], problem: str) -> str:
    """tyro's description of a problem as one of our messages: the flag, its value and what is allowed."""
    fields = _fields(verb)
    named = re.search(r"--(\w+)", problem)
    if named and named[1] in fields:
        value, allowed = _typed(named[0], arguments), allowed_in(*fields[named[1]])
        flag = as_typed(named[0], arguments)
        return f"{flag} {f'is {_shortened(value)}' if value else 'has no value'}; allowed: {allowed}"
    if (stray := re.fullmatch(r"Unrecognized options: (.*)", problem)) is not None:
        word = stray[1].split(", ")[0]
        switch = next((text for text in arguments if text.startswith("--") and text.endswith(f"={word}")), "")
        if switch:
            return f"{switch} is given a value; allowed: {switch.partition('=')[0]} alone"
        return f"unexpected {_shortened(word)!r}; allowed: flags, each with its value"
    missing = [name for name, (_, item) in fields.items() if item.metadata.get("positional")]
    if problem.startswith("Missing from") and missing:
        allowed = fields[missing[0]][1].metadata["help"].rstrip(".")
        return f"{missing[0].upper()} is missing; allowed: {allowed[0].lower()}{allowed[1:]}"
    return problem


def _shortened(text: str) -> str:
    """A text that was typed, with its beginning alone if it is long."""
    return text if len(text) <= MOST_SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def _typed(flag: str, arguments: Sequence[str]) -> str:
    """The value of a flag as it was typed."""
    words: list[str] = []
    for word in arguments:
        name, *value = word.split("=", 1) if word.startswith("--") else [word]
        words += [name.replace("-", "_").replace("__", "--", 1) if word.startswith("--") else name, *value]
    after = words[len(words) - words[::-1].index(flag) :] if flag in words else []
    return " ".join(itertools.takewhile(lambda word: not word.startswith("--"), after))


def _unframed(framed: str) -> str:
    """The problem that tyro's framed message describes: the text between its title and the rule above its advice."""
    lines = [line.strip("│ ") for line in framed.splitlines()[1:]]
    # On a terminal without Unicode, a rule of dashes follows the title.
    body = itertools.dropwhile(lambda line: line.startswith("--") and not line.strip("-"), lines)
    return " ".join(itertools.takewhile(lambda line: line.strip("─-"), body))


def verbosity(parsed: Any) -> Verbosity:
    """Which messages are shown."""
    return _instance(Verbosity, parsed)


def own_flags(verb: Verb, parsed: Any) -> Any:
    """The flags that belong to this command alone, checked; None for a command without such flags."""
    return _instance(verb.own_flags, parsed) if verb.own_flags else None


def _instance(owner: type[T], parsed: Any) -> T:
    """An instance of a class of flags, which checks their values."""
    names = [item.name for item in dataclasses.fields(owner)]  # type: ignore[arg-type]
    return owner(**{name: getattr(parsed, name) for name in names})


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
    """A dataclass with one field for each flag."""
    fields: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(verb.own_flags) if verb.own_flags else ():
        fields.append(_flag(item.name, typing.cast(type, verb.own_flags), item.name, item.default))
    for config, attribute, flag in verb.fields():
        instance = getattr(settings, config)
        default = verb.defaults.get(attribute, getattr(instance, attribute))
        fields.append(_flag(flag, type(instance), attribute, default))
    fields += [_flag(item.name, Verbosity, item.name, item.default) for item in dataclasses.fields(Verbosity)]
    return dataclasses.make_dataclass("Flags", fields, kw_only=True)


def _flag(flag: str, owner: type, attribute: str, default: Any) -> tuple[str, Any, Any]:
    import tyro

    item = next(item for item in dataclasses.fields(owner) if item.name == attribute)
    alias = item.metadata["alias"]
    positional, omissible = item.metadata["positional"], isinstance(default, tuple)
    metavar = None if not positional else f"[{flag.upper()}]" if omissible else flag.upper()
    argument = tyro.conf.arg(help=item.metadata["help"], aliases=[alias] if alias else None, metavar=metavar)
    hint: Any = Annotated[type_hints(owner)[attribute], argument]
    if isinstance(default, bool) and (alias or flag.startswith("no_")):
        hint = Annotated[hint, tyro.conf.FlagCreatePairsOff]
    if positional:
        # Only a list may be left out.
        omitted = dataclasses.field(default=default) if omissible else dataclasses.field()
        return flag, Annotated[hint, tyro.conf.Positional], omitted
    return flag, hint, dataclasses.field(default=default)
