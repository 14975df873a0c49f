"""Which labels rounding decides: they change with the number of lanes or threads, or with the last bit of the noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from denoscope.basins.labelling import Labelling
from denoscope.foundation.threads import threads_set_to

REPEATS = 3
"""How often each noise is denoised again."""


def changes_with_rounding(
    labelling: Labelling, x_T: torch.Tensor, label: np.ndarray, draws: np.random.Generator
) -> np.ndarray:
    """Whether the label of each noise [n] is another one when it is denoised in other lanes, by other threads, or rounded.

    Half as many rows (or two instead of one) go through the network at a time; one thread computes instead of several, or
    two instead of one; each number of x_T moves to the next one of its precision, up or down at random.
    """
    lanes, threads = labelling.loop.lanes, torch.get_num_threads()
    halved = dataclasses.replace(labelling, loop=dataclasses.replace(labelling.loop, lanes=lanes // 2 or 2))
    found = [halved(x_T)["label"], labelling(_rounded(x_T, draws))["label"]]
    with threads_set_to(1 if threads > 1 else 2):
        found.append(labelling(x_T)["label"])
    return np.any([other != label for other in found], axis=0)


def _rounded(x: torch.Tensor, draws: np.random.Generator) -> torch.Tensor:
    """Each number replaced by the next larger or smaller one."""
    up = torch.from_numpy(draws.integers(0, 2, x.shape).astype(bool))
    towards = torch.where(up, torch.inf, -torch.inf).to(x.dtype)
    return torch.nextafter(x, towards)
