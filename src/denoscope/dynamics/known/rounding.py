"""Systems on which rounding can spoil a measure, such as float32, rounding schedulers, non-normal maps and cycles.

Each measure must either give the known value, or warn or refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from denoscope import dynamics
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.known.check import Check
from denoscope.dynamics.sensitivity.spectrum import Spectrum
from denoscope.foundation.errors import UserError
from denoscope.models.denoiser import Denoiser

SHALLOW, DEEP = (0.0, -4.0, -8.0), (0.0, -4.0, -8.0, -16.0, -20.0, -24.0)
"""Exponents above and beyond the rounding errors of float32."""
WARNED, SILENT, REFUSED = "warned", "silent", "refused"


def checks() -> list[Check]:
    return [*_float32(), *_rounding_scheduler(), *_not_normal(), *_lost_directions(), *_cycles(), *_rests()]


def _float32() -> list[Check]:
    """A network in float32, whose rounding errors lie 14 below the largest exponent."""
    shallow = _spectrum(models.linear(_matrix(SHALLOW), dtype="float32"), 3)
    deep = _spectrum(models.linear(_matrix(DEEP), dtype="float32"), 6)
    return [
        Check("linear map in float32: exponent 8 below the first", -8.0, float(shallow.exponents[2]), 1e-3),
        Check("linear map in float32: that exponent", SILENT, _outcome(shallow.warnings)),
        Check("linear map in float32: exponents 16 to 24 below", WARNED, _outcome(deep.warnings)),
    ]


def _rounding_scheduler() -> list[Check]:
    """A network in float64 under a scheduler that computes in float32."""
    shallow = _spectrum(models.linear(_matrix(SHALLOW), flow=True), 3)
    denoiser = models.linear(_matrix(DEEP), flow=True)
    deep, every = _spectrum(denoiser, 6), dynamics.full_spectrum(denoiser, _zero(denoiser), steps=1)
    return [
        Check(
            "FlowMatchEuler in float64: exponent 8 below the first", -8.0, float(shallow.exponents[2]), 1e-3
        ),
        Check("FlowMatchEuler in float64: exponents 16 to 24 below", WARNED, _outcome(deep.warnings)),
        Check("FlowMatchEuler in float64: ln|det|", sum(DEEP), _nan_if_none(deep.log_det), 1e-5),
        Check("FlowMatchEuler in float64: all exponents, the last", -24.0, float(every.exponents[-1]), 1e-5),
    ]


def _not_normal() -> list[Check]:
    """Jordan blocks, with singular values far from the moduli of their eigenvalue."""
    block = np.eye(30) + 5 * np.eye(30, k=1)
    shear = torch.tensor([[0.9, 1.0], [0.0, 0.9]], dtype=torch.float64)
    result = dynamics.lyapunov(lambda x: shear @ x, torch.ones(2, dtype=torch.float64), iterations=1000)
    exact, prefix = math.log(0.9), "Jordan block of 0.9 iterated: exponent"
    return [
        Check(
            "Jordan block of 1 with 5 beside it, 30 numbers: ln|det|",
            0.0,
            _nan_if_none(_spectrum(models.linear(block), 30).log_det),
            1e-9,
        ),
        *(
            Check(f"{prefix} {k + 1}, distance from its interval", 0.0, _outside(exact, result.intervals[k]))
            for k in range(2)
        ),
        Check(f"{prefix}s, which converge slowly", WARNED, _outcome(result.warnings)),
    ]


def _lost_directions() -> list[Check]:
    """A map of rank 2 on six numbers."""
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 4)))[0]
    flat = math.e * np.outer(vectors[:, 0], vectors[:, 1]) + np.outer(vectors[:, 2], vectors[:, 3])
    result = _spectrum(models.linear(flat), 3)
    return [
        Check("map of rank 2: first exponent", 1.0, float(result.exponents[0]), 1e-9),
        Check("map of rank 2: second exponent", 0.0, float(result.exponents[1]), 1e-9),
        Check("map of rank 2: third exponent", WARNED, _outcome(result.warnings)),
    ]


def _cycles() -> list[Check]:
    """A cycle of ten states that repeat up to rounding."""
    phase = 2 * np.pi * np.arange(1000) / 10
    cycle = np.stack([np.cos(phase), np.sin(phase)], 1)
    return [
        Check(
            "cycle of 10 up to rounding: determinism",
            1.0,
            _nan_if_none(dynamics.recurrence(cycle).determinism),
        ),
        Check(
            "cycle of 10 up to rounding: correlation dimension",
            REFUSED,
            _value_or_refusal(dynamics.correlation_dimension, cycle),
        ),
        Check("cycle of 10 up to rounding: period", 10, _nan_if_none(dynamics.periodicity(cycle).period)),
    ]


def _rests() -> list[Check]:
    """Orbits that rest where a typical orbit does not."""
    half = torch.tensor([0.5], dtype=torch.float64)
    pinned = dynamics.lyapunov(models.logistic(4.0), half, iterations=100)
    starts = torch.tensor([[-0.5], [0.0], [0.5]], dtype=torch.float64)
    settled = dynamics.fixed_points(lambda x: x + 0.1 * (x - x**3), starts, iterations=300)
    return [
        Check(
            "logistic r=4 from 1/2, at rest on 0, which repels", WARNED, _outcome(pinned.warnings, "repels")
        ),
        Check("double well from −1/2, 0, 1/2: attracting points", 2, len(settled.points)),
    ]


def _spectrum(denoiser: Denoiser, k: int) -> Spectrum:
    return dynamics.spectrum(denoiser, _zero(denoiser), k, steps=1)


def _zero(denoiser: Denoiser) -> torch.Tensor:
    return torch.zeros(1, *denoiser.shape)


def _matrix(exponents: Iterable[float]) -> np.ndarray:
    """A matrix whose singular values are the exponentials of these exponents."""
    values, draws = np.exp(np.array(list(exponents))), np.random.default_rng(0)
    left, right = (np.linalg.qr(draws.standard_normal((len(values), len(values))))[0] for _ in range(2))
    return left @ np.diag(values) @ right.T


def _outside(value: float, interval: np.ndarray) -> float:
    """The distance of a value from an interval; 0 inside."""
    low, high = interval
    return max(float(low) - value, value - float(high), 0.0)


def _outcome(warnings: tuple[str, ...], word: str = "") -> str:
    return WARNED if any(word in line for line in warnings) else SILENT


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value


def _value_or_refusal(measure: Callable[[Any], Any], points: Any) -> str:
    try:
        return f"{measure(points).value:.3g}"
    except UserError:
        return REFUSED
