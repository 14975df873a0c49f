"""What can be done about a recording that is there: most can be gone on with, that of a pipeline's call cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of_unfinished(attributes: Mapping[str, Any]) -> str:
    """How a recording with these attributes comes to its end."""
    if pipeline := attributes.get("pipeline"):
        return f"record the {pipeline} call anew (overwrite=True), since it cannot be gone on with"
    return "go on with --resume"


def of_taken(attributes: Mapping[str, Any]) -> str:
    """How to record where one with these attributes lies."""
    replace = "replace it with --overwrite"
    return replace if attributes.get("pipeline") else f"go on with it by --resume, {replace}"
