"""A tapped network as one compiled graph, checked against the eager one before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.errors import UserError

Tapped = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]
TIMED_CALLS = 3
MARGIN = 10
"""By how much a compiled state may differ from the eager one, in units of the floor."""
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

    def __init__(self, network: nn.Module):
        # What an earlier recording compiled hangs on hooks that are gone.
        torch.compiler.reset()
        self.eager = _channels_last_in(network)
        # Nothing changes the modules while they are compiled, so they need not be looked over in each call.
        options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
        self.graph = _channels_last_in(torch.compile(network, fullgraph=True, dynamic=False, options=options))
        self.compilation: Compilation | None = None

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if self.compilation is None:
            self.compilation = self._checked(x, timestep)
        return self.graph(x, timestep)

    def _checked(self, x: torch.Tensor, timestep: torch.Tensor) -> Compilation:
        """Compile, compare and time.

        Raises: UserError where a state is missing or further from the eager one than MARGIN floors.
        """
        wanted = _everything(self.eager(x, timestep))
        single = _everything(self.eager(x[:1], timestep))
        rounding = SMALLEST_FLOOR * torch.finfo(x.dtype).eps
        floor = max(rounding, *(_gap(single[name], state[:1]) for name, state in wanted.items()))
        began = time.perf_counter()
        found = _everything(self._first_call(x, timestep))
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
            eager=_seconds(lambda: self.eager(x, timestep), x.device),
            compiled=_seconds(lambda: self.graph(x, timestep), x.device),
            gap=gaps[worst],
            floor=floor,
        )

    def _first_call(
        self, x: torch.Tensor, timestep: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.graph(x, timestep)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the network cannot be compiled here: {reason}; record without --fast"
            ) from error


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """The network's weights with their channels last while the block runs."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _channels_last_in(run: Callable[..., Any]) -> Tapped:
    def call(x: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        output, states = run(x.contiguous(memory_format=torch.channels_last), timestep)
        return output.contiguous(), states

    return call


def _everything(result: tuple[torch.Tensor, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    output, states = result
    return {"the output": output, **states}


def _gap(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest value; NaN where either is not finite."""
    scale = wanted.double().abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((found.double() - wanted.double()).abs().max() / scale)


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
