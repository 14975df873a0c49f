"""One denoising step of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from denoscope.foundation import html_repr


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One denoising step of a batch: step `index` turns `x_before` into `x_after`, both [n, C, H, W].

    `states` maps each tapped layer to its states [n, …]. An axis `call` follows, [n, call, …], if a step calls the layer
    more than once, then one for `branches` under guidance; NaN stands for a call that is not made.

    `model_output`, and `x_0_estimate`, the scheduler's estimate of x_0, belong to `x_before`: to the first network call
    of the step. The estimate is None if the scheduler makes none (see `schedulers.estimate_of`).
    """

    index: int
    timestep: float
    sigma: float
    x_before: torch.Tensor
    x_after: torch.Tensor
    model_output: torch.Tensor
    x_0_estimate: torch.Tensor | None
    states: Mapping[str, torch.Tensor] = field(default_factory=dict)
    branches: tuple[str, ...] = ()
    calls: int = 1
    """Network calls of this step."""
    most_calls: int = 1
    """The largest number of network calls in any step: a scheduler of order 2 makes two, but one in the last step."""
    skipped: tuple[str, ...] = ()
    """Layers that were not called as often as planned, whose states are NaN."""

    def __repr__(self) -> str:
        layers = f", states={list(self.states)}" if self.states else ""
        return f"<Step {self.index}: timestep={self.timestep:g}, sigma={self.sigma:.4g}, x {list(self.x_after.shape)}{layers}>"

    def _repr_html_(self) -> str:
        rows = {"timestep": f"{self.timestep:g}", "sigma": f"{self.sigma:.4g}", "x": list(self.x_after.shape)}
        rows |= {name: list(state.shape) for name, state in self.states.items()}
        picture = html_repr.thumbnail(self.x_after[0, 0].detach().float().cpu().numpy())
        return html_repr.table(f"Step {self.index}", rows, picture=picture)


def joined(parts: Sequence[Step]) -> Step:
    """The step of a whole batch, from those of its parts."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    estimates = [part.x_0_estimate for part in parts if part.x_0_estimate is not None]
    return Step(
        index=first.index,
        timestep=first.timestep,
        sigma=first.sigma,
        x_before=torch.cat([part.x_before for part in parts]),
        x_after=torch.cat([part.x_after for part in parts]),
        model_output=torch.cat([part.model_output for part in parts]),
        x_0_estimate=torch.cat(estimates) if estimates else None,
        states={address: torch.cat([part.states[address] for part in parts]) for address in first.states},
        branches=first.branches,
        calls=first.calls,
        most_calls=first.most_calls,
        skipped=tuple(dict.fromkeys(name for part in parts for name in part.skipped)),
    )
