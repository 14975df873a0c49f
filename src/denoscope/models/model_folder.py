"""A folder in diffusers' layout: where its network lies, of which class it is, and how it is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.foundation.errors import UserError, first_line

if TYPE_CHECKING:
    from torch import nn

COMPONENTS = ("unet", "transformer")
"""The names under which pipelines hold their denoising network, also those of its folder."""


def blueprint(folder: str | Path) -> nn.Module:
    """The network of a folder on the meta device: its modules and their shapes, for which no weights are read.

    >>> layers_of(blueprint("stable-diffusion-v1-5"))

    Raises: UserError if the folder has no configuration of a network that diffusers can build.
    """
    import torch

    place = network_folder(Path(folder), str(folder))
    kind = network_class(place, str(folder))
    try:
        with torch.device("meta"):
            return kind.from_config(read_json(place / "config.json")).eval()
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"{folder}: its config.json makes no {kind.__name__}: {first_line(error)}") from error


def network_folder(folder: Path, name: str) -> Path:
    """Where the network's config.json lies: in the folder itself or in that of a part."""
    places = [*(folder / part for part in COMPONENTS), folder]
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found is None:
        parts = " or ".join(f"{part}/" for part in COMPONENTS)
        there = (
            ", ".join(sorted(f"{path.name}/" for path in folder.iterdir() if path.is_dir())) or "no folder"
        )
        raise UserError(
            f"{name}: no config.json in {folder} or its {parts}, where there is {there}; needed is diffusers' layout "
            "with one of these networks"
        )
    return found


def network_class(place: Path, name: str) -> Any:
    """The class of diffusers that a network's config.json names; no other code is run."""
    import diffusers

    refuse_own_code(place / "config.json", name)
    class_name = read_json(place / "config.json").get("_class_name")
    kind = getattr(diffusers, str(class_name), object)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin)):
        raise UserError(f"{name}: config.json names the class {class_name!r}, which diffusers does not have")
    return kind


def refuse_own_code(config: Path, name: str) -> None:
    """Refuse a part of a model, by its configuration, that asks for code which comes with it.

    It does so by `auto_map`, or by a module of the part's own folder in the model_index.json beside that.
    """
    place, index = config.parent, config.parent.with_name("model_index.json")
    asked = read_json(config).get("auto_map")
    if not asked and index.is_file():
        entry = read_json(index).get(place.name)
        if isinstance(entry, list) and (place / f"{entry[0]}.py").is_file():
            asked = ".".join(map(str, entry))
    if asked:
        told = ", ".join(map(str, asked.values())) if isinstance(asked, dict) else asked
        raise UserError(f"{name} {needs_own_code(str(told))}")


def needs_own_code(what: str) -> str:
    """What is said of a model that needs code which diffusers does not have."""
    return (
        f"asks for code of its own ({what}), which denoscope never runs; if you trust it, load it yourself and give "
        "the object: ds.load(module, scheduler=…), ds.watch(pipe, …)"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a JSON {type(content).__name__}; needed is an object")
    return content
