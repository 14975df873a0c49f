"""Interventions as they are carried out: resolved for a denoiser, checked, and told when each call is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from denoscope import seeds, values
from denoscope.addresses import Address, parse
from denoscope.attention import Visitor
from denoscope.conditioning import NOTHING, Condition
from denoscope.denoiser import Denoiser
from denoscope.donors import Donor
from denoscope.errors import UserError
from denoscope.interventions import Intervention, as_plain, qualified_name
from denoscope.layers import Layer
from denoscope.moment import Moment
from denoscope.region import AXES, Region
from denoscope.selection import places
from denoscope.stages import stages


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

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        condition: Condition,
        *,
        steps: int,
        noise: Literal["common", "independent"],
        noise_seed: int,
    ) -> Run:
        scheduler = denoiser.new_scheduler(steps)
        schedule = stages(scheduler, steps)
        timesteps = [float(scheduler.timesteps[k]) for k, stage in enumerate(schedule) if stage.call == 0]
        calls = 1 + max(stage.call for stage in schedule)
        branches = denoiser.branches if condition.guided else ()
        return cls(denoiser, tuple(timesteps), calls, branches, noise, noise_seed)


class Writes:
    """All interventions of a run: visitors for `taps.tapped`, told before each call when it is.

    >>> writes = Writes.prepared(interventions, run)
    >>> with tapped(denoiser.network, denoiser.call, writes=writes.visits) as network:
    ...     writes.begin(moment)
    ...     network(x, timestep, {})

    `asked` is what was asked for, as in a plan, and `plain` what it comes to: addresses, and the SHA-256 of
    every value.
    """

    def __init__(
        self,
        edits: Sequence[_Edit] = (),
        asked: Sequence[Mapping[str, Any]] = (),
        plain: Sequence[Mapping[str, Any]] = (),
    ):
        self.edits, self.asked, self.plain = edits, asked, plain

    @classmethod
    def prepared(
        cls, interventions: Sequence[Intervention], run: Run, condition: Condition = NOTHING
    ) -> Writes:
        """Resolve the queries, read the values and check that all of it fits.

        Raises: UserError if a query names nothing, or a value, a place or a recording does not fit.
        """
        donors = {path: Donor(path) for item in interventions if (path := item.recording) is not None}
        edits, plain = [], []
        for item in interventions:
            layers = run.denoiser.chosen_layers(item.at, condition.inputs)
            donor = None if item.recording is None else donors[item.recording]
            made = [_Edit(item, layer, run, donor) for layer in layers]
            edits += made
            plain.append(_resolved(item, made))
        return cls(edits, [as_plain(item) for item in interventions], plain)

    @property
    def visits(self) -> list[tuple[Address, Visitor]]:
        return [(edit.address, edit.visit) for edit in self.edits]

    @property
    def moment(self) -> Moment | None:
        """When the present call is."""
        return self.edits[0].moment if self.edits else None

    def begin(self, moment: Moment | None) -> None:
        """Say when the next call of the network is."""
        for edit in self.edits:
            edit.moment, edit.seen = moment, 0

    def check(self, names: Sequence[str]) -> None:
        """Refuse samples of these names where a recording lacks theirs, or where they need names and have none."""
        for edit in self.edits:
            edit.check(names)


class _Edit:
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
        self.value = self.region.spread(values.load(item.value)) if _has_numbers(item) else None
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
            self.donor.check_samples([self._source(name) for name in written])

    def visit(self, state: torch.Tensor) -> torch.Tensor | None:
        """The state [rows, …] with what is written in it, None where this is not the time."""
        moment = self.moment
        if moment is None:
            return None
        call, self.seen = moment.call * self.layer.calls + self.seen, self.seen + 1
        if moment.step not in self.steps or call not in self.calls:
            return None
        rows = self._rows(moment)
        if not rows:
            return None
        planned = (len(moment.of_rows()), *(self.layer.shape or ()))
        if tuple(state.shape) != planned:
            raise UserError(
                f"{self.where}: the state has shape {list(state.shape)}, where {list(planned)} was planned"
            )
        change = _function if callable(self.item.do) else CHANGES[self.item.do]
        return self._kept(change(self, state, moment, call), state, rows)

    def _kept(self, changed: torch.Tensor, state: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """What was changed in the chosen rows and places, the state as it was in all others."""
        where = self.region.mask
        if len(rows) < len(state):
            chosen = torch.zeros(len(state), *[1] * (state.ndim - 1), dtype=torch.bool)
            chosen[list(rows)] = True
            where = chosen if where is None else chosen & where
        return changed if where is None else torch.where(where.to(state.device), changed, state)

    def numbers(self, state: torch.Tensor) -> torch.Tensor:
        """The value as it meets a state: in its precision, on its device."""
        assert self.value is not None
        return self.value.to(state.device, state.dtype)

    def donated(self, moment: Moment, call: int, state: torch.Tensor) -> torch.Tensor:
        """What the recording has for each row, laid out as the state is."""
        assert self.donor is not None
        rows, address = moment.of_rows(), self.layer.address
        if self.item.do == "ablate":
            found = self.donor.means(address, moment.step, call, rows)
        else:
            written = {rows[row][1] for row in self._rows(moment)}
            # A sample that stays as it is may have no source.
            spare = self._source(min(written))
            sources = {name: self._source(name) if name in written else spare for _, name in rows}
            found = self.donor.states(address, moment.step, call, rows, sources)
        return _laid_out_as(state, found)

    def drawn(self, moment: Moment, call: int, state: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers for each row, of a stream of their own for each sample, step, call and address."""
        purpose = f"noise at {self.layer.address}, call {call}"
        names = [name for _, name in moment.of_rows()]
        common = self.run.noise == "common"
        streams = {
            name: seeds.generator(
                purpose if common else f"{purpose}, of {name}", self.run.noise_seed, moment.step
            )
            for name in dict.fromkeys([""] if common else names)
        }
        wide = torch.promote_types(state.dtype, torch.float32)
        draws = {
            name: torch.randn(state.shape[1:], generator=stream, dtype=wide)
            for name, stream in streams.items()
        }
        return _laid_out_as(state, torch.stack([draws["" if common else name] for name in names]))

    def _rows(self, moment: Moment) -> list[int]:
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

    def _source(self, name: str) -> str:
        """The sample of the recording that a sample gets its states from."""
        source = self.item.source
        return source if isinstance(source, str) else (source or {}).get(name, name)

    def _places(self, field: str, size: int) -> frozenset[int]:
        text = getattr(self.item, field)
        try:
            return frozenset(range(size) if text is None else places(text, size))
        except UserError as error:
            raise UserError(f"{self.where}: {field} {error}") from error


