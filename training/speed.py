"""How many rows of a network a second this machine computes."""

from __future__ import annotations

import time

import torch

from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser

LANES = (8, 64)
REPEATS, ROWS = 10, 1024


@torch.no_grad()
def rows_per_second(denoiser: Denoiser, condition: Condition = NOTHING) -> dict[str, float]:
    """Rows a second by the rows of a call, the fastest of ten runs of 1,024 rows, and the number of threads."""
    timestep = torch.tensor(500)
    found: dict[str, float] = {}
    for lanes in LANES:
        x = torch.randn(lanes, *denoiser.shape, generator=torch.Generator().manual_seed(0))
        inputs, calls = condition.of([0]).rows(lanes, (), x), ROWS // lanes
        with denoiser.running():
            seconds = min(_seconds(denoiser, x, timestep, inputs, calls) for _ in range(REPEATS))
        found[str(lanes)] = round(calls * lanes / seconds)
    found["threads"] = torch.get_num_threads()
    return found


def _seconds(
    denoiser: Denoiser, x: torch.Tensor, timestep: torch.Tensor, inputs: dict[str, torch.Tensor], calls: int
) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        denoiser.predict(x, timestep, inputs)
    return time.perf_counter() - start
