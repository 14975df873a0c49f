"""Schemas of the configuration files in a model's folder, for all entries that determine sizes and times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError

LARGEST = 2**24
"""The largest integer in a network's configuration; widths, sizes and vocabularies are far smaller."""
Width = Annotated[int, Meta(ge=1, le=2**16)]
Pair = Annotated[list[Width], Meta(min_length=2, max_length=2)]
Layers = Annotated[int, Meta(ge=0, le=256)]
Level = Annotated[float, Meta(ge=0, le=1e6)]
Training = Annotated[int, Meta(ge=1, le=10**6)]


@dataclass(frozen=True)
class Network:
    """The config.json of a network."""

    sample_size: Width | Pair | None = None
    in_channels: Width | None = None
    out_channels: Width | None = None
    block_out_channels: Annotated[list[Width], Meta(min_length=1)] | None = None
    layers_per_block: Layers | list[Layers | list[Layers]] | None = None
    transformer_layers_per_block: Layers | list[Layers | list[Layers]] | None = None
    num_layers: Layers | list[Layers] | None = None
    num_single_layers: Layers | None = None
    norm_num_groups: Width | None = None
    _null_class: Annotated[int, Meta(ge=0, le=2**24)] | None = None
    down_block_types: list[str] | None = None
    up_block_types: list[str] | None = None


@dataclass(frozen=True)
class Scheduler:
    """The scheduler_config.json."""

    num_train_timesteps: Training = 1000
    beta_start: Level | None = None
    beta_end: Level | None = None
    beta_schedule: str | None = None
    trained_betas: list[Level] | None = None
    prediction_type: (
        Literal["epsilon", "sample", "original_sample", "v_prediction", "flow_prediction", "trigflow"] | None
    ) = None
    steps_offset: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    timestep_spacing: str | None = None


def read(path: Path, schema: type[Network] | type[Scheduler]) -> dict[str, Any]:
    """The configuration in a file.

    Raises: UserError naming the file, the key, its value and what is allowed.
    """
    content = json_files.read(path, dict[str, Any])
    json_files.check(content, schema, str(path))
    if schema is Network:
        for key, value in content.items():
            if any(abs(number) > LARGEST for number in _integers(value)):
                raise MalformedError(f"{path} has {key} with an integer beyond ±{LARGEST}; allowed: less")
    return content


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)
