"""Where a recording comes from, and everything that decides its bits."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoscope.config import InferenceConfig
from denoscope.foundation.dtypes import name_of
from denoscope.interventions.applied import NO_INTERVENTIONS, Applied
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.probe import probe_sha256
from denoscope.models.schedulers import config_of
from denoscope.models.weights_hash import weights_sha256
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.inputs import RunInputs
from denoscope.sampling.settings import Loop
from denoscope.storage.plan import FORMAT, FORMAT_VERSION

LIBRARIES = ("denoscope", "torch", "diffusers", "numpy", "zarr")
NUMERIC = ("torch", "diffusers", "numpy")
STATE_OPTIONS = ("every", "channels", "height", "width", "reduce", "flatten", "state_dtype", "codec")
"""Options that decide what is stored of a layer's state, in denoscope's loop and in pipelines alike."""

STORED = ("extract_states", *STATE_OPTIONS)
"""Options that decide what a recording stores."""

OWN_SCHEDULE = ("timesteps", "sigmas")
"""Options that stand in attributes and fingerprints only if they are given, as in recordings made before they existed."""

EARLIER_WORK = ("resume", "overwrite")
"""Options that say what to do with an existing recording; they do not affect how one is made."""


def fingerprint(
    denoiser: Denoiser,
    loop: Loop,
    condition: Condition = NOTHING,
    *,
    layers: Sequence[str] = (),
    applied: Applied = NO_INTERVENTIONS,
    stored: Mapping[str, Any] | None = None,
    fast: bool = False,
) -> dict[str, Any]:
    """Everything that decides the stored bits of a sample, except the sample's own inputs.

    Samples of equal fingerprints have equal bytes for any batch size, order and number of inputs, subset, resume point
    and number of processes.

    Args:
        layers: the addresses that are recorded.
        stored: what is stored, by the names of `STORED` (see `stored_of`); the final images alone unless given.
        fast: whether the network is compiled.
    """
    return _plain(
        {
            "network": class_name(denoiser.network),
            "weights_sha256": denoiser.weights_hash,
            "probe_sha256": probe_sha256(denoiser, loop.lanes, condition.blank, tf32=loop.tf32),
            "scheduler": type(denoiser.scheduler).__name__,
            "scheduler_config": config_of(denoiser.scheduler),
            "shape": denoiser.shape,
            "layers": list(layers),
            "guidance_scale": condition.scale if condition.guided else None,
            # What older versions did not have is included only if it is used, so that their recordings can be resumed.
            **({"interventions": applied.resolved} if applied.resolved else {}),
            **_streams_entry(denoiser, applied, loop.streams),
            **{name: getattr(loop, name) for name in OWN_SCHEDULE if getattr(loop, name)},
            **({"image": loop.start.described} if loop.start else {}),
            "num_steps": loop.steps,
            "lanes": loop.lanes,
            "noise": loop.noise,
            "noise_seed": loop.noise_seed,
            "sampler_dtype": loop.sampler_dtype,
            "tf32": loop.tf32,
            "fast": fast,
            **(_final_images() if stored is None else stored),
            **_machine(denoiser.dtype, denoiser.device),
        }
    )


def stored_of(options: InferenceConfig) -> dict[str, Any]:
    """What a recording with these options stores."""
    estimates = {"extract_estimates": True} if options.extract_estimates else {}
    return {name: getattr(options, name) for name in STORED} | estimates


def _final_images() -> dict[str, Any]:
    return {name: getattr(InferenceConfig, name) for name in STORED} | {"extract_states": False}


def _streams_entry(denoiser: Denoiser, applied: Applied, streams: int) -> dict[str, int]:
    """The version of the random streams if it decides bits; version 1 is left out."""
    draws = denoiser.is_stochastic or applied.draws
    return {"streams": streams} if draws and streams > 1 else {}


def device_name(device: torch.device) -> str:
    """The kind of device."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def class_name(network: nn.Module) -> str:
    """The module and the name of a network's class."""
    return f"{type(network).__module__}.{type(network).__qualname__}"


