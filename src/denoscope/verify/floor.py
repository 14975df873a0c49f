"""The noise floor: what rounding alone does to a trajectory."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from denoscope import noise
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser
from denoscope.sampling import denoise
from denoscope.verify.bits import OTHER_LANES


@dataclass(frozen=True)
class NoiseFloor:
    """How far rounding alone moves a trajectory: below this, a separation means nothing.

    Each value is the largest absolute difference of one number. `per_state` counts from x_T to x_0.
    """

    between_lane_counts: float
    between_precisions: float
    per_state: list[float]
    samples: int

    @property
    def value(self) -> float:
        return max(self.between_lane_counts, self.between_precisions)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"value": self.value}


def precision(
    denoiser: Denoiser, *, steps: int, seed: int = SystemConfig.seed, samples: int = 8
) -> NoiseFloor:
    """The noise floor: the largest difference between lane counts, and between float32 and float64.

    Measured on random noises with common draws. A stochastic scheduler draws other numbers in double
    precision, so that there only the lane counts are compared.
    """
    x_T = noise.random(samples, denoiser.shape, seed=seed).batch(range(samples))

    def run(model: Denoiser, lanes: int) -> np.ndarray:
        states = [
            step.x_after.double().cpu().numpy() for step in denoise(model, x_T, steps=steps, lanes=lanes)
        ]
        return np.stack(states)

    reference = run(denoiser, InferenceConfig.lanes)
    others = [lanes for lanes in OTHER_LANES if lanes != InferenceConfig.lanes]
    lane_gaps = np.stack([np.abs(run(denoiser, lanes) - reference) for lanes in others]).max(
        axis=(0, 2, 3, 4, 5)
    )
    if denoiser.is_stochastic:
        precision_gaps = np.zeros_like(lane_gaps)
    else:
        network = copy.deepcopy(denoiser.network).double()
        double = replace(denoiser, network=network, plain_dtype=torch.float64)
        precision_gaps = np.abs(run(double, InferenceConfig.lanes) - reference).max(axis=(1, 2, 3, 4))
    return NoiseFloor(
        between_lane_counts=float(lane_gaps.max()),
        between_precisions=float(precision_gaps.max()),
        per_state=[0.0, *np.maximum(lane_gaps, precision_gaps).tolist()],
        samples=samples,
    )