Change = Callable[[_Edit, torch.Tensor, Moment, int], torch.Tensor]


def _set(edit: _Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return _laid_out_as(state, edit.numbers(state))


def _add(edit: _Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return state + edit.numbers(state)


def _scale(edit: _Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return state * edit.numbers(state)


def _ablate(edit: _Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    if edit.donor is not None:
        return edit.donated(moment, call, state)
    if edit.item.value != "mean":
        return torch.zeros_like(state)
    positions = edit.region.positions
    return _row_by_row(state, lambda row: row.mean(positions, keepdim=True) if positions else row)


def _swap(edit: _Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    return edit.donated(moment, call, state)


def _project_out(edit: _Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    direction = edit.numbers(state)[0]
    wide = torch.promote_types(state.dtype, torch.float32)
    unit = direction.to(wide) / torch.linalg.vector_norm(direction.to(torch.float64)).to(wide)
    return _row_by_row(state, lambda row: row - (row * unit).sum(edit.region.channel, keepdim=True) * unit)


def _noise(edit: _Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    return state + edit.drawn(moment, call, state) * edit.item.value


def _function(edit: _Edit, state: torch.Tensor, moment: Moment, _call: int) -> torch.Tensor:
    assert callable(edit.item.do)
    changed = edit.item.do(state.clone(), moment)
    if not isinstance(changed, torch.Tensor) or changed.shape != state.shape:
        found = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
        raise UserError(
            f"{qualified_name(edit.item.do)} at {edit.layer.address} returned {found} for a state of shape "
            f"{list(state.shape)}; needed is that shape"
        )
    return changed.to(state.device, state.dtype)


CHANGES: Mapping[str, Change] = {
    "set": _set,
    "add": _add,
    "scale": _scale,
    "ablate": _ablate,
    "swap": _swap,
    "project_out": _project_out,
    "noise": _noise,
}


def _row_by_row(state: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The change of each row by itself: the last bits of a sum over a batch depend on how many rows there are."""
    wide = torch.promote_types(state.dtype, torch.float32)
    rows = torch.stack([change(row.to(wide).contiguous()).expand(row.shape) for row in state])
    return _laid_out_as(state, rows)


def _laid_out_as(state: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The numbers in the state's shape, precision and order in memory, on which the next layer's bits may depend."""
    return torch.empty_like(state).copy_(numbers.expand(state.shape))


def _has_numbers(item: Intervention) -> bool:
    return not callable(item.do) and item.do in ("set", "add", "scale", "project_out")


def _resolved(item: Intervention, edits: Sequence[_Edit]) -> dict[str, Any]:
    """An intervention as JSON, with addresses for queries and with hashes for what it takes."""
    found = as_plain(item) | {"at": [edit.layer.address for edit in edits]}
    if edits and edits[0].donor is not None:
        found["value"] = {"recording": edits[0].donor.identity}
    elif _has_numbers(item):
        found["value"] = values.told(values.load(item.value))
    return found


NONE = Writes()
