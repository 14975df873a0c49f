"""Denoisers from whatever a user of diffusers has: a name, a folder, a hub id, a pipeline, a module."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoscope.config import ModelConfig, SystemConfig
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.spelling import spelled
from denoscope.foundation.threads import threads_set_to
from denoscope.foundation.validation import describe
from denoscope.hooks.module_survey import unwrapped
from denoscope.models import bundled, hub, matmul_precision, model_folder, schedulers, sources, weight_files
from denoscope.models.denoiser import Denoiser, Shape
from denoscope.models.families import (
    ANY_MODULE,
    FAMILIES,
    Config,
    Family,
    config_of,
    dtype_of,
    known_family,
    precisions_of,
)
from denoscope.models.running import outside_inference_mode
from denoscope.models.scheduler_names import scheduler_class
from denoscope.models.schedulers import Scheduler
from denoscope.models.sources import LoadCall, ModelFiles, absolute

LOGGER = logging.getLogger(__name__)
DTYPES = "float16, bfloat16, float32, float64"


@arguments_checked
@outside_inference_mode
def load(
    source: Any,
    *,
    scheduler: str | Any | None = None,
    shape: Shape | None = None,
    dtype: torch.dtype | str | None = None,
    device: str = SystemConfig.device,
    clip_sample: bool | None = None,
    variant: str | None = None,
    config: ModelConfig | None = None,
) -> Denoiser:
    """A denoiser from a bundled name, a folder, a hub id, a diffusers pipeline, or any torch module.

    >>> load("mnist").shape
    (1, 28, 28)
    >>> load(module, scheduler="ddim", shape=(3, 32, 32))

    A hub id is OWNER/NAME or OWNER/NAME@REVISION. A folder or repository holds a pipeline or a network alone, in diffusers'
    layout. `source` may also be one file of weights beside a config.json: a path, or OWNER/NAME/FILE on the hub.

    A module or pipeline stays yours: `load` changes nothing about it. It is in eval mode and frozen only while a run of
    denoscope computes, and its weights are not copied. If `dtype` or `device` is another than the module's own, each
    run holds a second copy of the weights there; `module.to(…)` before `load` avoids that.

    Args:
        scheduler: an alias such as "ddim" or "dpm++ 2m" (as in diffusers' documentation), the name of a diffusers class, or a
            scheduler object; the source's own unless given. A scheduler by name takes the configuration of the
            source's own.
        shape: (C, H, W) of a state; required for a module that does not state it.
        dtype: of the weights and of the states in a run; as the source has it unless given. A module with weights in
            several precisions computes in the precision given by its attribute `dtype`, otherwise in that of its first
            weights; a warning says which.
        device: "auto", "cpu", "cuda" or "cuda:N". "auto" takes CUDA if it is available; a module or pipeline stays on
            the device on which it is.
        clip_sample: whether the scheduler clips its estimate of x_0 to [-1, 1]; as in the source unless given. The map
            x_T → x_0 is flat where it clips, and has no derivative at the edge of that region.
        variant: of the weights of a folder or hub id, such as "fp16" for diffusion_pytorch_model.fp16.safetensors. The
            denoiser is named by that file.

    Raises:
        UserError: if the source is not found, or saying why it cannot be downloaded or what it lacks.
    """
    precision = _parse_dtype(dtype)
    matmul_precision.before_cuda_starts()
    owned = not isinstance(source, nn.Module) and not _is_pipeline(source)
    place = resolve_device(device) if owned or device != "auto" else None
    if isinstance(scheduler, str):
        scheduler_class(scheduler)  # an unknown name is refused before weights are downloaded or read
    network, own_scheduler, name = _components(source, variant)
    family = _check_unpacked(known_family(type(network)), name)
    if owned:
        # nn.Module.to itself: diffusers' own warns of modules to be kept in float32 even where there are none.
        nn.Module.to(network, device=place, dtype=precision)
        network.eval().requires_grad_(False)
    elif precision is None:
        _warn_of_precisions(network)
    denoiser = Denoiser(
        network=network,
        scheduler=schedulers.with_clipping(schedulers.resolve(scheduler, own_scheduler, name), clip_sample),
        shape=_resolve_shape(shape, family, config_of(network), name),
        name=name,
        first_last_layers=(config or ModelConfig()).first_last_layers.get(name),
        run_device=None if owned else place,
        run_dtype=None if owned else precision,
        owned=owned,
        loaded_by=LoadCall(absolute(source), shape, precision, device, clip_sample, variant, config)
        if owned
        else None,
    )
    LOGGER.debug("loaded %r", denoiser)
    return denoiser


def call_of(denoiser: Denoiser) -> LoadCall:
    """The call by which workers load the model of a denoiser.

    Raises: UserError if it has no name to load it by.
    """
    if denoiser.loaded_by is None:
        raise UserError(
            f"{denoiser.name} was built in Python, and workers load a model by its name; save it in a "
            f"folder (save_pretrained) and load that: ds.load(folder), or leave out {spelled('cluster')}"
        )
    return denoiser.loaded_by


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A model of this process that workers load too, and the number of threads with which they compute."""

    call: LoadCall
    scheduler: Scheduler
    threads: int
    weights_hash: str

    @classmethod
    def of(cls, denoiser: Denoiser, threads: int) -> SharedModel:
        """The model of a denoiser.

        Raises: UserError if it has no name to load it by.
        """
        return cls(call_of(denoiser), denoiser.scheduler, threads, denoiser.weights_hash)

    @contextmanager
    def loaded(self) -> Iterator[Denoiser]:
        """The denoiser in this process, which keeps it for the next run; the block computes with the threads."""
        with threads_set_to(self.threads):
            key = pickle.dumps((self.call, self.weights_hash))
            if key not in _KEPT:
                _KEPT.clear()  # the memory of one model
                _KEPT[key] = load(**vars(self.call))
            yield replace(_KEPT[key], scheduler=self.scheduler)


_KEPT: dict[bytes, Denoiser] = {}
"""The model that a worker loaded last, by its name and weights."""


def shape_of(source: str) -> Shape:
    """(C, H, W) of a model's states, from its configuration alone."""
    config, family = _configured(source)
    return _resolve_shape(None, family, config, source)


def required_inputs_of(source: str) -> list[str]:
    """The names of the inputs that a model's network requires besides x and timestep, from its configuration alone."""
    config, family = _configured(source)
    return list(family.example_inputs(config, torch.zeros(1, *_resolve_shape(None, family, config, source))))


def _configured(source: str) -> tuple[Config, Family]:
    config = model_folder.network_config(sources.find(source).network)
    return config, _check_unpacked(FAMILIES.get(str(config.get("_class_name")), ANY_MODULE), source)


def resolve_device(device: str) -> torch.device:
    """The device that a value of `device` stands for."""
    SystemConfig.from_arguments(device=device)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    resolved = torch.device(device)
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"{spelled('device')} is {device!r}, but {torch.cuda.device_count()} CUDA devices are visible; "
            "allowed here: auto, cpu"
        )
    return resolved


