"""Lyapunov exponents of a map that is iterated thousands of times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from denoscope.dynamics.loops.derivative import METHODS, choose_method
from denoscope.dynamics.loops.growth_statistics import BATCHES, growth_warnings, mean_growth
from denoscope.dynamics.loops.iterated_map import (
    HasOrigin,
    Step,
    advance,
    check_counts,
    check_state,
    check_step,
    map_at,
    parse_first_state,
    probe,
    storable,
)
from denoscope.dynamics.loops.resting import repeats, rest_warnings
from denoscope.dynamics.loops.step_precision import precision_of_step_warnings
from denoscope.dynamics.result import Result
from denoscope.dynamics.statistics.arguments import parse_confidence
from denoscope.foundation import memory, tensor_files
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, parse_checkpoint
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer
from denoscope.foundation.work import with_room

if TYPE_CHECKING:
    import xarray

LEAST_ITERATIONS = 2 * BATCHES
SETTLING = 100
"""The last iterations of the transient also align the frame, which starts in arbitrary directions."""
HISTORY = 200
"""The largest number of points of the convergence history."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lyapunov(Result):
    """Lyapunov exponents per iteration, in descending order, with their intervals and convergence.

    Attributes:
        exponents: [k].
        intervals: [k, 2], at the level `confidence`; NaN, with a warning, if rounding holds the orbit or a part of its state on what repels.
        history: [points, k] the exponents after `history_iterations` [points].
    """

    pictured: ClassVar[str] = "history"
    rows: ClassVar[Mapping[str, str]] = {
        "exponents": "exponent",
        "intervals": "exponent",
        "history": "history_iterations",
        "history_iterations": "history_iterations",
    }
    exponents: np.ndarray
    intervals: np.ndarray
    history: np.ndarray
    history_iterations: np.ndarray
    confidence: float = 0.95


