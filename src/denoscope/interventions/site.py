"""The place where an intervention writes: a layer in a run, and a part of its states in some of its calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import STREAMS_VERSION
from denoscope.hooks.index_texts import parse_indices
from denoscope.hooks.module_survey import Layer
from denoscope.interventions.network_call import LayerCall, NetworkCall
from denoscope.interventions.source_recording import SourceRecording
from denoscope.interventions.state_region import Region
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.schedulers import Scheduler
from denoscope.models.solver_calls import stages
from denoscope.storage.places import Place, parse_place


@dataclass(frozen=True, eq=False)
class Run:
    """The run that interventions are prepared for: everything about it that decides what they write."""

    denoiser: Denoiser
    timesteps: tuple[float, ...]
    """The timestep of each step."""
    calls: int
    """The largest number of network calls in a step."""
    branches: tuple[str, ...]
    noise: Literal["common", "independent"]
    noise_seed: int
    streams: int = STREAMS_VERSION
    _recordings: dict[Place, SourceRecording] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        condition: Condition,
        *,
        scheduler: Scheduler,
        steps: int,
        noise: Literal["common", "independent"],
        noise_seed: int,
        streams: int = STREAMS_VERSION,
    ) -> Run:
        """The run of a denoiser under a condition; `scheduler` is set for it."""
        schedule = stages(scheduler, steps)
        timesteps = [float(scheduler.timesteps[k]) for k, stage in enumerate(schedule) if stage.call == 0]
        calls = 1 + max(stage.call for stage in schedule)
        branches = denoiser.branches(condition)
        return cls(denoiser, tuple(timesteps), calls, branches, noise, noise_seed, streams)

    def recording(self, path: str) -> SourceRecording:
        """A recording whose states are written; opened once."""
        place = parse_place(path)
        if place not in self._recordings:
            self._recordings[place] = SourceRecording(place)
        return self._recordings[place]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where and when an intervention applies; None and () mean everywhere."""

    steps: str | None = None
    calls: str | None = None
    branches: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    axes: Mapping[str, str | None] = field(default_factory=dict)
    """The texts of "heads", "channels" and "tokens"."""


@dataclass(frozen=True, eq=False)
class Site:
    """A layer in a run, with the part of its states that an intervention writes.

    `name` is the start of messages.

    Raises: UserError if the layer cannot be written, or the scope does not fit it.
    """

    name: str
    layer: Layer
    run: Run
    scope: Scope = Scope()
    region: Region = field(init=False)
    steps: frozenset[int] = field(init=False)
    calls: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        place, branches = self.layer.place, self.run.branches
        if place.what == "diff" or place.before:
            raise UserError(f"{self.name}: :diff and :before are read, not written; name :in or :out")
        object.__setattr__(self, "steps", self._indices("steps", self.scope.steps, len(self.run.timesteps)))
        calls = self.layer.calls * self.run.calls
        object.__setattr__(self, "calls", self._indices("calls", self.scope.calls, calls))
        if wrong := [branch for branch in self.scope.branches if branch not in branches]:
            allowed = ", ".join(branches) or "none, since this run is not guided"
            raise UserError(f"{self.name}: there is no branch {wrong[0]!r}; allowed: {allowed}")
        object.__setattr__(self, "region", Region(self.layer, self.scope.axes, self.name))

    def is_written(self, call: LayerCall) -> bool:
        """Whether the intervention applies to a call."""
        return call.network.step in self.steps and call.index in self.calls

    def rows(self, call: NetworkCall) -> list[int]:
        """The rows that are written in a call."""
        return call.rows(branches=self.scope.branches, samples=self.scope.samples)

    def _indices(self, argument: str, text: str | None, size: int) -> frozenset[int]:
        try:
            return frozenset(range(size) if text is None else parse_indices(text, size))
        except UserError as error:
            raise UserError(f"{self.name}: {argument} {error}") from error