def network_of(pipeline: Any) -> nn.Module:
    """The denoising network of a diffusers pipeline."""
    components = [getattr(pipeline, name, None) for name in model_folder.COMPONENTS]
    network = next((component for component in components if isinstance(component, nn.Module)), None)
    if network is None:
        raise UserError(
            f"{type(pipeline).__name__} has no {' or '.join(model_folder.COMPONENTS)}; pass its network alone, with "
            "scheduler=…"
        )
    return network


def _is_pipeline(source: Any) -> bool:
    return hasattr(source, "scheduler")


def _components(source: Any, variant: str | None) -> tuple[nn.Module, Any | None, str]:
    """(network, scheduler or None, name) of a source of any kind."""
    is_name = isinstance(source, (str, os.PathLike))
    if variant is not None and not (is_name and isinstance(variant, str) and variant):
        raise UserError(
            f"variant is {describe(variant)}; allowed: the variant of a folder's or repository's weights, such as 'fp16'"
        )
    if isinstance(source, nn.Module):
        network = unwrapped(source)
        return network, None, type(network).__name__
    if isinstance(source, Denoiser):
        raise UserError("source is a Denoiser, which is loaded already; use it as it is")
    if _is_pipeline(source):
        return unwrapped(network_of(source)), source.scheduler, type(source).__name__
    if not is_name:
        raise UserError(
            f"source is {describe(source)}; allowed: a bundled name ({', '.join(bundled.names())}), a folder, a hub id, "
            "a diffusers pipeline or a torch module"
        )
    files = sources.find(os.fspath(source))
    network_class = model_folder.network_class(files.network, files.name)
    _check_unpacked(known_family(network_class), files.name)
    if bundled.folder(files.name) is None:
        model_folder.built(files.network, network_class)  # refused before weights are downloaded or read
    files = sources.with_weights(files, variant)
    return _network_of(files, network_class), _scheduler_from(files.folder, files.name), files.name


