"""The branches of guidance in the calls of a pipeline: which rows are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.models.families import config_of, family_of
from denoscope.recording.pipelines.calls import Call

ORDER_READ = {
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
"""Parts of diffusers.pipelines whose code was read: a guided call of two branches has the order of the family."""


@dataclass(frozen=True)
class Branches:
    """How a step's calls of the network are shared out to branches.

    Each of `calls` calls holds `names` one behind the other or, where there are as many calls as names, one of
    them. `names` is empty where there is but one branch. Where they are `doubled`, the states x of the
    scheduler hold a copy for each branch.
    """

    names: tuple[str, ...] = ()
    calls: int = 1
    doubled: bool = False

    def samples(self, x: torch.Tensor) -> torch.Tensor:
        """The states x [n, …] of the samples, each once."""
        return x[: len(x) // len(self.names)] if self.doubled else x

    def apart(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """What was read in a step's calls, [rows, times, …] each, as [n, times, (branch), …]."""
        rows = torch.cat(list(parts))
        return rows.unflatten(0, (len(self.names), -1)).movedim(0, 2) if self.names else rows


def branches_of(
    pipe: Any, network: torch.nn.Module, calls: Sequence[Call], x: torch.Tensor, stated: Sequence[str] | None
) -> Branches:
    """The branches in the calls of the network that led to a step of the states x [rows, …].

    Raises: UserError if they do not fit what is `stated`, or nothing is stated and their order is not known.
    """
    if not calls:
        raise UserError(
            f"{type(pipe).__name__} made a step without a call of its {type(network).__name__}; nothing to record"
        )
    found = _stated(calls, x, stated) if stated is not None else _known(pipe, network, calls, x)
    if found is None:
        raise UserError(
            f"{type(pipe).__name__} calls its network with {' and '.join(str(call.rows) for call in calls)} rows "
            f"for states of {len(x)}"
            + (
                ", and in which order the branches of guidance stand there is not known; state it: "
                'ds.watch(…, branches="uncond,cond"), or cond,uncond'
                if stated is None
                else f", which are not those of branches {', '.join(stated) or 'none'}; state others, or none"
            )
        )
    return found


def check(stated: str | Sequence[str]) -> tuple[str, ...]:
    """The branches that somebody states, in one text or several; refused if they are no names that differ."""
    names = tuple(stated.split(",")) if isinstance(stated, str) else tuple(stated)
    wrong = not all(isinstance(name, str) and name for name in names)
    if wrong or len(set(names)) < len(names):
        raise UserError(f'branches is {stated!r}; allowed: names that differ, as "uncond,cond"')
    return names


def _stated(calls: Sequence[Call], x: torch.Tensor, names: Sequence[str]) -> Branches | None:
    kept, count, rows = tuple(names) if len(names) > 1 else (), max(1, len(names)), [c.rows for c in calls]
    if rows in ([count * len(x)], [len(x)] * count):
        return Branches(kept, len(rows))
    if rows == [len(x)] and _repeats(x, count):
        return Branches(kept, doubled=True)
    return None


def _known(pipe: Any, network: torch.nn.Module, calls: Sequence[Call], x: torch.Tensor) -> Branches | None:
    """The branches where there are none, or those that the family has in its own pipelines."""
    names, rows = family_of(network).branches, [call.rows for call in calls]
    if rows == [len(x)]:
        return Branches(names, doubled=True) if _is_doubled(network, calls[0], x) else Branches()
    known = names and _parts_of_diffusers(pipe) & ORDER_READ
    return Branches(names) if known and rows == [len(names) * len(x)] else None


def _is_doubled(network: torch.nn.Module, call: Call, x: torch.Tensor) -> bool:
    """Whether a DiT was called with its guidance: the same states again, under the class that stands for none."""
    labels = call.class_labels
    if family_of(network).name != "DiTTransformer2DModel" or labels is None or not _repeats(x, 2):
        return False
    return bool((labels[len(labels) // 2 :] == config_of(network)["num_embeds_ada_norm"]).all())


def _repeats(x: torch.Tensor, count: int) -> bool:
    """Whether the states x are the same rows so many times."""
    if len(x) % count:
        return False
    return all(torch.equal(part, x[: len(x) // count]) for part in x.chunk(count))


def _parts_of_diffusers(pipe: Any) -> set[str]:
    """The parts of diffusers.pipelines that the pipeline's class and those it is derived from come from."""
    modules = [kind.__module__.split(".") for kind in type(pipe).__mro__]
    return {names[2] for names in modules if names[:2] == ["diffusers", "pipelines"] and len(names) > 3}
