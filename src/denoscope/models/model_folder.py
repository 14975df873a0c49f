"""A folder in diffusers' layout: the place and the class of its network, and the network without its weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.foundation.errors import UserError, first_line
from denoscope.foundation.reading import json_files
from denoscope.models import folder_schema

if TYPE_CHECKING:
    from torch import nn

COMPONENTS = ("unet", "transformer")
"""The names under which pipelines hold their denoising network, also those of its folder."""


def blueprint(folder: str | Path, *, name: str = "") -> nn.Module:
    """The network of a folder on the meta device: its modules and their shapes, without reading weights.

    >>> layers_of(blueprint("stable-diffusion-v1-5"))

    Args:
        name: of the model in messages; the folder unless given.

    Raises: UserError if the folder does not configure a network that diffusers can build.
    """
    name = name or str(folder)
    place = network_folder(Path(folder), name)
    return built(place, network_class(place, name))


def built(place: Path, kind: Any) -> nn.Module:
    """The network of a class that the config.json in a folder configures, on the meta device.

    Raises: UserError naming the file, and the entry because of which diffusers cannot build the network.
    """
    config = network_config(place)
    try:
        return _on_meta(kind, config)
    except Exception as error:  # diffusers fails in any way where values do not fit each other
        entry = folder_schema.suspect(kind, config, lambda changed: _on_meta(kind, changed))
        raise UserError(
            f"{place / 'config.json'} does not configure a {kind.__name__}: {first_line(error)}{entry and f'; {entry}'}"
        ) from error


def _on_meta(kind: Any, config: dict[str, Any]) -> nn.Module:
    import torch

    with torch.device("meta"):
        return kind.from_config(config).eval()


def network_folder(folder: Path, name: str) -> Path:
    """The folder with the network's config.json: the given one or that of a component."""
    places = [*(folder / part for part in COMPONENTS), folder]
    folder_with_config = next((place for place in places if os.path.isfile(place / "config.json")), None)
    if folder_with_config is None:
        parts = " or ".join(f"{part}/" for part in COMPONENTS)
        there = ", ".join(sorted(f"{path.name}/" for path in folder.iterdir() if path.is_dir())) or "none"
        raise UserError(
            f"{name}: no config.json in {folder} or its {parts}; its folders are {there}; allowed: diffusers' layout "
            "with one of these networks"
        )
    return folder_with_config


def network_class(place: Path, name: str) -> Any:
    """The class of diffusers that a network's config.json names; code outside diffusers is never run."""
    import diffusers

    refuse_own_code(place / "config.json", name)
    config = network_config(place)
    class_name = config.get("_class_name")
    kind = getattr(diffusers, str(class_name), object)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin)):
        raise UserError(
            f"{name}: config.json names the class {class_name!r}, which is not a network of diffusers"
        )
    folder_schema.check_flags(kind, config, place / "config.json")
    return kind


def refuse_own_code(config: Path, name: str) -> None:
    """Refuse a component that needs code stored beside its configuration.

    Its configuration says so in `auto_map`, or the model_index.json beside its folder names a module in that folder.
    """
    place, index = config.parent, config.parent.with_name("model_index.json")
    code = json_files.read(config, dict[str, Any]).get("auto_map")
    if not code and index.is_file():
        entry = json_files.read(index, dict[str, Any]).get(place.name)
        if isinstance(entry, list) and (place / f"{entry[0]}.py").is_file():
            code = ".".join(map(str, entry))
    if code:
        modules = ", ".join(map(str, code.values())) if isinstance(code, dict) else code
        raise UserError(f"{name} {needs_own_code(str(modules))}")


def needs_own_code(what: str) -> str:
    """The predicate of a message about a model that needs code outside diffusers."""
    return (
        f"needs code of its own ({what}), which denoscope never runs; if you trust it, load it yourself and pass the "
        "object: ds.load(module, scheduler=…), ds.watch(pipe, …)"
    )


def network_config(place: Path) -> dict[str, Any]:
    """The config.json of a network's folder."""
    return folder_schema.read(place / "config.json", folder_schema.Network)


def scheduler_config(path: Path) -> dict[str, Any]:
    """The content of a scheduler_config.json."""
    return folder_schema.read(path, folder_schema.Scheduler)
