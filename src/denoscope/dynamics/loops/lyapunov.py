"""Lyapunov exponents of a map that is iterated thousands of times, and the dimension they imply."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.dynamics.result import Estimate, Result
from denoscope.dynamics.sensitivity.derivative import WAYS, choose
from denoscope.dynamics.sensitivity.maps import (
    Step,
    advance,
    check_counts,
    check_state,
    checked_count,
    first_state,
    map_at,
    probed,
    storable,
)
from denoscope.dynamics.statistics.arguments import parse_array, parse_confidence, parse_numbers
from denoscope.dynamics.statistics.intervals import student_quantile
from denoscope.dynamics.statistics.standard_errors import batch_error
from denoscope.foundation import tensor_files
from denoscope.foundation.checkpoint import IDENTITY, Checkpoint, Work, parse_checkpoint, with_room
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import parse_integer

if TYPE_CHECKING:
    import xarray

BATCHES = 20
LEAST_ITERATIONS = 2 * BATCHES
FEW_ITERATIONS = 1000
SETTLING = 100
"""The last iterations of those discarded also turn the frame, which starts in arbitrary directions."""
HISTORY = 200
"""How many points of the convergence history are kept at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lyapunov(Result):
    """Exponents [k] per iteration, largest first; the interval [k, 2] of each; how they converged.

    `history` [points, k] holds the exponents as they stood after `history_iterations` [points].
    """

    exponents: np.ndarray
    intervals: np.ndarray
    history: np.ndarray
    history_iterations: np.ndarray
    confidence: float = 0.95


def lyapunov(
    step: Step,
    x0: torch.Tensor,
    *,
    iterations: int = 10_000,
    k: int | None = None,
    discard: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
) -> Lyapunov:
    """The k largest asymptotic Lyapunov exponents of a map, per iteration.

    λ_i = lim 1/n Σ ln R_ii, where at every iteration the Jacobian J at the orbit's state turns an orthonormal
    frame Q [numbers, k] into J Q = Q' R, and Q' is the next frame. Natural logarithms; for a flow, divide by the
    time that a step takes. One positive exponent: neighbours separate as e^{λ n}, the orbit is chaotic; all
    negative: it settles on a point or a cycle. The sum of all exponents is the mean logarithm of the volume change.

    The interval is Student's, over the means of 20 consecutive batches. It covers the scatter along this orbit and
    not what lies in other basins, nor a transient longer than `discard`; it is too narrow if correlations last
    as long as a batch. Not for a map of some fifty steps, of which each is another: QR from an arbitrary frame gets
    its leading exponents wrong (use the spectrum of the whole map).

    Args:
        step: `step(x) -> x` on tensors of any one shape, or an object whose `at(iteration)` gives such a map (noise
            common to all states); where it has an `origin`, as a closed loop does, the result holds that too. It must answer the same for the same state. Differentiated by the whole Jacobian
            in reverse mode up to 16 numbers a state, else by torch.func.jvp; by central differences if neither
            works or agrees with them. `origin["derivative"]` says which it was.
        x0: where the orbit starts; float64 is asked for. Other dtypes are kept, as a network may need them, with a
            warning: the orbit then rounds, and short cycles of rounding can take the place of chaos.
        k: how many, at most as many as the state has numbers; two where it has them, unless given.
        discard: iterations before measuring, for the transient of the orbit and, in the last 100, of the frame.
        seed: of the first frame.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.
    Raises: UserError if a state or a derivative is not finite, naming the iteration; if there are too few iterations
        or numbers for k exponents, the step gives no state, or the checkpoint exists.
    Source: Benettin et al., Meccanica 15, 9 (1980); Shimada and Nagashima, Prog. Theor. Phys. 61, 1605 (1979);
        Eckmann and Ruelle, Rev. Mod. Phys. 57, 617 (1985), sec. V.
    """
    check_counts(iterations, discard, least=LEAST_ITERATIONS)
    parse_confidence(confidence)
    parse_integer(seed, "seed")
    checkpoint = parse_checkpoint(checkpoint)
    x = first_state(x0)
    k = checked_count(min(2, x.numel()) if k is None else k, x.numel())
    settling = min(discard, SETTLING)
    begin = discard - settling
    for iteration in range(begin):
        x = advance(step, x, iteration)
    advance(step, x, begin)  # a step that gives no state is refused before its derivative is asked for
    frame = _random_frame(x.numel(), k, seed)
    way, warnings = choose(map_at(step, begin), x, frame)
    measured = range(begin, discard + iterations)
    # Of exponents that no file is asked for nothing has to be told from others.
    identity = (
        {}
        if checkpoint.path is None
        else {
            "k": frame.shape[1],
            "discard": discard,
            "seed": seed,
            "derivative": way,
            "the orbit's state": tensor_files.sha256(x),
            "the map there": probed(map_at(step, begin), x),
        }
    )
    fresh = _begun(x, frame, measured, identity)
    with checkpoint.open(fresh, sequential=True) as file:
        file.data = with_room(file.data, fresh, "growth", along="iteration")
        _grow(step, x, file, way=way, iterations=measured)
    growth = file.data["growth"].to_numpy()[settling : settling + iterations]
    # Directions that grow alike come out of the frame in any order.
    growth = growth[:, np.argsort(-growth.mean(axis=0), kind="stable")]
    exponents, intervals = _means(growth, confidence)
    at = np.unique(np.linspace(1, iterations, min(HISTORY, iterations)).astype(int))
    return Lyapunov(
        exponents=exponents,
        intervals=intervals,
        history=np.cumsum(growth, axis=0)[at - 1] / at[:, None],
        history_iterations=at,
        confidence=confidence,
        origin={
            "iterations": iterations,
            "discard": discard,
            "numbers": x.numel(),
            "dtype": str(x.dtype).removeprefix("torch."),
            "derivative": way,
            "batches": BATCHES,
            "seed": seed,
            **getattr(step, "origin", {}),
        },
        warnings=(*warnings, *_beware(growth, x.dtype)),
    )


