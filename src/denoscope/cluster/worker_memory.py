"""The memory that workers take, as a table."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from denoscope.cluster.connection import planned_workers
from denoscope.cluster.source import Local, parse
from denoscope.foundation import memory
from denoscope.foundation.byte_units import format_bytes


def table(cluster: str, device: torch.device, *, network: int, step: int, samples: int) -> list[str]:
    """One line for each part of a worker's memory, with what all workers take if it is known how many there are.

    The libraries are those of this process, which has loaded the same network.

    Args:
        network: the bytes of the network on a device.
        step: the bytes of one step of so many samples there.

    Raises: UserError if `cluster` names no workers.
    """
    count = planned_workers(cluster, threads=torch.get_num_threads())
    on_host = device.type == "cpu"
    where = "" if on_host else f" on {device}"
    parts = {
        "Python with its libraries": max(0, memory.resident_bytes() - (network if on_host else 0)),
        f"the network{where}": network,
        f"one step of {samples} samples{where}": step,
    }
    if on_host:
        parts["together"] = sum(parts.values())
    rows = [("memory, about", *_heads(count)), *(_row(name, size, count) for name, size in parts.items())]
    lines = _aligned(rows)
    if isinstance(parse(cluster), Local):
        lines[-1] += f"; {format_bytes(memory.free_bytes(torch.device('cpu')))} are free"
    return lines


def _heads(count: int | None) -> list[str]:
    return ["one worker"] if count is None else ["one worker", f"all {count}"]


def _row(name: str, size: int, count: int | None) -> tuple[str, ...]:
    return (
        f"  {name}",
        *(format_bytes(size * workers) for workers in ([1] if count is None else [1, count])),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
