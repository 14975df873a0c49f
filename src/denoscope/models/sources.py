"""Where the files of a model are, by its name: bundled, a folder, one file of weights, or a repository of the hub."""

from __future__ import annotations

import dataclasses
import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.config import ModelConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.spelling import spelled
from denoscope.models import bundled, hub, model_folder, weight_files

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model.

    Args:
        name: the name by which the model can be loaded again.
        folder: with the configuration of its scheduler.
        network: the folder with the network's config.json.
        weights: the file of weights, or the list of its shards; None until they are looked up.
    """

    name: str
    folder: Path
    network: Path
    weights: Path | None


@dataclass(frozen=True)
class LoadCall:
    """The arguments of `load` for a model that has a name, without the scheduler, which may be changed later."""

    source: str
    shape: tuple[int, int, int] | None
    dtype: torch.dtype | None
    device: str
    clip_sample: bool | None
    variant: str | None
    config: ModelConfig | None


def absolute(name: str | os.PathLike[str]) -> str:
    """The name of a model that is valid in every working directory: a folder or file as an absolute path."""
    name = os.fspath(name)
    # A bundled name comes before a folder of that name.
    return os.path.abspath(name) if name not in bundled.names() and os.path.exists(name) else name


def find(name: str, *, argument: str = "source") -> ModelFiles:
    """The files of a model but for its weights, which `with_weights` adds.

    Raises: UserError naming the argument if there is no such model, or saying what its folder lacks.
    """
    check_name(name, argument)
    path, model = Path(name), hub.HubId.parse(name)
    if folder := bundled.folder(name) or (path if os.path.isdir(name) else None):
        return ModelFiles(name, folder, model_folder.network_folder(folder, name), None)
    if _is_local(name):
        return _beside(path, name)
    assert model is not None
    folder = hub.configurations(model)
    if model.file:
        return _beside(folder / model.file, name)
    return ModelFiles(name, folder, model_folder.network_folder(folder, name), None)


def with_weights(files: ModelFiles, variant: str | None) -> ModelFiles:
    """The same files with those of the weights, downloaded if necessary.

    Raises: UserError with the weights that there are.
    """
    name = files.name
    if variant is not None and files.weights:
        raise UserError(f"variant is {variant!r}, but {name} names one file of weights; leave variant out")
    model = None if _is_local(name) else hub.HubId.parse(name)
    if model is not None:
        part = "" if files.network == files.folder else f"{files.network.name}/"
        hub.weights(model, part, variant)
    if files.weights:
        return files
    weights = weight_files.find(files.network, variant, name)
    if variant:
        name = f"{name.rstrip('/')}/{weights.relative_to(files.folder).as_posix()}"
    return dataclasses.replace(files, name=name, weights=weights)


def check_name(name: str, argument: str) -> None:
    """Refuse a name that is neither that of a bundled model, an existing folder or file, nor an id of the hub.

    A path where nothing can be is refused, also where the hub may have a model of that name.

    Raises: UserError naming the argument, with the nearest bundled name.
    """
    if _is_local(name):
        return
    # Before the hub is asked: a path below a file may be written as an id of the hub is.
    check_possible(name, argument)
    if hub.HubId.parse(name):
        return
    near = difflib.get_close_matches(name.lower(), bundled.names(), n=1)
    suggestion = f"did you mean {near[0]}? " if near else ""
    raise UserError(
        f"{spelled(argument)} is {name!r}; {suggestion}allowed: {', '.join(bundled.names())} (bundled), an existing folder "
        "or file of weights, or a hub id OWNER/NAME"
    )


def _is_local(name: str) -> bool:
    """Whether a name is that of a bundled model, or of a folder or file of weights that exists."""
    # Unlike Path.is_dir, these raise no error if a name is too long.
    is_there = os.path.isdir(name) or (os.path.isfile(name) and weight_files.is_weights(name))
    return name in bundled.names() or is_there


def _beside(weights: Path, name: str) -> ModelFiles:
    """A file of weights and the config.json beside it."""
    network = weights.parent
    if not (network / "config.json").is_file():
        raise UserError(
            f"{name}: no config.json beside it; allowed: weights in the folder of the network's config.json"
        )
    folder = network.parent if network.name in model_folder.COMPONENTS else network
    return ModelFiles(name, folder, network, weights)
