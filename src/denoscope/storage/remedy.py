"""What can be done about a recording that is there: most can be gone on with, that of a pipeline's call cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from denoscope.foundation.errors import UserError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell in one line that the recording at `path` is damaged, which makes readers fail in any way."""
    try:
        yield
    except (MemoryError, IndexError):  # of the machine, and of an index that was asked for
        raise
    except Exception as error:
        raise UserError(
            f"{path} cannot be read; `denoscope verify store {path}` names what is damaged"
        ) from error


def of_unfinished(attributes: Mapping[str, Any]) -> str:
    """How a recording with these attributes comes to its end."""
    if pipeline := attributes.get("pipeline"):
        return f"record the {pipeline} call anew (overwrite=True), since it cannot be gone on with"
    return "go on with --resume"


def of_taken(attributes: Mapping[str, Any]) -> str:
    """How to record where one with these attributes lies."""
    replace = "replace it with --overwrite"
    return replace if attributes.get("pipeline") else f"go on with it by --resume, {replace}"
