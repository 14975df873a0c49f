"""Which cells of a map are computed: all, or those around boundaries."""

from __future__ import annotations

from typing import Any

from denoscope.basins.blocks import block_of
from denoscope.config import ADAPTIVE_FROM, Method
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_integer

ARGUMENTS = {"audited": "audit", "rounding_checks": "checks"}
"""The arguments behind entries of a checkpoint's identity that have other names."""


def is_adaptive(method: Method, shape: tuple[int, int]) -> bool:
    """Whether the method fills cells of a grid [ny, nx]."""
    return method == "adaptive" or (method == "auto" and min(shape) >= ADAPTIVE_FROM)


def parse_audit(audit: Any, method: Method, *, adaptive: bool, default: int) -> int:
    """The number of filled cells to check.

    Raises: UserError if it is not one, or is given although no cells are filled.
    """
    if audit is None:
        return default
    if not adaptive:
        small = f" on fewer than {ADAPTIVE_FROM} cells along an axis" if method == "auto" else ""
        raise UserError(
            f"{spelled('audit')} is {describe(audit)}, but {spelled('method', method)}{small} fills no cells to check; leave it out, or "
            f"choose {spelled('method', 'adaptive')}"
        )
    return parse_integer(audit, "audit")


def adaptive_options(shape: tuple[int, int], audited: int, block: int | None = None) -> dict[str, Any]:
    """What determines an adaptive map beside its labels; `block` is the side of its first blocks."""
    return {"method": "adaptive", "block": block or block_of(shape), "audited": audited}