def _network_of(files: ModelFiles, network_class: Any) -> nn.Module:
    """The network of a model's files."""
    name, weights = files.name, files.weights
    assert weights is not None
    try:
        with hub.silent_diffusers(), weight_files.as_folder(files.network, weights) as folder:
            network, report = network_class.from_pretrained(
                folder,
                use_safetensors=weight_files.is_safetensors(weights.name),
                local_files_only=True,
                low_cpu_mem_usage=False,
                output_loading_info=True,
            )
    except Exception as error:  # diffusers fails in any way where configuration and weights do not fit
        raise UserError(f"{name}: its weights cannot be loaded: {first_line(error)}") from error
    if missing := report["missing_keys"]:
        raise UserError(f"{name}: its weights lack {len(missing)} tensors, such as {sorted(missing)[0]!r}")
    return network


def _scheduler_from(folder: Path, name: str) -> Any | None:
    """The scheduler that a folder configures, None if it has none."""
    places = (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return None
    model_folder.refuse_own_code(path, name)
    return schedulers.scheduler_of_file(path, model_folder.scheduler_config(path))


def _check_unpacked(family: Family, name: str) -> Family:
    """The family, refused if its pipelines pack states, which denoscope's own loop cannot step."""
    if family.packed:
        raise UserError(
            f"{name} is a {family.name}, whose pipeline packs its states; the loop of denoscope steps only states "
            "[C, H, W]; record the pipeline's calls: with ds.watch(pipe, …): pipe(…)"
        )
    return family


def _resolve_shape(given: Shape | None, family: Family, config: Mapping[str, Any], name: str) -> Shape:
    if given is not None and not _is_shape(given):
        raise UserError(
            f"shape is {describe(given)}; allowed: three positive integers (channels, height, width)"
        )
    stated = family.state_shape(config)
    if stated is None:
        if given is None:
            raise UserError(f"{name} does not state the shape of its states; pass shape=(C, H, W)")
        return given
    channels, height, width = stated
    # The weights fix the channels; a convolutional network takes other heights and widths.
    if given is not None and given[0] != channels:
        raise UserError(
            f"shape is {given}, but {name} takes {channels} channels; its own shape is {(channels, height, width)}"
        )
    return given or (channels, height, width)


def _is_shape(given: Any) -> bool:
    return (
        isinstance(given, (tuple, list))
        and len(given) == 3
        and all(isinstance(length, int) and length >= 1 for length in given)
    )


def _warn_of_precisions(network: nn.Module) -> None:
    """Warn if only the order of the weights says in which of several precisions a network computes."""
    precisions = [name_of(precision) for precision in precisions_of(network)]
    if len(precisions) < 2 or _states_its_precision(network):
        return
    used = name_of(dtype_of(network))
    other = next(precision for precision in precisions if precision != used)
    remedy = f"convert it before, such as network.to(torch.{other})"
    if not isinstance(getattr(network, "dtype", None), torch.dtype):
        remedy = f"state the precision in which it computes, such as network.dtype = torch.{other}"
    warnings.warn(
        f"{type(network).__name__} has weights in {' and '.join(precisions)}: its states are {used}, as the first of them; "
        f"{remedy}, or let load convert all: dtype={other!r}",
        stacklevel=5,
    )


def _states_its_precision(network: nn.Module) -> bool:
    """Whether a network has a `dtype` of its own; diffusers' networks look theirs up among their weights."""
    stated = getattr(type(network), "dtype", None)
    if isinstance(stated, property) and str(stated.fget.__module__).startswith("diffusers."):
        return False
    return isinstance(getattr(network, "dtype", None), torch.dtype)


def _parse_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or (isinstance(dtype, str) and dtype == "auto"):
        return None
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not (isinstance(resolved, torch.dtype) and resolved.is_floating_point):
        raise UserError(f"{spelled('dtype')} is {describe(dtype)}; allowed: {DTYPES}")
    return resolved
