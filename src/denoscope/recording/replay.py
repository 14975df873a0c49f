"""How a recording was made, from its attributes: to make its samples again, or others in the same way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import version_of
from denoscope.foundation.validation import describe
from denoscope.hooks.taps import tapped
from denoscope.interventions.spec import Intervention, from_plain
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from denoscope.models.schedulers import scheduler_from
from denoscope.recording import planning, recording
from denoscope.recording.recording import Recording
from denoscope.sampling.loop import Loop, Step, steps_of
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.plan import COMPLETE


def opened(rec: Recording | str | os.PathLike[str]) -> Recording:
    """A recording, from that or its path."""
    if isinstance(rec, Recording):
        return rec
    if not isinstance(rec, (str, os.PathLike)):
        raise UserError(
            f"recording is {describe(rec)}; needed is one as ds.open and ds.record give it, or its path"
        )
    return recording.open(rec)


def denoiser_of(rec: Recording, *, source: Any = None, device: str = SystemConfig.device) -> Denoiser:
    """The denoiser that a recording was made with.

    Args:
        source: what it is loaded from, as `load` takes it; the model that the recording names unless given. One that
            was made from a module in Python has to be given.

    Raises: UserError if a pipeline made it, or the weights are no longer the same.
    """
    need_loop(rec)
    stored, name = rec.attrs["fingerprint"], rec.attrs["model"]
    if source is None and name == stored["network"].rpartition(".")[2]:
        raise UserError(
            f"{rec.path} was recorded from a {name} made in Python, which it does not hold; give it in Python: as "
            "source=module to ds.verify.store, or as denoiser=ds.load(module, …) to a measure"
        )
    denoiser = load(
        name if source is None else source,
        scheduler=scheduler_from(stored["scheduler"], stored["scheduler_config"]),
        shape=tuple(stored["shape"]),
        dtype=stored["dtype"],
        device=device,
    )
    if denoiser.weights_hash != stored["weights_sha256"]:
        raise UserError(f"{rec.path} was made with other weights than {name!r} has now")
    return denoiser


def options_of(rec: Recording) -> InferenceConfig:
    """Its options, the layers by their addresses; what was written stands in `interventions_of`."""
    known = {item.name for item in fields(InferenceConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in rec.attrs["config"].items()
        if name in known
    }
    return InferenceConfig(
        **values | {"layers": tuple(rec.attrs["fingerprint"]["layers"]), "intervene": None}
    )


def loop_of(rec: Recording) -> Loop:
    """The loop that a recording was made by, with the random streams of then."""
    streams = version_of(rec.attrs["fingerprint"])
    return Loop.of(options_of(rec), rec.attrs["config"]["noise_seed"], streams=streams)


def condition_of(rec: Recording, samples: Sequence[str], denoiser: Denoiser) -> Condition:
    """What samples were denoised under, had again from classes and files.

    Raises: UserError if it was given in Python.
    """
    options = options_of(rec)
    if rec.attrs.get("condition") and not (options.labels or options.condition):
        raise UserError(
            f"{rec.path} was recorded under a condition given in Python, which it does not hold; its samples cannot "
            "be computed again"
        )
    stored = rec.dataset["sample"].to_numpy().tolist()
    return planning.condition_of(denoiser, options).of([stored.index(name) for name in samples])


def interventions_of(rec: Recording) -> list[Intervention]:
    """What was written into the states on the way.

    Raises: UserError if a function did, or a tensor that no file holds.
    """
    try:
        return from_plain(rec.attrs.get("interventions", []), Path())
    except UserError as error:
        raise UserError(f"{rec.path}: {error}; its samples cannot be computed again") from error


def need_loop(rec: Recording) -> None:
    """Refuse a recording of a pipeline's call."""
    if pipeline := rec.attrs.get("pipeline"):
        raise UserError(
            f"{rec.path} was recorded from a {pipeline} call, which cannot be made again from what is stored of it; "
            "its checksums can be checked: denoscope verify store, without --recompute"
        )


def need_finished(rec: Recording) -> None:
    """Refuse a recording that lacks samples."""
    if not rec.dataset[COMPLETE].to_numpy().all():
        raise UserError(f"{rec.path} is not finished; {how_to_finish(rec.attrs)}")


def first_states(rec: Recording, samples: Sequence[str]) -> torch.Tensor:
    """The states [n, C, H, W] before step 0, from which `steps_of` goes on with `begin=0`.

    They are x_T times the scheduler's first σ: to divide by that and multiply again could change their last bits.

    Raises: UserError if the recording holds final images only.
    """
    return torch.from_numpy(rec.sequence.isel(state=0).sel(sample=list(samples)).to_numpy())


@torch.no_grad()
def steps_again(rec: Recording, samples: Sequence[str], denoiser: Denoiser) -> Iterator[Step]:
    """The steps of samples denoised again as they were, with all that they were told and that was written."""
    need_loop(rec)
    loop = loop_of(rec)
    x, condition = first_states(rec, samples), condition_of(rec, samples, denoiser)
    writes = loop.writes(denoiser, interventions_of(rec), condition)
    with tapped(denoiser.network, denoiser.call, writes=writes.visits) as network:
        yield from steps_of(denoiser, network, x, loop, samples, condition, writes, begin=0)
