"""What `denoscope --help` prints: the commands, all of them or those of a group."""

from __future__ import annotations

from collections.abc import Sequence

from denoscope.cli import registry

ABOUT = "Record hidden states and trajectories of diffusion models, and measure the denoising map."


def overview(names: Sequence[str] = registry.VERBS, group: str = "") -> str:
    """One line for each command.

    Args:
        group: the first word of their names, if they share one.
    """
    width = max(map(len, names)) + 2
    lines = [f"  {name:<{width}}{registry.verb(name).help}" for name in names]
    program = f"denoscope {group}".rstrip()
    usage = f"usage: {program} COMMAND [FLAGS]   ({program} COMMAND --help lists the flags)"
    return "\n".join([usage, "", *([] if group else [ABOUT, ""]), *lines])