@calls_checked
def lyapunov(
    step: Step,
    x0: Any,
    *,
    iterations: int = 10_000,
    k: int | None = None,
    discard: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> Lyapunov:
    """The k largest asymptotic Lyapunov exponents of a map, per iteration.

    λ_i = lim 1/n Σ ln R_ii. At every iteration the Jacobian J at the state of the orbit maps an orthonormal frame
    Q [size, k], and the QR decomposition J Q = Q' R gives the next frame Q'. Logarithms are natural; for a flow, divide by
    the time that a step takes.

    Interpretation: with a positive exponent λ neighbours separate as e^{λn}, and the orbit is chaotic. If all exponents
    are negative, it settles on a fixed point or a cycle. The sum of all exponents is the mean logarithm of the volume
    change. The interval is Student's, over the means of 20 consecutive batches. If the growth stays on one side of its mean
    for much longer than independent growths would, and for a part of a batch, or the means of batches rise or fall along the
    orbit, a warning says so and the interval is wider: it takes the largest error of 20, 10 and 5 batches, and the difference
    between both halves of the orbit.

    Caveats: the interval covers the scatter along this orbit, but not other basins, nor a transient longer than
    `discard`. Warnings report two effects of rounding: a step may compute in a lower precision than its states, and rounding
    may hold the orbit where a typical one does not stay; there are then no intervals. It does so if the state, or some of its
    numbers, rest on a point or a cycle that repels, or if a positive exponent has the same growth at every iteration but not
    along an orbit next to this one. Two cases are not seen: a part that rests in other coordinates than the numbers of the
    state while the growth varies, and a part whose changes grow by less than e² in an eighth of the iterations (100 to 500).
    Do not use this measure for a map of some fifty steps that differ from each other: QR from an arbitrary frame gets its
    leading exponents wrong (use `spectrum`).

    Args:
        step: a function from a state to the next, for tensors of any one shape, or an object whose method `at(iteration)`
            returns one (noise common to all states). It must give equal results for equal states. It is differentiated
            by its whole Jacobian in reverse mode for states of up to 16 numbers, otherwise by torch.func.jvp; by central
            differences if neither works or agrees with them. `origin["derivative"]` names the method. If it has an
            `origin`, as a closed loop does, the result includes it.
        x0: the first state of the orbit, preferably in float64. Other dtypes are kept, since a network may need them, with
            a warning: the orbit is then rounded, and short cycles of rounding can replace chaos.
        k: the number of exponents; by default 2, or 1 if a state is a single number.
        discard: iterations before the measurement, for the transient of the orbit and, in the last 100, of the frame.
        seed: of the first frame.
        checkpoint: a file (.npz) for orbit, frame and growth after the transient, or a `Checkpoint`. A finished file can
            be resumed with more iterations; with fewer, the beginning of the orbit is measured.

    Raises: UserError if a state or a derivative is not finite (naming the iteration), an argument is out of range, or the
        checkpoint does not fit.
    Source: Benettin et al., Meccanica 15, 9 (1980); Shimada and Nagashima, Prog. Theor. Phys. 61, 1605 (1979);
        Eckmann and Ruelle, Rev. Mod. Phys. 57, 617 (1985), sec. V.
    """
    check_counts(iterations, discard, minimum=LEAST_ITERATIONS)
    parse_confidence(confidence)
    parse_integer(seed, "seed")
    check_step(step)
    checkpoint, x = parse_checkpoint(checkpoint), parse_first_state(x0)
    k = (
        min(2, x.numel())
        if k is None
        else parse_integer(k, "k", minimum=1, maximum=x.numel(), note="the size of a state")
    )
    settling = min(discard, SETTLING)
    measured = range(discard - settling, discard + iterations)
    for iteration in range(measured.start):
        x = advance(step, x, iteration)
    advance(step, x, measured.start)  # refuses a step that returns no state before it is differentiated
    frame = _random_frame(x.numel(), k, seed)
    method, warnings = choose_method(map_at(step, measured.start), x, frame)
    settings = {"k": k, "discard": discard, "seed": seed, "derivative": method}
    # Only a file needs an identity.
    identity = {} if checkpoint.path is None else {**settings, **_identity(step, x, measured.start)}
    fresh = _initial_growth(x, frame, len(measured), identity)
    with checkpoint.open(fresh, sequential=True) as work:
        work.data = with_room(work.data, fresh, "growth", along="iteration")
        work.run(grow(step, x, work.data, method=method, iterations=measured), len(measured))
    growth = work.data["growth"].to_numpy()[settling : settling + iterations]
    end = torch.from_numpy(work.data["x"].to_numpy()).reshape(x.shape).to(x)
    last = measured.start + int(work.data["done"])
    # A checkpoint with more iterations ends further on.
    directions, is_end = torch.from_numpy(work.data["frame"].to_numpy()), last == measured.stop
    rests = rest_warnings(step, end, last, growth, method, directions) if is_end or repeats(growth) else []
    warnings = [*warnings, *rests]
    if is_end:
        warnings += precision_of_step_warnings(step, end, last, method, directions[:, 0])
    origin = {
        "iterations": iterations,
        "discard": discard,
        "numbers": x.numel(),
        "dtype": name_of(x.dtype),
        "derivative": method,
        "batches": BATCHES,
        "seed": seed,
        **(step.origin if isinstance(step, HasOrigin) else {}),
    }
    found = _result(growth, confidence, origin, [*warnings, *growth_warnings(growth, x.dtype)])
    # The scatter along a cycle says nothing of a typical orbit.
    return replace(found, intervals=np.full_like(found.intervals, np.nan)) if rests else found


def grow(
    step: Step, like: torch.Tensor, data: xarray.Dataset, *, method: str, iterations: range
) -> Iterator[int]:
    """Carry the frame in `data` along the orbit, fill in its growth ln R_ii, and yield the number of finished iterations.

    A growth is −∞ where the derivative is singular.

    Args:
        like: a state with the shape and dtype of the orbit.
        data: `x`, `frame`, `growth` (iteration, direction) and the number of iterations `done`; updated in place.
        iterations: those of the rows of `growth`.
    """
    derivative, growth, done = METHODS[method], data["growth"].values, data["done"].values
    numbers, columns = (torch.from_numpy(data[name].values) for name in ("x", "frame"))
    x, frame = numbers.clone().reshape(like.shape).to(like), columns.clone()
    for row in range(int(done), len(iterations)):
        y, images = derivative(map_at(step, iterations[row]), x, frame)
        x = check_state(y, x, iterations[row])
        if not images.isfinite().all():
            raise UserError(
                f"the derivative of step is not finite at iteration {iterations[row] + 1}, though the state is: an "
                "operation such as a root or a norm is not differentiable at 0"
            )
        frame, upper = torch.linalg.qr(images)
        with np.errstate(divide="ignore"):
            growth[row] = np.log(upper.diagonal().abs().numpy())
        numbers.copy_(x.reshape(-1))
        columns.copy_(frame)
        done[...] = row + 1
        yield row + 1


def _random_frame(size: int, k: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, k, generator=generator, dtype=torch.float64))[0]


def _identity(step: Step, x: torch.Tensor, iteration: int) -> dict[str, Any]:
    """What identifies an orbit and its map."""
    return {"the orbit's state": tensor_files.sha256(x), "the map there": probe(map_at(step, iteration), x)}


def _initial_growth(
    x: torch.Tensor, frame: torch.Tensor, rows: int, identity: dict[str, Any]
) -> xarray.Dataset:
    """State, frame and unknown growth (iteration, direction)."""
    import xarray

    memory.check_fits(8 * rows * frame.shape[1], f"the growth in {rows:,} iterations")
    return xarray.Dataset(
        {
            "x": ("number", storable(x).reshape(-1).numpy().copy()),
            "frame": (("number", "direction"), frame.numpy()),
            "growth": (("iteration", "direction"), np.full((rows, frame.shape[1]), np.nan)),
            "done": ((), np.array(0)),
        },
        attrs={IDENTITY: identity},
    )


def _result(growth: np.ndarray, confidence: float, origin: dict[str, Any], warnings: list[str]) -> Lyapunov:
    """Exponents from the growth [iteration, direction]."""
    # The order of directions that grow alike is arbitrary.
    growth = growth[:, np.argsort(-growth.mean(axis=0), kind="stable")]
    exponents, intervals = mean_growth(growth, confidence)
    at = np.unique(np.linspace(1, len(growth), min(HISTORY, len(growth))).astype(int))
    return Lyapunov(
        exponents=exponents,
        intervals=intervals,
        history=np.cumsum(growth, axis=0)[at - 1] / at[:, None],
        history_iterations=at,
        confidence=confidence,
        origin=origin,
        warnings=tuple(warnings),
    )
