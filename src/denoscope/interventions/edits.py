"""One intervention at one address of a run: checked, and carried out where and when it applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from denoscope.foundation import random_streams
from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import parse
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import places
from denoscope.interventions import operands
from denoscope.interventions.network_call import Moment
from denoscope.interventions.operations import CHANGES, called
from denoscope.interventions.source_recording import Donor
from denoscope.interventions.spec import Intervention
from denoscope.interventions.state_region import AXES, Region
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.schedulers import Scheduler
from denoscope.models.solver_calls import stages

NUMBERS = ("set", "add", "scale", "project_out")
"""The kinds that take numbers."""


@dataclass(frozen=True)
class Run:
    """The run that interventions are made for: what of it decides what they write."""

    denoiser: Denoiser
    timesteps: tuple[float, ...]
    """Of each step."""
    calls: int
    """The most network calls of a step."""
    branches: tuple[str, ...]
    noise: Literal["common", "independent"]
    noise_seed: int
    streams: int = random_streams.STREAMS_VERSION

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
        streams: int = random_streams.STREAMS_VERSION,
    ) -> Run:
        schedule = stages(scheduler, steps)
        timesteps = [float(scheduler.timesteps[k]) for k, stage in enumerate(schedule) if stage.call == 0]
        calls = 1 + max(stage.call for stage in schedule)
        branches = denoiser.branches(condition)
        return cls(denoiser, tuple(timesteps), calls, branches, noise, noise_seed, streams)


class Edit:
    """One intervention at one address."""

    def __init__(self, item: Intervention, layer: Layer, run: Run, donor: Donor | None):
        self.item, self.layer, self.run, self.donor = item, layer, run, donor
        self.address = parse(layer.address)
        self.moment: Moment | None = None
        self.seen = 0
        self.where = f"{item.do if isinstance(item.do, str) else 'function'} at {layer.address}"
        if self.address.what == "diff" or self.address.before:
            raise UserError(f"{self.where}: :diff and :before are read, not written; name :in or :out")
        self.steps = self._places("steps", len(run.timesteps))
        self.calls = self._places("calls", layer.calls * run.calls)
        if wrong := [name for name in item.branches if name not in run.branches]:
            allowed = ", ".join(run.branches) or "none, since nothing guides this run"
            raise UserError(f"{self.where}: there is no branch {wrong[0]!r}; allowed: {allowed}")
        self.region = Region(layer, {name: getattr(item, name) for name in AXES}, self.where)
        self.mask = self.region.mask
        self.value = self.region.spread(operands.load(item.value)) if item.do in NUMBERS else None
        if item.do == "project_out":
            self._check_direction()
        if donor is not None:
            donor.check_run(run.denoiser.weights_hash, run.timesteps, sorted(self.steps), run.branches)
            donor.check_layer(layer)
            if isinstance(item.source, str):
                donor.check_samples([item.source])

    def check(self, names: Sequence[str]) -> None:
        item = self.item
        named = item.samples or (item.do == "swap" and not isinstance(item.source, str))
        if named and "" in names:
            raise UserError(f"{self.where}: samples are told apart by their names; give names=[…]")
        if item.do == "swap" and self.donor is not None:
            written = [name for name in names if not item.samples or name in item.samples]
            self.donor.check_samples([self.source(name) for name in written])

    def visit(self, state: torch.Tensor) -> torch.Tensor | None:
        """The state [rows, …] with what is written in it, None where this is not the time."""
        moment = self.moment
        if moment is None:
            return None
        call, self.seen = moment.call * self.layer.calls + self.seen, self.seen + 1
        if moment.step not in self.steps or call not in self.calls:
            return None
        rows = self.rows(moment)
        if not rows:
            return None
        planned = (len(moment.of_rows()), *(self.layer.shape or ()))
        if tuple(state.shape) != planned:
            raise UserError(
                f"{self.where}: the state has shape {list(state.shape)}, where {list(planned)} was planned"
            )
        change = called if callable(self.item.do) else CHANGES[self.item.do]
        return self._kept(change(self, state, moment, call), state, rows)

    def _kept(self, changed: torch.Tensor, state: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """What was changed in the chosen rows and places, the state as it was in all others."""
        where = self.mask
        if len(rows) < len(state):
            chosen = torch.zeros(len(state), *[1] * (state.ndim - 1), dtype=torch.bool)
            chosen[list(rows)] = True
            where = chosen if where is None else chosen & where
        return changed if where is None else torch.where(where.to(state.device), changed, state)

    def numbers(self, state: torch.Tensor) -> torch.Tensor:
        """The value as it meets a state: in its precision, on its device."""
        assert self.value is not None
        return self.value.to(state.device, state.dtype)

    def rows(self, moment: Moment) -> list[int]:
        """The rows that are written."""
        return moment.rows(branches=tuple(self.item.branches), samples=tuple(self.item.samples))

    def _check_direction(self) -> None:
        """Refuse what is no direction along the channels."""
        assert self.value is not None
        if self.value.numel() != self.value.shape[1 + self.region.channel] or not self.value.any():
            raise UserError(
                f"{self.where}: a direction has one number for each channel, not all zero; this value has shape "
                f"{list(self.value.shape[1:])}"
            )

    def source(self, name: str) -> str:
        """The sample of the recording that a sample gets its states from."""
        source = self.item.source
        return source if isinstance(source, str) else (source or {}).get(name, name)

    def _places(self, field: str, size: int) -> frozenset[int]:
        text = getattr(self.item, field)
        try:
            return frozenset(range(size) if text is None else places(text, size))
        except UserError as error:
            raise UserError(f"{self.where}: {field} {error}") from error
