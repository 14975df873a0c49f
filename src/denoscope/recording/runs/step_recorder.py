"""One step after the other, from tensors on the device to the entries of a recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from denoscope.foundation.dtypes import torch_dtype
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.recording.runs.device_transfer import DeviceTransfer
from denoscope.storage.plan import ESTIMATES, Plan, Unit

Report = Callable[[int, Sequence[bool]], None]
"""A function of a state's index and, for each sample, whether all is finite."""


class StepRecorder:
    """Selects, casts and sends what a plan stores of the samples in flight, and flags NaN and Inf.

    The states x_T … x_0 are passed to `state` in order. Between two of them come the estimate and the layers of the
    step that leads from one to the other.
    """

    def __init__(
        self,
        plan: Plan,
        selection: Selection,
        unit: Unit,
        transfer: DeviceTransfer,
        *,
        report: Report | None = None,
    ):
        self._plan, self._selection = plan, selection
        self._unit, self._transfer, self._report = unit, transfer, report
        self._dtypes = {array.name: torch_dtype(array.dtype) for array in plan.arrays}
        self._recorded = {int(step) for step in plan.coords["step"][1]}
        self._finite: list[torch.Tensor] = []
        """For each tensor of the present step, which samples are finite, [n]."""
        self._states = 0

    def records(self, step: int) -> bool:
        """Whether the layers and the estimate of a step are stored."""
        return step in self._recorded and "sequence" in self._dtypes

    def state(self, x: torch.Tensor) -> None:
        """Take the next state x [n, …], and flag the samples that are not finite in it or in the step before it."""
        index, last = self._states, self._plan.steps
        if "sequence" in self._dtypes:
            self._send("sequence", x)
        elif index == last:
            self._send("final", x)
        self._states += 1
        finite = torch.stack([finite_rows(x), *self._finite]).all(0)
        self._finite = []
        self._transfer.send(finite, partial(self._flag, index))

    def estimate(self, x_0: torch.Tensor) -> None:
        """Take the estimate of x_0 [n, …] of the present step, if it is stored."""
        if ESTIMATES in self._dtypes:
            self._send(ESTIMATES, x_0)

    def reduce(self, layer: Layer, state: torch.Tensor) -> torch.Tensor:
        """What is stored of a layer's states [n, …, *shape], with the leading axes left as they are.

        The result is cast where it was computed, so that fewer bytes are copied from the device.
        """
        leading = state.shape[: state.ndim - len(layer.shape or ())]
        reduced = self._selection.apply(state.flatten(0, len(leading) - 1)).unflatten(0, leading)
        return reduced.to(self._dtypes[layer.address])

    def layer(self, address: str, reduced: torch.Tensor, computed: Sequence[torch.Tensor]) -> None:
        """Take the reduced states of a layer in the present step.

        `computed` are the parts that the network computed. The rest is NaN because a call was not made, and is not
        flagged.
        """
        self._finite += map(finite_rows, computed)
        self._send(address, reduced)

    def _send(self, name: str, rows: torch.Tensor) -> None:
        self._transfer.send(rows.to(self._dtypes[name]), partial(self._unit.append, name))

    def _flag(self, index: int, finite: torch.Tensor) -> None:
        self._unit.flag(~finite.numpy())
        if self._report is not None:
            self._report(index, finite.tolist())


def finite_rows(values: torch.Tensor) -> torch.Tensor:
    """Which rows hold neither NaN nor Inf, [n] bool."""
    # Zero times a finite number is zero and cannot overflow: a quarter of the time of isfinite and all.
    return (values * 0).reshape(len(values), -1).sum(1) == 0
