"""The `denoscope` command, and the scripts, each of which runs one of its commands."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

from denoscope.cli import flags, messages, preflight, registry, settings_file
from denoscope.cli.overview import overview
from denoscope.config import Settings, SystemConfig
from denoscope.foundation.errors import UnfinishedError, UserError
from denoscope.foundation.spelling import as_flags
from denoscope.foundation.threads import threads_set_to
from denoscope.foundation.writing import claims

HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `denoscope` with these arguments, by default those of the process (`sys.argv`)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    while words[1:] and words[0] in messages.FLAGS:
        words = [*words[1:], words[0]]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in (*HELP, *messages.FLAGS):
        print(overview())
    elif words[0] == "--version":
        import importlib.metadata

        print(importlib.metadata.version("denoscope"))
    elif name := _command_name(words):
        run(name, words[len(name.split()) :], Settings(), f"denoscope {name}")
    elif (group := registry.members(words[0])) and (not words[1:] or words[1] in HELP):
        print(overview(group, words[0]))
    else:
        typed = " ".join(word for word in words[:2] if word not in HELP)
        near = difflib.get_close_matches(typed, registry.groups(), n=1, cutoff=0.8)
        near = near or [name for name in registry.VERBS if typed in name.split()[1:]]
        near = near or difflib.get_close_matches(typed, registry.VERBS, n=3) or group
        suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
        _fail(f"unknown command {typed!r}{suggestion} (see denoscope --help)")


def _command_name(words: Sequence[str]) -> str:
    """The name of the command at the start of the words; empty if there is none."""
    for length in (2, 1):
        if (name := " ".join(words[:length]).replace("-", "_")) in registry.VERBS:
            return name
    return ""


def script(name: str, path: str) -> None:
    """Run a command as the script at `path` does: its defaults come from the `config.py` beside the script."""
    try:
        settings = settings_file.read(Path(path).resolve().with_name("config.py"))
    except UserError as error:
        _fail(str(error))
    if registry.verb(name).script_overwrites:
        inference = dataclasses.replace(settings.inference, overwrite=True, resume=False)
        settings = dataclasses.replace(settings, inference=inference)
    run(name, sys.argv[1:], settings, Path(path).name)


@as_flags({"out": "output", "steps": "num_steps"})
def run(name: str, arguments: Sequence[str], settings: Settings, program: str) -> None:
    """Parse the flags over `settings` and run a command; a user's mistake ends in one line and exit code 2."""
    # A notebook exports its own backend, without which matplotlib may not even be imported; commands draw into files.
    os.environ["MPLBACKEND"] = "agg"
    verb = registry.verb(name)
    try:
        parsed = flags.parse(verb, arguments, settings, program)
        spelling = {name: flags.as_typed(flag, arguments) for name, flag in verb.spelling().items()}
        with as_flags(spelling):
            own_flags, settings = flags.own_flags(verb, parsed), flags.merged(verb, settings, parsed)
            preflight.check(verb, settings, own_flags)
            with (
                messages.shown(flags.verbosity(parsed)),
                _threads(settings.system),
                claims.lasting(),
            ):
                verb.run(settings, own_flags)
    except UserError as error:
        _fail(str(error))
    except UnfinishedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(3) from None


def _threads(system: SystemConfig) -> contextlib.AbstractContextManager[object]:
    """Compute with the chosen number of threads while the block runs.

    By default that is the number that the libraries choose, or one for workers: it decides bits, and must not depend on
    how many of them there are.
    """
    count = system.threads or (1 if system.cluster else None)
    return contextlib.nullcontext() if count is None else threads_set_to(count)


def _fail(message: str) -> typing.NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
