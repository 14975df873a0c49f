"""The noise floor: how far rounding alone moves a trajectory and the states of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from denoscope import noise
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, calls_checked
from denoscope.foundation.dtypes import in_double, name_of
from denoscope.hooks.taps import tapped
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.recording.arguments import as_tuple
from denoscope.recording.verify.same_bits import OTHER_LANES
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop

X = "x"
"""The name of the states x_t among those of layers."""
Gaps = dict[str, dict[str, list[float]]]
"""For x and each layer, the `largest` difference of one number and of one sample (`l2`) in every step."""


@dataclass(frozen=True)
class NoiseFloor:
    """How far rounding alone moves a trajectory: a smaller separation means nothing.

    `between_lane_counts` and `between_precisions` are the largest absolute difference of one number of x_t in any
    step, the latter to float64. It is None if nothing more precise can be compared: in float64 itself, and under a
    stochastic scheduler, which draws other numbers in double precision. `per_state` gives the larger of the two from
    x_T to x_0, and `per_state_l2` the L2 norm of the largest difference of one sample there; `layers` gives the same
    two for every step of each layer. Measured on `samples` random noises with `lanes` rows in each network call.
    """

    between_lane_counts: float
    between_precisions: float | None
    per_state: list[float]
    per_state_l2: list[float]
    layers: Gaps
    dtype: str
    lanes: int
    samples: int

    @property
    def value(self) -> float:
        """The largest absolute difference of one number of x_t."""
        return max(self.between_lane_counts, self.between_precisions or 0.0)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"value": self.value}

    def __str__(self) -> str:
        precisions = "not measured" if self.between_precisions is None else f"{self.between_precisions:.3g}"
        lines = [
            f"largest difference between lane counts   {self.between_lane_counts:.3g}",
            f"largest difference {self.dtype + ' − float64':<22}{precisions}",
        ]
        for name, gaps in self.layers.items():
            lines.append(f"in layer {name:<32}{max(gaps['largest']):.3g}")
        return "\n".join(lines)


@accepts_num_steps
@calls_checked
def precision(
    denoiser: Denoiser,
    *,
    steps: int = InferenceConfig.num_steps,
    layers: str | Sequence[str] = (),
    seed: int = SystemConfig.seed,
    samples: int = 8,
    condition: Condition = NOTHING,
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    fast: bool = InferenceConfig.fast,
) -> NoiseFloor:
    """The noise floor: the largest difference between lane counts, and to double precision.

    Measured on random noises with common draws, against calls of `lanes` rows.

    Args:
        layers: queries of layers whose floor is measured too.
        samples: the number of noises; all of their states are held in memory.
        condition: further inputs of the network, one row for all samples.
    """
    options = InferenceConfig.from_arguments(
        num_steps=steps,
        layers=as_tuple(layers),
        lanes=lanes,
        sampler_dtype=sampler_dtype,
        tf32=tf32,
        fast=fast,
    )
    x_T = noise.random(samples, denoiser.shape, seed=seed).batch(range(samples))

    def run(model: Denoiser, chosen: InferenceConfig) -> list[dict[str, np.ndarray]]:
        return list(_states(model, x_T, chosen, seed, condition))

    reference = run(denoiser, options)
    others = [replace(options, lanes=count) for count in OTHER_LANES if count != lanes]
    lane_gaps = _largest([_gaps(run(denoiser, other), reference) for other in others])
    precision_gaps = None
    if not denoiser.is_stochastic and denoiser.dtype != torch.float64:
        double = replace(denoiser, run_dtype=torch.float64)
        exact = replace(options, fast=False, sampler_dtype="auto")
        precision_gaps = _gaps(run(double, exact), reference)
    both = _largest([gaps for gaps in (lane_gaps, precision_gaps) if gaps is not None])
    return NoiseFloor(
        between_lane_counts=max(lane_gaps[X]["largest"]),
        between_precisions=max(precision_gaps[X]["largest"]) if precision_gaps else None,
        per_state=[0.0, *both[X]["largest"]],
        per_state_l2=[0.0, *both[X]["l2"]],
        layers={name: gaps for name, gaps in both.items() if name != X},
        dtype=name_of(denoiser.dtype),
        lanes=lanes,
        samples=samples,
    )


def _states(
    denoiser: Denoiser, x_T: torch.Tensor, options: InferenceConfig, seed: int, condition: Condition
) -> Iterator[dict[str, np.ndarray]]:
    """x and the states of the layers after each step, [n, …]."""
    layers = denoiser.chosen_layers(options.layers, condition.inputs) if options.layers else []
    with (
        denoiser.running(),
        torch.inference_mode(),
        tapped(denoiser.network, denoiser.call, layers, fast=options.fast) as network,
    ):
        names = [str(index) for index in range(len(x_T))]
        for step in steps_of(denoiser, network, x_T, Loop.of(options, seed), names, condition):
            states = {X: step.x_after, **step.states}
            yield {name: in_double(state).cpu().numpy() for name, state in states.items()}


def _gaps(states: Sequence[Mapping[str, np.ndarray]], reference: Sequence[Mapping[str, np.ndarray]]) -> Gaps:
    """The differences of two runs in every step."""
    gaps: Gaps = {name: {"largest": [], "l2": []} for name in reference[0]}
    for result, expected in zip(states, reference, strict=True):
        for name, layer_gaps in gaps.items():
            with np.errstate(invalid="ignore"):
                # States that a layer did not compute are NaN in both, and those that overflowed Inf in both.
                difference = np.nan_to_num(result[name] - expected[name], nan=0.0)
            layer_gaps["largest"].append(float(np.abs(difference).max()))
            layer_gaps["l2"].append(float(np.linalg.norm(difference, axis=1).max()))
    return gaps


def _largest(measured: Sequence[Gaps]) -> Gaps:
    """The largest of several measurements, step by step."""
    return {
        name: {
            kind: np.max([gaps[name][kind] for gaps in measured], axis=0).tolist()
            for kind in measured[0][name]
        }
        for name in measured[0]
    }
