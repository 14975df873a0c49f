"""A command: a function, and the flags that it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from denoscope.config import Settings
from denoscope.foundation.checked import Checked

ARGUMENTS = {"steps": "num_steps", "out": "output", "noise_seed": "seed", "x": "inputs"}
"""Arguments of functions whose flag has another name."""
ADVISED = ("resume", "overwrite")
"""Flags that a message may advise although this command lacks them, because they are for another command."""


@dataclass(frozen=True)
class Verb:
    """One command.

    Args:
        run: does the work, given the settings and an instance of `own_flags` (None without one).
        help: one sentence.
        flags: for each configuration (a field of Settings) the fields that become flags, separated by spaces;
            "field:flag" gives a flag another name than its field.
        own_flags: a dataclass of the flags that belong to this command alone.
        defaults: the defaults of fields for which this command has other ones than the configuration.
        writes: fields that name outputs of the command, which need not exist.
        arguments: further arguments whose flag has another name, in addition to `ARGUMENTS`.
        output_takes_url: whether `system.output` may be a URL of object storage.
        script_overwrites: whether the script of the command replaces its earlier results without being asked to. The
            scripts always did, since their outputs can be made again from their inputs.
    """

    run: Callable[[Settings, Any], None]
    help: str
    flags: Mapping[str, str]
    own_flags: type[OwnFlags] | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    output_takes_url: bool = False
    script_overwrites: bool = False

    def fields(self) -> list[tuple[str, str, str]]:
        """(configuration, field, flag) of every flag that sets a configuration's field."""
        triples = []
        for config, names in self.flags.items():
            for name in names.split():
                attribute, _, flag = name.partition(":")
                triples.append((config, attribute, flag or attribute))
        return triples

    def spelling(self) -> dict[str, str]:
        """The flag of each argument, field and option, as messages name it."""
        flags = {name: f"--{name}" for name in ADVISED}
        flags |= {flag: f"--{flag}" for _, _, flag in self.fields()}
        flags |= {attribute: f"--{flag}" for _, attribute, flag in self.fields()}
        for item in dataclasses.fields(self.own_flags) if self.own_flags else ():
            flags[item.name] = item.name.upper() if item.metadata["positional"] else f"--{item.name}"
        renamed = {**ARGUMENTS, **self.arguments}
        return flags | {argument: flags[flag] for argument, flag in renamed.items() if flag in flags}


@dataclass(frozen=True)
class OwnFlags(Checked):
    """Base of the flags that belong to one command alone."""
