"""The `denoscope` command and the scripts beside it."""

from collections.abc import Sequence

from denoscope.cli.guards import interruption, lack_of_memory, streams

__all__ = ["main", "script"]


@streams.guarded()
@interruption.reported()
@lack_of_memory.reported()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run `denoscope` with these arguments, by default those of the process (`sys.argv`)."""
    # Imported here, so that Ctrl-C during these imports is reported as it is later.
    from denoscope.cli import command

    command.main(arguments)


@streams.guarded()
@interruption.reported()
@lack_of_memory.reported()
def script(name: str, path: str) -> None:
    """Run a command as the script at `path` does: its defaults come from the `config.py` beside the script."""
    from denoscope.cli import command

    command.script(name, path)
