"""Checks that are cheap, and therefore run before PyTorch is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from denoscope.cli.verb import OwnFlags, Verb
from denoscope.cluster.source import Jobs, parse
from denoscope.config import InferenceConfig, Settings
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.given_path import check_possible
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.reading.tensor_folders import tensors_in
from denoscope.foundation.reading.urls import is_url
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing.output_path import check_path

MANIFESTS = {"zarr.json": "attributes", "recording.json": "attrs"}
"""The file that describes a recording, in each format, and the name of its attributes.

Repeated from `storage`, which imports PyTorch.
"""
Kind = Literal["model", "recording", "map"]
"""What can be explored."""


def check(verb: Verb, settings: Settings, own_flags: OwnFlags | None) -> None:
    """Refuse paths where nothing can be, inputs that do not exist, models that cannot be found and outputs that exist.

    Raises: UserError naming the flag, its value and what is allowed.
    """
    fields = [(config, attribute) for config, attribute, _ in verb.fields()]
    given = {attribute: getattr(getattr(settings, config), attribute) for config, attribute in fields}
    check_paths(given | (vars(own_flags) if own_flags else {}))
    for config, attribute in fields:
        if attribute not in verb.writes and (config, attribute) in CHECKS:
            CHECKS[config, attribute](attribute, getattr(getattr(settings, config), attribute))
    if ("system", "output") in fields and is_url(settings.system.output) and not verb.output_takes_url:
        raise UserError(f"{spelled('output')} is a URL; allowed: a folder of this machine")
    if {("system", "output"), ("inference", "resume"), ("inference", "overwrite")} <= set(fields):
        check_output(settings.system.output, settings.inference)


def check_paths(values: Mapping[str, Any]) -> None:
    """Refuse a path where nothing can be among the values of flags, by name."""
    for name, value in values.items():
        for entry in value if isinstance(value, tuple) else (value,):
            if isinstance(entry, Path):
                check_possible(entry, name)


def check_output(path: Path, inference: InferenceConfig) -> None:
    """Refuse a link that leads nowhere, and a recording that exists, unless it is resumed or replaced."""
    if is_url(path):
        _check_url(path, inference)
        return
    check_path(path, "output")
    # Unlike Path.is_file, it raises no error if a name is too long, which the storage reports.
    manifests = [name for name in MANIFESTS if os.path.isfile(path / name)]
    if manifests and not inference.resume and not inference.overwrite:
        # A call of a pipeline cannot be resumed.
        resume = (
            "" if _is_pipeline_recording(path / manifests[0]) else f"resume it ({spelled('resume', True)}), "
        )
        raise UserError(
            f"{path} already holds a recording; {resume}replace it ({spelled('overwrite', True)}), or name another output "
            f"({spelled('output')})"
        )


def _check_url(path: Path, inference: InferenceConfig) -> None:
    """Refuse a URL that cannot be used, or that holds a recording."""
    from denoscope.storage.places import parse_place, store_at

    url = parse_place(path)
    try:
        taken = store_at(url).get("zarr.json", 0, 1) is not None
    except OSError as error:
        raise UserError(f"cannot use {url}: {error.strerror or error}") from error
    if taken and not inference.resume and not inference.overwrite:
        raise UserError(
            f"{url} already holds a recording; resume it ({spelled('resume', True)}) or name another output "
            f"({spelled('output')})"
        )


def _is_pipeline_recording(manifest: Path) -> bool:
    """Whether a recording was made by a pipeline; False if its manifest cannot be read."""
    try:
        content = json_files.read(manifest, dict[str, Any])
    except MalformedError:
        return False
    attributes = content.get(MANIFESTS[manifest.name])
    return isinstance(attributes, dict) and bool(attributes.get("pipeline"))


def check_noises(name: str, folder: Path) -> None:
    """Refuse a folder that is missing or holds no tensors."""
    advice = "allowed: a folder of .pt tensors, such as `denoscope noise random` writes"
    if not os.path.isdir(folder):
        raise UserError(f"{spelled(name)} is {folder}, which is not a folder; {advice}")
    if not tensors_in(folder):
        raise UserError(f"{spelled(name)} is {folder}, which holds no .pt tensors; {advice}")


def check_model(name: str, model: str) -> None:
    """Refuse a model that is neither bundled, nor a folder with a configuration, nor written as a hub id."""
    from denoscope.models import bundled, model_folder, sources

    sources.check_name(model, name)
    if model not in bundled.names() and os.path.isdir(model):
        model_folder.network_folder(Path(model), model)


def check_cluster(name: str, text: str | None) -> None:
    """Refuse a file of jobs where nothing can be."""
    source = text and parse(text)
    if isinstance(source, Jobs):
        check_possible(source.file, name)


def check_folder(name: str, folder: Path) -> None:
    """Refuse a folder that is missing."""
    if not os.path.isdir(folder):
        raise UserError(f"{spelled(name)} is {folder}; allowed: an existing folder")


def check_file(name: str, path: Path | None) -> None:
    """Refuse a file that is missing."""
    if path is not None and not os.path.isfile(path):
        raise UserError(f"{spelled(name)} is {path}; allowed: an existing file")


def kind_of(target: str) -> Kind:
    """The kind of a path or name; bundled models come first.

    Raises: UserError if it is not a model, a recording or a map.
    """
    from denoscope.models import bundled

    path = Path(target)
    if target in bundled.names():
        return "model"
    if path.suffix in (".npz", ".zarr"):
        check_possible(path, "target")
    if path.suffix == ".npz":
        return "map"
    if path.suffix == ".zarr" or any(os.path.isfile(path / name) for name in MANIFESTS):
        return "recording"
    try:
        check_model("target", target)
    except UserError as error:
        if not os.path.isdir(target):
            raise
        manifests = " or ".join(MANIFESTS)
        raise UserError(
            f"{spelled('target')} is {target}, a folder that holds neither a model (no config.json in it, its unet/ or "
            f"its transformer/) nor a recording (no {manifests})"
        ) from error
    return "model"


CHECKS: dict[tuple[str, str], Callable[[str, Any], None]] = {
    ("system", "inputs"): check_noises,
    ("system", "cluster"): check_cluster,
    ("model", "model"): check_model,
    ("inference", "condition"): check_file,
    ("inference", "intervene"): check_file,
    ("classifier", "classifier_weights"): check_file,
    ("default", "compare_folder"): check_folder,
}
"""The check of each field (configuration, name), which gets the name and the value."""