def _random_frame(numbers: int, k: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(numbers, k, generator=generator, dtype=torch.float64))[0]


def _begun(
    x: torch.Tensor, frame: torch.Tensor, iterations: range, identity: dict[str, Any]
) -> xarray.Dataset:
    """State, frame and growth ln R_ii (iteration, direction), none of which is known yet."""
    import xarray

    return xarray.Dataset(
        {
            "x": ("number", storable(x).reshape(-1).numpy().copy()),
            "frame": (("number", "direction"), frame.numpy()),
            "growth": (("iteration", "direction"), np.full((len(iterations), frame.shape[1]), np.nan)),
            "done": ((), np.array(0)),
        },
        attrs={IDENTITY: identity},
    )


def _grow(
    step: Step,
    like: torch.Tensor,
    file: Work,
    *,
    way: str,
    iterations: range,
) -> None:
    """Fill in the growth along the orbit; −∞ where the derivative is singular."""
    derivative, growth, done = WAYS[way], file.data["growth"].values, file.data["done"].values
    numbers, columns = (torch.from_numpy(file.data[name].values) for name in ("x", "frame"))
    x, frame = numbers.clone().reshape(like.shape).to(like), columns.clone()

    def note(count: int) -> None:
        numbers.copy_(x.reshape(-1))
        columns.copy_(frame)
        done[...] = count

    for row in range(int(done), len(iterations)):
        y, images = derivative(map_at(step, iterations[row]), x, frame)
        x = check_state(y, x, iterations[row])
        if not images.isfinite().all():
            raise UserError(
                f"the derivative of step is not finite at iteration {iterations[row] + 1}, though the state is;"
                " an operation such as a root or a norm at zero is not differentiable there"
            )
        frame, upper = torch.linalg.qr(images)
        with np.errstate(divide="ignore"):
            growth[row] = np.log(upper.diagonal().abs().numpy())
        if file.due:
            note(row + 1)
            file.save()
        file.report(row + 1, len(iterations))
    note(max(int(done), len(iterations)))


