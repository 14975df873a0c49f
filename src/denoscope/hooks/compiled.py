"""A tapped network as one compiled graph, compared with the eager network before it is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.foundation.dtypes import in_double
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.hooks.tapped_network import States, TappedNetwork, Writes, no_writes

Run = Callable[[torch.Tensor, torch.Tensor, Mapping[str, Any]], tuple[torch.Tensor, States]]

TIMED_CALLS = 3
MARGIN = 4
"""The number of rounding floors by which a compiled state may differ from the eager one. Both are maxima of rounding
errors in different places; their measured ratio is 0.8 to 1.1."""
SMALLEST_FLOOR = 8
"""The smallest rounding floor, in epsilons of the precision: some networks give the same bits for any number of rows."""


@dataclass(frozen=True)
class Compilation:
    """The cost and gain of compiling: seconds for compiling, and for one eager and one compiled call.

    `gap` is the largest difference between a compiled and an eager state, relative to the largest value of the state;
    `floor` the same between the eager network's own results for different numbers of rows.
    """

    seconds: float
    eager: float
    compiled: float
    gap: float
    floor: float

    def saved(self, calls: int) -> float:
        """Seconds that compiling saves in that many calls; negative if it costs more than it saves."""
        return calls * (self.eager - self.compiled) - self.seconds

    def summary(self, calls: int) -> str:
        """One line for a recording that makes that many calls."""
        saved = self.saved(calls)
        verdict = (
            f"saves about {saved:.0f} s" if saved > 0 else f"costs about {-saved:.0f} s more than it saves"
        )
        return (
            f"compiled in {self.seconds:.0f} s; a call takes {self.compiled / self.eager:.2f} of the eager time, which "
            f"over {calls} calls {verdict}; states differ by up to {self.gap:.1e} of their largest value (between "
            f"numbers of rows: {self.floor:.1e})"
        )


class CompiledNetwork:
    """A tapped network that is compiled and checked in its first call; `compilation` describes it from then on."""

    skipped: Sequence[str] = ()  # a graph runs the same layers in each call

    def __init__(self, tapped: TappedNetwork):
        # A graph of an earlier recording would call hooks that no longer exist.
        torch.compiler.reset()
        self._tapped = tapped
        self._eager = _with_channels_last(tapped.module)
        # Modules do not change while the graph is in use, so that they need not be checked in each call.
        options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
        compiled = torch.compile(tapped.module, fullgraph=True, dynamic=False, options=options)
        self._graph = _with_channels_last(compiled)
        self.compilation: Compilation | None = None

    def __call__(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any], writes: Writes = no_writes
    ) -> tuple[torch.Tensor, States]:
        assert not writes(), "nothing can be written into a compiled graph"
        with self._tapped.traced():
            if self.compilation is None:
                self.compilation = self._checked(x, timestep, inputs)
            return self._graph(x, timestep, inputs)

    def _checked(self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]) -> Compilation:
        """Compile, compare and time.

        Raises: UserError if a state is missing or differs from the eager one by more than MARGIN floors.
        """
        eager = _by_name(self._eager(x, timestep, inputs))
        single = _by_name(self._eager(x[:1], timestep, _first_row(inputs, len(x))))
        rounding = SMALLEST_FLOOR * torch.finfo(x.dtype).eps
        floor = max(rounding, *(_gap(single[name], state[:1]) for name, state in eager.items()))
        start = time.perf_counter()
        compiled = _by_name(self._first_call(x, timestep, inputs))
        seconds = time.perf_counter() - start
        if missing := sorted(eager.keys() - compiled.keys()):
            raise UserError(
                f"the compiled network does not run layer {missing[0]!r}; record without {spelled('fast')}"
            )
        gaps = {name: _gap(compiled[name], state) for name, state in eager.items()}
        worst = max(gaps, key=lambda name: gaps[name])
        if not gaps[worst] <= MARGIN * floor:
            raise UserError(
                f"compiled, {worst} differs by {gaps[worst]:.1e} of its largest value, and rounding explains "
                f"{floor:.1e}; record without {spelled('fast')}"
            )
        return Compilation(
            seconds=seconds,
            eager=_seconds(lambda: self._eager(x, timestep, inputs), x.device),
            compiled=_seconds(lambda: self._graph(x, timestep, inputs), x.device),
            gap=gaps[worst],
            floor=floor,
        )

    def _first_call(
        self, x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._graph(x, timestep, inputs)
        except TorchDynamoException as error:
            raise UserError(
                f"the network cannot be compiled here: {first_line(error)}; record without {spelled('fast')}"
            ) from error


@contextmanager
def channels_last(network: nn.Module) -> Iterator[None]:
    """Lay out the network's 4-d weights with channels last while the block runs, and restore them afterwards."""
    weights = [weight for weight in (*network.parameters(), *network.buffers()) if weight.ndim == 4]
    originals = [weight.data for weight in weights]
    try:
        _put(weights, [_laid_out(weight) for weight in weights])
        yield
    finally:
        _put(weights, originals)


def _laid_out(weight: torch.Tensor) -> torch.Tensor:
    # An inference tensor cannot take the data of an ordinary one, and autograd cannot save it.
    with torch.inference_mode(weight.is_inference()):
        return weight.data.contiguous(memory_format=torch.channels_last)


def _put(weights: Sequence[torch.Tensor], data: Sequence[torch.Tensor]) -> None:
    for weight, values in zip(weights, data, strict=True):
        weight.data = values


def _with_channels_last(run: Callable[..., Any]) -> Run:
    def call(
        x: torch.Tensor, timestep: torch.Tensor, inputs: Mapping[str, Any]
    ) -> tuple[torch.Tensor, States]:
        output, states = run(x.contiguous(memory_format=torch.channels_last), timestep, inputs)
        return output.contiguous(), states

    return call


def _by_name(result: tuple[torch.Tensor, States]) -> States:
    output, states = result
    return {"the output": output, **states}


def _gap(values: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference, relative to the largest finite value; Inf if only one of two values is finite.

    Equal infinities, or NaN in both, are no difference: a sample that diverged stays comparable.
    """
    values, reference = in_double(values), in_double(reference)
    same = (values == reference) | (values.isnan() & reference.isnan())
    finite = reference[reference.isfinite()]
    scale = finite.abs().max() if len(finite) else reference.new_tensor(0.0)
    difference = torch.where(same, 0.0, values - reference).abs()
    difference = torch.where(difference.isnan(), torch.inf, difference)
    return float(difference.max() / scale.clamp(min=torch.finfo(torch.float32).tiny))


def _seconds(run: Callable[[], Any], device: torch.device) -> float:
    """The shortest time of a few calls."""
    shortest = float("inf")
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def _first_row(inputs: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The inputs of a call with the first row alone; inputs without a row for each sample stay whole."""

    def first(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _first_row(value, rows)
        has_rows = isinstance(value, torch.Tensor) and value.ndim and len(value) == rows
        return value[:1] if has_rows else value

    return {name: first(value) for name, value in inputs.items()}
