"""The `denoscope` command and the scripts beside it."""

from denoscope.cli.command import main, script

__all__ = ["main", "script"]
