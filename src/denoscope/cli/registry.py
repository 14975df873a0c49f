"""The list of all commands. Each is imported when it is used, from the module of its name in `verbs`."""

from __future__ import annotations

import importlib

from denoscope.cli.verb import Verb

VERBS = (
    "noise random",
    "noise perturbed",
    "noise plane",
    "record",
    "status",
    "patch",
    "basins map",
    "basins zoom",
    "dynamics spectrum",
    "dynamics full_spectrum",
    "dynamics local_expansion",
    "dynamics growth",
    "dynamics divergence",
    "dynamics sweep",
    "dynamics lyapunov",
    "dynamics orbit",
    "dynamics orbit_diagram",
    "dynamics basins",
    "dynamics uncertainty",
    "dynamics verdict",
    "dynamics commitment",
    "dynamics u_turn",
    "dynamics similarity",
    "dynamics distances",
    "dynamics geometry",
    "layers",
    "image",
    "plot",
    "classify",
    "compare",
    "verify determinism",
    "verify precision",
    "verify store",
    "cluster check",
    "explore",
    "report",
    "selfcheck",
    "pipeline",
)
"""The names of the commands, in the order in which the help lists them."""


def verb(name: str) -> Verb:
    """The command of a name in `VERBS`."""
    command = importlib.import_module(f"denoscope.cli.verbs.{name.replace(' ', '.')}").VERB
    assert isinstance(command, Verb)
    return command


def groups() -> list[str]:
    """The first words that several commands share, such as `dynamics`."""
    return list(dict.fromkeys(name.split()[0] for name in VERBS if " " in name))


def members(group: str) -> list[str]:
    """The names of the commands in a group, such as `dynamics`; none if there is no such group."""
    return [name for name in VERBS if name.startswith(f"{group} ")]
