"""How a recording was made, from its attributes: to compute its samples again, or others in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import version_of
from denoscope.hooks.taps import tapped
from denoscope.interventions.plan_file import from_json
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from denoscope.models.schedulers import scheduler_from
from denoscope.recording import planning
from denoscope.recording.recording import Recording
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop
from denoscope.sampling.step import Step


def denoiser_of(rec: Recording, *, source: Any = None, device: str = SystemConfig.device) -> Denoiser:
    """The denoiser that a recording was made with.

    Args:
        source: what it is loaded from, as in `ds.load`; by default the model that the recording names. A model that
            was built in Python must be given.

    Raises: UserError if a pipeline made the recording, or the weights have changed.
    """
    check_loop(rec)
    stored, name = rec.attrs["fingerprint"], rec.attrs["model"]
    if source is None and name == stored["network"].rpartition(".")[2]:
        raise UserError(
            f"{rec.location} was recorded from a {name} that was built in Python, which it does not hold; give it in Python: as "
            "source=module to verify.store, or as denoiser=ds.load(module, …) to a measure"
        )
    denoiser = load(
        name if source is None else source,
        scheduler=scheduler_from(stored["scheduler"], stored["scheduler_config"]),
        shape=tuple(stored["shape"]),
        dtype=stored["dtype"],
        device=device,
    )
    if denoiser.weights_hash != stored["weights_sha256"]:
        raise UserError(f"{rec.location} was recorded with other weights than {name!r} has now")
    return denoiser


def options_of(rec: Recording) -> InferenceConfig:
    """The options of a recording, with addresses as layers and without interventions (see `interventions_of`)."""
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
    """The loop that a recording was made with, with the random streams of its time.

    Raises: UserError if it begins with an image.
    """
    check_loop(rec)
    streams = version_of(rec.attrs["fingerprint"])
    return Loop.of(options_of(rec), rec.attrs["config"]["noise_seed"], streams=streams)


def condition_of(rec: Recording, samples: Sequence[str], denoiser: Denoiser) -> Condition:
    """The condition of samples, built again from classes and files.

    Raises: UserError if it was given in Python.
    """
    options = options_of(rec)
    if rec.attrs.get("condition") and not (options.labels or options.condition):
        raise UserError(
            f"{rec.location} was recorded under a condition given in Python, which it does not hold; its samples cannot be "
            "computed again"
        )
    stored = rec.samples
    return planning.condition_of(denoiser, options).of([stored.index(name) for name in samples])


def interventions_of(rec: Recording) -> list[Intervention]:
    """The interventions of a recording.

    Raises: UserError if one of them is a function, or a tensor that no file holds.
    """
    try:
        return from_json(rec.attrs.get("interventions", []), Path())
    except UserError as error:
        raise UserError(f"{rec.location}: {error}; its samples cannot be computed again") from error


def check_loop(rec: Recording) -> None:
    """Refuse a recording of a pipeline's call, and one that begins with an image."""
    if pipeline := rec.attrs.get("pipeline"):
        raise UserError(
            f"{rec.location} was recorded from a {pipeline} call, whose samples cannot be computed again from what is stored; "
            "its checksums can be verified: denoscope verify store, without --recompute"
        )
    if "image" in rec.attrs["fingerprint"]:
        raise UserError(
            f"{rec.location} begins with an image with noise, which it does not hold without the noise; its samples cannot be "
            "computed again"
        )


def first_states(rec: Recording, samples: Sequence[str]) -> torch.Tensor:
    """The states [n, C, H, W] before step 0, from which `steps_of` continues with `begin=0`.

    They are x_T times the scheduler's first σ: dividing by σ and multiplying again could change their last bits.

    Raises: UserError if only final images were recorded.
    """
    return torch.from_numpy(rec.sequence.isel(state=0).sel(sample=list(samples)).to_numpy())


@torch.no_grad()
def steps_again(rec: Recording, samples: Sequence[str], denoiser: Denoiser) -> Iterator[Step]:
    """The steps of samples, computed again under their condition and with the recording's interventions."""
    check_loop(rec)
    loop, condition = loop_of(rec), condition_of(rec, samples, denoiser)
    x, applied = first_states(rec, samples), loop.applied(denoiser, interventions_of(rec), condition)
    with tapped(denoiser.network, denoiser.call) as network:
        yield from steps_of(denoiser, network, x, loop, samples, condition, applied, begin=0)
