"""The state of a block Krylov iteration as a dataset, and the loop that advances it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.dynamics.sensitivity.block_krylov import (
    SingularTriples,
    Span,
    extend,
    refine,
    singular_triples,
)
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.dynamics.sensitivity.exponents import derivative_precision, log_values, measured_rounding
from denoscope.foundation.checkpoint import IDENTITY
from denoscope.foundation.validation import parse_integer

if TYPE_CHECKING:
    import xarray

REFINED_FROM = 1e-5
"""The relative error by rounding above which singular values are computed from new images."""
LARGEST_LOG = 700.0
"""The largest logarithm whose exponential does not overflow in float64."""


def initial_state(block: torch.Tensor, k: int, identity: dict[str, Any]) -> xarray.Dataset:
    """The dataset before the first iteration: a block of directions [m, C, H, W] and k unknown exponents."""
    import xarray

    empty = torch.zeros(0, *block.shape[1:], dtype=torch.float64)
    return xarray.Dataset(
        {
            **_span_variables(Span(block, empty, empty, empty)),
            "exponents": ("exponent", np.full(k, np.nan)),
            "move": ((), np.array(np.inf)),
            "left_to_come": ((), np.array(np.inf)),
            "iterations": ((), np.array(0)),
        },
        attrs={IDENTITY: identity},
    )


def iterate(
    flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset, *, iterations: int, tolerance: float
) -> Iterator[int]:
    """Extend the span until no exponent is expected to grow by more than the tolerance, or iterations are used up.

    `data` is updated in place; after each iteration the number of all iterations is yielded.
    """
    while not data["left_to_come"] <= tolerance and data["iterations"] < iterations:
        _advance(flow, x_T, data)
        yield int(data["iterations"])


def measure_rounding(flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset) -> None:
    """Measure the relative rounding error of the derivative along the leading direction, as `rounding` in `data`."""
    if "rounding" in data:
        return
    error, value = 0.0, math.exp(min(float(data["exponents"][0]), LARGEST_LOG))
    if value > 0:
        direction, image = (torch.tensor(data[name].to_numpy()[0]) for name in ("right", "left"))
        error = measured_rounding(lambda rows: flow.push(x_T, rows.to(x_T)), direction, value * image)
    data["rounding"] = ((), np.array(error))


def refine_small_values(flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset) -> None:
    """Compute the exponents in `data` from new images, if the largest value's rounding spoils the smallest."""
    largest, smallest = (float(data["exponents"][k]) for k in (0, -1))
    if "refined" in data or math.isinf(largest):
        return
    precision = derivative_precision(float(data["rounding"]), x_T.dtype)
    if precision * math.exp(min(largest - smallest, LARGEST_LOG)) <= REFINED_FROM:
        return
    triples = refine(flow, x_T, torch.tensor(data["right"].to_numpy()))
    data.update({**_triple_variables(triples, data.sizes["exponent"]), "refined": ((), np.array(True))})


def _advance(flow: DenoisingMap, x_T: torch.Tensor, data: xarray.Dataset) -> None:
    """One iteration, in place."""
    k = data.sizes["exponent"]
    span = extend(flow, x_T, Span(*(torch.tensor(data[name].to_numpy()) for name in Span._fields)))
    triples = singular_triples(span)
    parse_integer(k, "k", minimum=1, maximum=span.images[0].numel(), note="the size of the layer's state")
    variables = _triple_variables(triples, k)
    exponents = variables["exponents"][1]
    move, done = _largest_move(data["exponents"].to_numpy(), exponents), int(data["iterations"]) + 1
    # Two moves: a single one may be small because the block has hardly met the leading direction yet.
    by_moves = done / 2 * max(move, float(data["move"]))
    left_to_come = 0.0 if span.exhausted else min(by_moves, max(move, float(triples.residuals[:k].max())))
    for name in Span._fields:
        del data[name]  # its length changes
    data.update(
        {
            **_span_variables(span),
            **variables,
            "move": ((), np.array(move)),
            "left_to_come": ((), np.array(left_to_come)),
            "iterations": ((), np.array(done)),
        }
    )


def _largest_move(before: np.ndarray, exponents: np.ndarray) -> float:
    """The largest change of an exponent; ∞ if an exponent was unknown before."""
    with np.errstate(invalid="ignore"):  # −∞ − (−∞), which is no change
        moves = np.where(exponents == before, 0.0, np.abs(exponents - before))
    return float(np.nan_to_num(moves, nan=np.inf).max())


def _triple_variables(triples: SingularTriples, k: int) -> dict[str, Any]:
    """Exponents, vectors and residuals of the first k singular values as variables of a dataset."""
    variables: dict[str, Any] = {"exponents": (("exponent",), log_values(triples.values[:k]))}
    for name in ("left", "right", "residuals"):
        rows = triples._asdict()[name][:k].numpy()
        variables[name] = (("exponent", *(f"{name}_{axis}" for axis in range(rows.ndim - 1))), rows)
    return variables


def _span_variables(span: Span) -> dict[str, Any]:
    """The span as variables of a dataset."""
    return {
        name: ([f"{name}_{axis}" for axis in range(rows.ndim)], rows.numpy())
        for name, rows in span._asdict().items()
    }