def inputs_sha256(x: NoiseSet, condition: Condition = NOTHING) -> str:
    """SHA-256 over the names and values of all noises, and over the condition."""
    digest = hashlib.sha256()
    for index, name in enumerate(x.names):
        digest.update(name.encode() + b"\0")
        digest.update(x.tensor(index).contiguous().numpy().tobytes())
    if condition.inputs:
        digest.update(condition.digest().encode())
    return digest.hexdigest()


def fingerprint_of(inputs: RunInputs, options: InferenceConfig) -> dict[str, Any]:
    """The fingerprint of a recording."""
    return fingerprint(
        inputs.denoiser,
        inputs.loop,
        inputs.condition,
        layers=inputs.addresses,
        applied=inputs.applied,
        stored=stored_of(options),
        fast=options.fast,
    )


def attributes(inputs: RunInputs, options: InferenceConfig) -> dict[str, Any]:
    """The attributes of a recording, as plain JSON values."""
    denoiser, loop, applied = inputs.denoiser, inputs.loop, inputs.applied
    made_by = fingerprint_of(inputs, options)
    config = {
        name: value
        for name, value in vars(options).items()
        if name not in EARLIER_WORK and (value or name not in OWN_SCHEDULE)
    }
    return _plain(
        _common(
            model=_location(denoiser),
            scheduler=type(denoiser.scheduler).__name__,
            config=config | {"noise_seed": loop.noise_seed},
            fingerprint=made_by,
        )
        | {
            **_streams_entry(denoiser, applied, loop.streams),
            "inputs": dict(inputs.x.parameters),
            "condition": list(inputs.condition.inputs),
            **({"interventions": applied.requested} if applied.requested else {}),
            "inputs_sha256": inputs_sha256(inputs.x, inputs.condition),
        }
    )


def of_pipeline(
    pipe: Any,
    network: nn.Module,
    layers: Sequence[str],
    options: InferenceConfig,
    noise_seed: int,
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """The attributes of a recording of a pipeline's call, as plain JSON values.

    They do not hold the pipeline's prompts and random numbers, so that its samples cannot be computed again from them.

    Args:
        run: properties observed in the call, all of which become part of the fingerprint.
    """
    parameter = next(network.parameters(), torch.empty(0))
    offloaded = any(tensor.is_meta for tensor in network.state_dict().values())
    parts = {name: getattr(options, name) for name in STATE_OPTIONS}
    made_by = {
        "pipeline": type(pipe).__name__,
        "network": class_name(network),
        # Offloaded weights, which are loaded module by module, cannot be read from here.
        "weights_sha256": None if offloaded else weights_sha256(network),
        "scheduler": type(pipe.scheduler).__name__,
        "scheduler_config": config_of(pipe.scheduler),
        "layers": list(layers),
        **run,
        **parts,
        "noise_seed": noise_seed,
        **_machine(parameter.dtype, parameter.device),
    }
    config = {"layers": options.layers, "num_steps": run["steps"], **parts, "noise_seed": noise_seed}
    return _plain(
        _common(
            model=type(pipe).__name__,
            scheduler=type(pipe.scheduler).__name__,
            config=config,
            fingerprint=made_by,
        )
        | {"pipeline": type(pipe).__name__, "layer_folders": {}}
    )


def _machine(dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """What computes: precision, device, threads and libraries."""
    return {
        "dtype": name_of(dtype),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **{name: _version(name) for name in NUMERIC},
    }


@functools.cache
def _version(library: str) -> str:
    """The installed version of a library; finding it takes milliseconds."""
    return importlib.metadata.version(library)


def _common(**described: Any) -> dict[str, Any]:
    """The attributes of every recording."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **described,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
    }


def _location(denoiser: Denoiser) -> str:
    """The name of a model, or the absolute path of a folder or file, which is valid in every working directory."""
    is_path = not denoiser.bundled and Path(denoiser.name).exists()
    return str(Path(denoiser.name).resolve()) if is_path else denoiser.name


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(content, default=str))
