"""What a command is: a function, and the flags that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from denoscope.config import Checked, Settings


@dataclass(frozen=True)
class Verb:
    """One command.

    Args:
        run: does the work, given the settings and an instance of `own` (None without one).
        help: one sentence.
        flags: for each configuration (a field of Settings) the fields that become flags, separated by spaces;
            "field:flag" gives a flag another name than its field.
        own: a dataclass of the flags that belong to this command alone.
    """

    run: Callable[[Settings, Any], None]
    help: str | None
    flags: dict[str, str]
    own: type | None = None

    def fields(self) -> list[tuple[str, str, str]]:
        """(configuration, field, flag) of every flag that sets a configuration's field."""
        triples = []
        for config, names in self.flags.items():
            for name in names.split():
                attribute, _, flag = name.partition(":")
                triples.append((config, attribute, flag or attribute))
        return triples


class OwnFlags(Checked):
    """Base of the flags that belong to one command alone, checked as the configurations are."""

    @classmethod
    def _told(cls, name: str) -> str:
        return f"--{name}"
