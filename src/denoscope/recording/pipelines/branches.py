"""The branches of guidance in the calls of a pipeline: which rows belong to which branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.models.families import config_of, family_of
from denoscope.recording.pipelines.calls import ObservedCall

KNOWN_ORDER = {
    "controlnet",
    "controlnet_sd3",
    "dit",
    "kolors",
    "latent_consistency_models",
    "pixart_alpha",
    "stable_diffusion",
    "stable_diffusion_3",
    "stable_diffusion_xl",
    "t2i_adapter",
}
"""Parts of diffusers.pipelines whose code was checked: their guided calls have the branches in the family's order."""


@dataclass(frozen=True)
class Branches:
    """How the branches of guidance are distributed over the calls of a step.

    Each of `calls` calls holds all `names` one after the other or, if there are as many calls as names, one of them.
    `names` is empty if there is one branch. If the branches are `doubled`, the states x of the scheduler hold a copy
    for each branch.
    """

    names: tuple[str, ...] = ()
    calls: int = 1
    doubled: bool = False

    def samples(self, x: torch.Tensor) -> torch.Tensor:
        """The states x [n, …] of the samples, each once."""
        return x[: len(x) // len(self.names)] if self.doubled else x

    def split(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The states of a step's calls, [rows, times, …] each, as [n, times, (branch), …]."""
        rows = torch.cat(list(parts))
        return rows.unflatten(0, (len(self.names), -1)).movedim(0, 2) if self.names else rows


def branches_of(
    pipe: Any,
    network: torch.nn.Module,
    calls: Sequence[ObservedCall],
    x: torch.Tensor,
    stated: Sequence[str] | None,
) -> Branches:
    """The branches in the calls of the network that led to a step of the states x [rows, …].

    Raises: UserError if the calls do not fit the `stated` branches, or none are stated and their order is unknown.
    """
    if not calls:
        raise UserError(
            f"{type(pipe).__name__} made a step without a call of its {type(network).__name__}; nothing to record"
        )
    branches = _known(pipe, network, calls, x) if stated is None else _stated(calls, x, stated)
    if branches is None:
        rows = " and ".join(str(call.rows) for call in calls)
        received = f"{type(pipe).__name__} calls its network with {rows} rows for states of {len(x)}"
        if stated is None:
            example = spelled("branches", "uncond,cond")
            raise UserError(
                f"{received}, and the order of the branches of guidance in them is unknown; state it: "
                f"ds.watch(…, {example}), or cond,uncond"
            )
        names = ",".join(stated)
        raise UserError(f"{received}, which do not fit {spelled('branches', names)}; state others, or none")
    return branches


def parse_branches(stated: str | Sequence[str]) -> tuple[str, ...]:
    """The names of branches, from one text or several.

    Raises: UserError if they are empty or not all different.
    """
    names = tuple(stated.split(",")) if isinstance(stated, str) else tuple(stated)
    wrong = not all(isinstance(name, str) and name for name in names)
    if wrong or len(set(names)) < len(names):
        raise UserError(
            f'{spelled("branches")} is {stated!r}; allowed: different names, such as "uncond,cond"'
        )
    return names


def _stated(calls: Sequence[ObservedCall], x: torch.Tensor, names: Sequence[str]) -> Branches | None:
    branches, count = tuple(names) if len(names) > 1 else (), max(1, len(names))
    rows = [call.rows for call in calls]
    if rows in ([count * len(x)], [len(x)] * count):
        return Branches(branches, len(rows))
    if rows == [len(x)] and _repeats(x, count):
        return Branches(branches, doubled=True)
    return None


def _known(
    pipe: Any, network: torch.nn.Module, calls: Sequence[ObservedCall], x: torch.Tensor
) -> Branches | None:
    """No branches where a call has a row for each state, else those of the family in its own pipelines."""
    names, rows = family_of(network).branches, [call.rows for call in calls]
    if rows == [len(x)]:
        return Branches(names, doubled=True) if _is_doubled(network, calls[0], x) else Branches()
    known = names and _parts_of_diffusers(pipe) & KNOWN_ORDER
    return Branches(names) if known and rows == [len(names) * len(x)] else None


def _is_doubled(network: torch.nn.Module, call: ObservedCall, x: torch.Tensor) -> bool:
    """Whether a DiT was called with guidance: the same states twice, the second time under its null class."""
    labels = call.class_labels
    if family_of(network).name != "DiTTransformer2DModel" or labels is None or not _repeats(x, 2):
        return False
    return bool((labels[len(labels) // 2 :] == config_of(network)["num_embeds_ada_norm"]).all())


def _repeats(x: torch.Tensor, count: int) -> bool:
    """Whether the states x are `count` copies of the same rows."""
    if len(x) % count:
        return False
    return all(torch.equal(part, x[: len(x) // count]) for part in x.chunk(count))


def _parts_of_diffusers(pipe: Any) -> set[str]:
    """The parts of diffusers.pipelines that define the pipeline's class and its base classes."""
    modules = [kind.__module__.split(".") for kind in type(pipe).__mro__]
    return {names[2] for names in modules if names[:2] == ["diffusers", "pipelines"] and len(names) > 3}
