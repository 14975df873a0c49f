"""What each kind of intervention makes of a layer's states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from denoscope.foundation import random_streams
from denoscope.foundation.errors import UserError
from denoscope.interventions.network_call import Moment
from denoscope.interventions.spec import qualified_name

if TYPE_CHECKING:
    from denoscope.interventions.edits import Edit

Change = Callable[["Edit", torch.Tensor, Moment, int], torch.Tensor]
"""Of (edit, state [rows, …], when it is, which call of the step) to the state with all of it written."""


def _set(edit: Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return _laid_out_as(state, edit.numbers(state))


def _add(edit: Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return state + edit.numbers(state)


def _scale(edit: Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    return state * edit.numbers(state)


def _ablate(edit: Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    if edit.donor is not None:
        return _donated(edit, moment, call, state)
    if edit.item.value != "mean":
        return torch.zeros_like(state)
    positions = edit.region.positions
    return _row_by_row(state, lambda row: row.mean(positions, keepdim=True) if positions else row)


def _swap(edit: Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    return _donated(edit, moment, call, state)


def _project_out(edit: Edit, state: torch.Tensor, _moment: Moment, _call: int) -> torch.Tensor:
    direction = edit.numbers(state)[0]
    wide = torch.promote_types(state.dtype, torch.float32)
    unit = direction.to(wide) / torch.linalg.vector_norm(direction.to(torch.float64)).to(wide)
    return _row_by_row(state, lambda row: row - (row * unit).sum(edit.region.channel, keepdim=True) * unit)


def _noise(edit: Edit, state: torch.Tensor, moment: Moment, call: int) -> torch.Tensor:
    return state + _drawn(edit, moment, call, state) * edit.item.value


def called(edit: Edit, state: torch.Tensor, moment: Moment, _call: int) -> torch.Tensor:
    """What a user's function answers."""
    assert callable(edit.item.do)
    changed = edit.item.do(state.clone(), moment)
    if not isinstance(changed, torch.Tensor) or changed.shape != state.shape:
        found = list(changed.shape) if isinstance(changed, torch.Tensor) else type(changed).__name__
        raise UserError(
            f"{qualified_name(edit.item.do)} at {edit.layer.address} returned {found} for a state of shape "
            f"{list(state.shape)}; needed is that shape"
        )
    return changed.to(state.device, state.dtype)


def _donated(edit: Edit, moment: Moment, call: int, state: torch.Tensor) -> torch.Tensor:
    """What the recording has for each row, laid out as the state is."""
    assert edit.donor is not None
    rows, address = moment.of_rows(), edit.layer.address
    if edit.item.do == "ablate":
        found = edit.donor.means(address, moment.step, call, rows)
    else:
        written = {rows[row][1] for row in edit.rows(moment)}
        # A sample that stays as it is may have no source.
        spare = edit.source(min(written))
        sources = {name: edit.source(name) if name in written else spare for _, name in rows}
        found = edit.donor.states(address, moment.step, call, rows, sources)
    return _laid_out_as(state, found)


def _drawn(edit: Edit, moment: Moment, call: int, state: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers for each row, of a stream of their own for each sample, step, call and address."""
    purpose = f"noise at {edit.layer.address}, call {call}"
    names = [name for _, name in moment.of_rows()]
    common = edit.run.noise == "common"
    streams = {
        name: random_streams.stream(
            purpose, edit.run.noise_seed, moment.step, name=name, version=edit.run.streams
        )
        for name in dict.fromkeys([""] if common else names)
    }
    wide = torch.promote_types(state.dtype, torch.float32)
    draws = {
        name: torch.randn(state.shape[1:], generator=stream, dtype=wide) for name, stream in streams.items()
    }
    return _laid_out_as(state, torch.stack([draws["" if common else name] for name in names]))


def _row_by_row(state: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The change of each row by itself: the last bits of a sum over a batch depend on how many rows there are."""
    wide = torch.promote_types(state.dtype, torch.float32)
    rows = torch.stack([change(row.to(wide).contiguous()).expand(row.shape) for row in state])
    return _laid_out_as(state, rows)


def _laid_out_as(state: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The numbers in the state's shape, precision and order in memory, on which the next layer's bits may depend."""
    return torch.empty_like(state).copy_(numbers.expand(state.shape))


CHANGES: Mapping[str, Change] = {
    "set": _set,
    "add": _add,
    "scale": _scale,
    "ablate": _ablate,
    "swap": _swap,
    "project_out": _project_out,
    "noise": _noise,
}
