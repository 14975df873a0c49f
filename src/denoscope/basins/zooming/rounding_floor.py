"""Which labels rounding decides: they change with the number of lanes or threads, or with the last bit of the noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from denoscope.basins.labelling import Labelling
from denoscope.config import LANES
from denoscope.foundation.threads import threads_set_to
from denoscope.sampling.settings import Loop

REPEATS = 3
"""How often each noise is denoised again."""


def changes_with_rounding(
    labelling: Labelling, x_T: torch.Tensor, label: np.ndarray, draws: np.random.Generator
) -> np.ndarray:
    """Whether the label of each noise [n] is another one when it is denoised in other lanes, by other threads, or rounded.

    Another number of rows, half as many where that is allowed, goes through the network at a time; one thread computes instead of several, or
    two instead of one; each number of x_T moves to the next one of its precision, up or down at random.
    """
    threads = torch.get_num_threads()
    regrouped = dataclasses.replace(labelling, loop=_regrouped(labelling.loop))
    found = [regrouped(x_T)["label"], labelling(_rounded(x_T, draws))["label"]]
    with threads_set_to(1 if threads > 1 else 2):
        found.append(labelling(x_T)["label"])
    return np.any([other != label for other in found], axis=0)


def rows_of_checks(loop: Loop, count: int) -> int:
    """How many rows go through the network to denoise so many noises again, with the padding of each call."""
    return (REPEATS - 1) * loop.rows_of_whole_calls(count) + _regrouped(loop).rows_of_whole_calls(count)


def _regrouped(loop: Loop) -> Loop:
    """The loop with another number of lanes."""
    return dataclasses.replace(loop, lanes=_others(loop.lanes))


def _others(lanes: int) -> int:
    """Another allowed number of lanes: half, where that is one."""
    allowed = LANES[1]
    return next(count for count in (lanes // 2, lanes - 4, 2) if count != lanes and allowed(count))


def _rounded(x: torch.Tensor, draws: np.random.Generator) -> torch.Tensor:
    """Each number replaced by the next larger or smaller one."""
    up = torch.from_numpy(draws.integers(0, 2, x.shape).astype(bool))
    towards = torch.where(up, torch.inf, -torch.inf).to(x.dtype)
    return torch.nextafter(x, towards)