def _means(growth: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and interval of each exponent; where a derivative was singular, both are −∞ for certain."""
    exponents = growth.mean(axis=0)
    measured = np.isfinite(exponents)
    reach = np.zeros_like(exponents)
    reach[measured] = student_quantile(confidence, BATCHES - 1) * batch_error(
        growth[:, measured], batches=BATCHES
    )
    return exponents, np.stack([exponents - reach, exponents + reach], axis=1)


def _beware(growth: np.ndarray, dtype: torch.dtype) -> list[str]:
    """What makes these exponents less than they look."""
    warnings = []
    if dtype != torch.float64:
        warnings.append(
            f"x0 is {str(dtype).removeprefix('torch.')}: the orbit is rounded to it; give float64 where step allows"
        )
    if len(growth) < FEW_ITERATIONS:
        warnings.append(
            f"{len(growth)} iterations are few: intervals rest on batches of {len(growth) // BATCHES};"
            f" {FEW_ITERATIONS} or more are asked for"
        )
    singular = ~np.isfinite(growth).all(axis=0)
    if singular.any():
        warnings.append(
            f"the derivative is singular along the orbit: exponents from number {int(singular.argmax()) + 1} on are −∞"
        )
    lost = growth.min(axis=1) < growth.max(axis=1) + np.log(torch.finfo(dtype).eps)
    if lost.any() and not singular.any():
        warnings.append(
            f"in {np.count_nonzero(lost)} of {len(growth)} iterations the growth of two directions differed by more"
            f" than {str(dtype).removeprefix('torch.')} resolves: the smallest exponents are rounding; ask for fewer"
        )
    return warnings + [
        f"exponent {number + 1} has not converged: {first:.4g} over the first half, {second:.4g} over the second;"
        " take more iterations or a longer discard"
        for number, (first, second) in _drifting(growth[:, ~singular])
    ]


def _drifting(growth: np.ndarray) -> list[tuple[int, tuple[float, float]]]:
    """The exponents whose two halves differ by more than four standard errors of that difference."""
    halves = np.array_split(growth, 2)
    means = [half.mean(axis=0) for half in halves]
    errors = [batch_error(half, batches=BATCHES // 2) for half in halves]
    allowed = 4 * np.hypot(*errors) + 1e-6
    apart = np.flatnonzero(np.abs(means[0] - means[1]) > allowed)
    return [(int(k), (float(means[0][k]), float(means[1][k]))) for k in apart]


@dataclass(frozen=True, kw_only=True, eq=False)
class KaplanYorke(Estimate):
    """The Kaplan–Yorke (Lyapunov) dimension."""


def kaplan_yorke(exponents: Any) -> KaplanYorke:
    """The Kaplan–Yorke dimension of Lyapunov exponents.

    D = j + (λ_1 + … + λ_j)/|λ_{j+1}|, with the exponents sorted from the largest and j the largest number of them
    whose sum is not negative; 0 if all are negative. A pure number between 0 and the number of exponents. It is
    conjectured to equal the information dimension of a typical attractor; it isn't for systems that decompose, and
    for a finite map it only says how many directions together do not lose volume.

    Where even the sum of all given exponents is not negative, the dimension is their number, with a warning: if there
    are more exponents than were given, it is only a lower bound.

    Args:
        exponents: [k] in any order and unit, or the result of `lyapunov`: then there is an interval, from the
            dimension of all lower to that of all upper ends (D grows with each exponent), which is wider than the
            confidence says.
    Source: Kaplan and Yorke, Lecture Notes in Mathematics 730, 204 (1979); Frederickson et al., J. Differential
        Equations 49, 185 (1983).
    """
    given = exponents.exponents if isinstance(exponents, Lyapunov) else exponents
    values = _descending(given)
    warnings = []
    if values.sum() >= 0:
        warnings.append(
            f"the sum of the {len(values)} exponents given is {values.sum():.4g}, not negative: the dimension is at"
            f" least {len(values)}, and just that if the system has no more of them"
        )
    interval = None
    if isinstance(exponents, Lyapunov):
        low, high = (_dimension(_descending(ends)) for ends in exponents.intervals.T)
        interval = (low, high)
        warnings += exponents.warnings
    return KaplanYorke(
        value=_dimension(values),
        interval=interval,
        origin={"exponents": values, **(exponents.origin if isinstance(exponents, Lyapunov) else {})},
        warnings=tuple(warnings),
    )


def _descending(exponents: Any) -> np.ndarray:
    """The exponents from the largest; −∞ is one that a singular derivative has."""
    if isinstance(exponents, torch.Tensor):
        exponents = exponents.detach().cpu()
    given = parse_array(exponents, "exponents")
    if given.ndim != 1 or not given.size:
        raise UserError(f"exponents have shape {list(given.shape)}; a list of at least one is needed: [k]")
    singular = np.isneginf(given) if given.dtype.kind == "f" else np.zeros(given.shape, bool)
    given = parse_numbers(np.where(singular, 0, given) if singular.any() else given, "exponents")
    return np.sort(np.where(singular, -np.inf, given))[::-1]


def _dimension(values: np.ndarray) -> float:
    sums = np.cumsum(values)
    kept = int(np.count_nonzero(sums >= 0))
    if kept == len(values):
        return float(kept)
    return kept + float(sums[kept - 1] / -values[kept]) if kept else 0.0
