"""A tapped network as one compiled graph, checked against the eager one before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from denoscope.foundation.errors import UserError

States = dict[str, torch.Tensor]
Run = Callable[[torch.Tensor, torch.Tensor, Mapping[str, Any]], tuple[torch.Tensor, States]]


class Tapped(Protocol):
    """A network as a function of (x, timestep, further inputs): its output, and states [rows, calls, …].

    `skipped` names the layers that the last call did not run as often as planned, whose states are NaN.
    """

    @property
    def skipped(self) -> Sequence[str]: ...
    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]: ...


TIMED_CALLS = 3
MARGIN = 4
"""By how much a compiled state may differ from the eager one, in units of the floor: both are largest values of
rounding in different places. Measured: 0.8 to 1.1."""
SMALLEST_FLOOR = 8
"""In units of the precision's epsilon: some networks give the same bits for any number of rows."""


@dataclass(frozen=True)
class Compilation:
    """What compiling cost and gained: seconds for compiling and for a call of either kind.

    `gap` is the largest difference between a compiled and an eager state, relative to the state's largest
    value; `floor` the same between the eager network's own results for different numbers of rows.
    """

    seconds: float
    eager: float
    compiled: float
    gap: float
    floor: float

    def saved(self, calls: int) -> float:
        """Seconds that compiling saves over so many calls; below 0 where it does not pay."""
        return calls * (self.eager - self.compiled) - self.seconds

    def told(self, calls: int) -> str:
        """All of it in one line, for a recording that takes so many calls."""
        saved = self.saved(calls)
        verdict = (
            f"saves about {saved:.0f} s" if saved > 0 else f"costs about {-saved:.0f} s more than it saves"
        )
        return (
            f"compiled in {self.seconds:.0f} s, a call takes {self.compiled / self.eager:.2f} of its time: over "
            f"{calls} calls this {verdict}; states differ by up to {self.gap:.1e} of their size "
            f"(between numbers of rows: {self.floor:.1e})"
        )


class Compiled:
    """A network that is compiled and checked in its first call, and told about in `compilation` from then on."""

    skipped: Sequence[str] = ()  # a graph runs the same layers in each call

    def __init__(self, network: nn.Module):
        # What an earlier recording compiled hangs on hooks that are gone.
        torch.compiler.reset()
        self.eager = _channels_last_in(network)
        # Nothing changes the modules while they are compiled, so they need not be looked over in each call.
        options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
        self.graph = _channels_last_in(torch.compile(network, fullgraph=True, dynamic=False, options=options))
        self.compilation: Compilation | None = None

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        if self.compilation is None:
            self.compilation = self._checked(x, timestep, inputs)
        return self.graph(x, timestep, inputs)

    def _checked(self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]) -> Compilation:
        """Compile, compare and time.

        Raises: UserError where a state is missing or further from the eager one than MARGIN floors.
        """
        wanted = _everything(self.eager(x, timestep, inputs))
        single = _everything(self.eager(x[:1], timestep, _first_row(inputs, len(x))))
        rounding = SMALLEST_FLOOR * torch.finfo(x.dtype).eps
        floor = max(rounding, *(_gap(single[name], state[:1]) for name, state in wanted.items()))
        began = time.perf_counter()
        found = _everything(self._first_call(x, timestep, inputs))
        seconds = time.perf_counter() - began
        if missing := sorted(wanted.keys() - found.keys()):
            raise UserError(f"compiled, the network does not run layer {missing[0]!r}; record without --fast")
        gaps = {name: _gap(found[name], state) for name, state in wanted.items()}
        worst = max(gaps, key=lambda name: gaps[name])
        if not gaps[worst] <= MARGIN * floor:
            raise UserError(
                f"compiled, {worst} differs by {gaps[worst]:.1e} of its size, where rounding explains {floor:.1e}; "
                "record without --fast"
            )
        return Compilation(
            seconds=seconds,
            eager=_seconds(lambda: self.eager(x, timestep, inputs), x.device),
            compiled=_seconds(lambda: self.graph(x, timestep, inputs), x.device),
            gap=gaps[worst],
            floor=floor,
        )

    def _first_call(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.graph(x, timestep, inputs)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the network cannot be compiled here: {reason}; record without --fast"
            ) from error


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """The network's 4-d weights with their channels last while the block runs; then they are where they were."""
    weights = [weight for weight in (*network.parameters(), *network.buffers()) if weight.ndim == 4]
    own = [weight.data for weight in weights]
    try:
        _put(weights, [_laid_out(weight) for weight in weights])
        yield
    finally:
        _put(weights, own)


def _laid_out(weight: torch.Tensor) -> torch.Tensor:
    # An inference tensor cannot take the data of an ordinary one, and autograd cannot save it.
    with torch.inference_mode(weight.is_inference()):
        return weight.data.contiguous(memory_format=torch.channels_last)


def _put(weights: Sequence[torch.Tensor], data: Sequence[torch.Tensor]) -> None:
    for weight, values in zip(weights, data, strict=True):
        weight.data = values


def _channels_last_in(run: Callable[..., Any]) -> Run:
    def call(
        x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        output, states = run(x.contiguous(memory_format=torch.channels_last), timestep, inputs)
        return output.contiguous(), states

    return call


def _everything(result: tuple[torch.Tensor, States]) -> States:
    output, states = result
    return {"the output": output, **states}


def _gap(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest finite value; Inf where only one of the two is finite.

    The same infinity, or NaN in both, is no difference: a sample that went wrong stays comparable.
    """
    found, wanted = found.double(), wanted.double()
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    scale = wanted[wanted.isfinite()].abs().max() if wanted.isfinite().any() else wanted.new_tensor(0.0)
    apart = torch.where(same, 0.0, found - wanted).abs()
    apart = torch.where(apart.isnan(), torch.inf, apart)
    return float(apart.max() / scale.clamp(min=torch.finfo(torch.float32).tiny))


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    """The shortest of a few calls."""
    shortest = float("inf")
    for _ in range(TIMED_CALLS):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        shortest = min(shortest, time.perf_counter() - began)
    return shortest


def _first_row(inputs: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The inputs of a call of the first row alone; what has no row for each stays whole."""
    return {
        name: _first_row(value, rows)
        if isinstance(value, Mapping)
        else value[:1]
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == rows
        else value
        for name, value in inputs.items()
    }
