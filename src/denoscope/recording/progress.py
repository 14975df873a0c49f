"""How a recording reports its progress."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Protocol

from denoscope.hooks.compiled import Compilation
from denoscope.storage.places import Place
from denoscope.storage.plan import Plan


class RecordingProgress(Protocol):
    """An observer of a recording.

    `begin` and `end` enclose it. `advance` follows each step and `unit_done` each batch of samples; `compiled` reports
    the first call of a compiled network, and `skipped` a layer whose states are NaN in a step because it was not
    called as planned. `end` gets the samples that became NaN or Inf, each with the first such step.
    """

    def begin(self, plan: Plan, out: Place | None, finished: int) -> None: ...
    def compiled(self, compilation: Compilation, calls: int) -> None: ...
    def skipped(self, layer: str, step: int) -> None: ...
    def advance(self, samples: int) -> None: ...
    def unit_done(self, samples: int, seconds: float) -> None: ...
    def end(self, nonfinite: Mapping[str, int]) -> None: ...


class NoProgress:
    """Reports nothing; a skipped layer becomes a warning."""

    def begin(self, plan: Plan, out: Place | None, finished: int) -> None: ...
    def compiled(self, compilation: Compilation, calls: int) -> None: ...
    def advance(self, samples: int) -> None: ...
    def unit_done(self, samples: int, seconds: float) -> None: ...
    def end(self, nonfinite: Mapping[str, int]) -> None: ...

    def skipped(self, layer: str, step: int) -> None:
        warnings.warn(
            f"layer {layer} was not called as planned in step {step}; its states of this step are NaN",
            stacklevel=2,
        )
