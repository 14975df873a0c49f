"""Numbers of bytes in readable units."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """A number of bytes in the largest binary unit in which it is at least 1.

    >>> format_bytes(512), format_bytes(3 * 2**20)
    ('512 B', '3.0 MiB')
    """
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
