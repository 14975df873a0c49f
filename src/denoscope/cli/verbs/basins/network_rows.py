"""The line on how much of the network's work a map took."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger(__name__)


def log_rows(rows: int | None, cells: int, lanes: int) -> None:
    """Log the rows that went through the network, and their share of those that computing every cell takes.

    Args:
        rows: None for a map that an earlier version began.
    """
    if rows is not None:
        every = -(-cells // lanes) * lanes
        LOGGER.info(
            "%d rows went through the network, %.2f %% of those of every cell", rows, 100 * rows / every
        )
