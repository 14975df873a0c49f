"""What the configuration files in a model's folder may hold, and because of which entry a configuration fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.foundation.validation import describe

Config = Mapping[str, Any]
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
    block_out_channels: Annotated[tuple[Width, ...], Meta(min_length=1)] = (1,)
    layers_per_block: Layers | list[Layers | list[Layers]] | None = None
    transformer_layers_per_block: Layers | list[Layers | list[Layers]] | None = None
    num_layers: Layers | list[Layers] | None = None
    num_single_layers: Layers | None = None
    norm_num_groups: Width | None = None
    attn_norm_num_groups: Width | None = None
    norm_eps: Level = 1e-5
    dropout: Annotated[float, Meta(ge=0, le=1)] = 0.0
    attention_head_dim: Width | list[Any] | None = None
    num_attention_heads: Width | list[Any] | None = None
    num_class_embeds: Annotated[int, Meta(ge=1, le=LARGEST)] | None = None
    class_embed_type: Literal["timestep", "identity", "projection", "simple_projection"] | None = None
    time_embedding_dim: Width | None = None
    time_embedding_type: Literal["positional", "fourier", "learned"] = "positional"
    resnet_time_scale_shift: Literal["default", "scale_shift", "ada_group", "spatial"] = "default"
    downsample_type: Literal["conv", "resnet"] = "conv"
    upsample_type: Literal["conv", "resnet"] = "conv"
    downsample_padding: Annotated[int, Meta(ge=0, le=2**16)] = 1
    mid_block_scale_factor: float = 1.0
    freq_shift: float = 0.0
    _null_class: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None
    down_block_types: list[str] | None = None
    up_block_types: list[str] | None = None


@dataclass(frozen=True)
class Scheduler:
    """The scheduler_config.json."""

    num_train_timesteps: Training = 1000
    beta_start: Level | None = None
    beta_end: Level | None = None
    beta_schedule: str | None = None
    trained_betas: Annotated[list[Level], Meta(min_length=1)] | None = None
    clip_sample_range: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    dynamic_thresholding_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.995
    sample_max_value: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    prediction_type: (
        Literal["epsilon", "sample", "original_sample", "v_prediction", "flow_prediction", "trigflow"] | None
    ) = None
    steps_offset: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    timestep_spacing: Literal["leading", "linspace", "trailing"] | None = None


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


def check_flags(kind: type, config: Config, file: object) -> None:
    """Refuse a value other than true and false where the class takes a boolean: Python counts the text "false" as true.

    Raises: UserError naming the file, the entry and its value.
    """
    for name, parameter in _entries(kind, config).items():
        if parameter.annotation in (bool, "bool") and config[name] not in (None, True, False):
            raise UserError(f"{file} has {name} {describe(config[name])}; allowed: true or false")


def suspect(kind: type, config: Config, use: Callable[[dict[str, Any]], Any]) -> str:
    """The entry because of which the use of a configuration fails, in the words of a message; empty if it is not found.

    Every entry is replaced by its default, one at a time. If the use still fails for each of them, the first that is
    null, but not by default, is suspected.
    """

    def works(changed: dict[str, Any]) -> bool:
        try:
            use(changed)
        except Exception:  # whatever diffusers raises
            return False
        return True

    own = {
        name: parameter.default
        for name, parameter in _entries(kind, config).items()
        if parameter.default is not parameter.empty and config[name] != parameter.default
    }
    missing = (name for name, default in own.items() if config[name] is None and default is not None)
    mended = (name for name, default in own.items() if works({**config, name: default}))
    guilty = next(mended, None) or next(missing, None)
    if guilty is None:
        return ""
    return f"{guilty} is {describe(config[guilty])}, by default {own[guilty]!r}"


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)


def _entries(kind: type, config: Config) -> dict[str, inspect.Parameter]:
    """The parameters of a class that a configuration sets."""
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return {name: parameter for name, parameter in parameters.items() if name in config}
