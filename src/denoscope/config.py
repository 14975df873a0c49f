"""The six configuration classes: every option, its default and what it allows stand here once.

The command line builds its flags from these fields, the library takes its defaults from them, and the
`config.py` beside the scripts makes one instance of each for a user to edit.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from denoscope.foundation.errors import UserError

Rule = tuple[str, Callable[[Any], bool]]


def at_least(least: int) -> Rule:
    return f"an integer of at least {least}", lambda value: value >= least


POSITIVE: Rule = "a number above 0", lambda value: value > 0
COUNTS: Rule = "integers of at least 1", lambda values: all(value >= 1 for value in values)
AT_LEAST_ONE: Rule = "a number of at least 1", lambda value: value >= 1
LABELS: Rule = "integers of at least 0", lambda values: all(value >= 0 for value in values)
LENGTHS: Rule = "numbers above 0", lambda values: all(value > 0 for value in values)
SEED: Rule = "an integer of at least 0", lambda value: value >= 0
SEEDS: Rule = (
    "two different integers of at least 0",
    lambda values: values[0] != values[1] and min(values) >= 0,
)
# Measured: products of other numbers of rows round a row differently by its place among them.
LANES: Rule = ("1 to 4, or a multiple of 4", lambda value: 1 <= value <= 4 or (value > 0 and value % 4 == 0))
STEPS: Rule = (
    "one integer of at least 1, or several different ones of at least 0",
    lambda values: (
        values[0] >= 1 if len(values) == 1 else len(set(values)) == len(values) > 0 and min(values) >= 0
    ),
)
DEVICE: Rule = (
    "auto, cpu, cuda or cuda:N",
    lambda value: re.fullmatch(r"auto|cpu|cuda(:\d+)?", value) is not None,
)
COLORS: Rule = (
    "ten colours, each written #rrggbb",
    lambda values: len(values) == 10 and all(re.fullmatch(r"#[0-9a-fA-F]{6}", value) for value in values),
)
LAYER_PAIRS: Rule = (
    "a map from a model id to the names of its first and last convolution",
    lambda pairs: all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        for pair in pairs.values()
    ),
)


def option(default: Any, help: str, rule: Rule | None = None, *, positional: bool = False) -> Any:
    """A field with its help text and, where its type does not say it all, what it allows.

    A positional one is named without a flag on the command line, where only a list may be left out.
    """
    metadata = {"help": help, "rule": rule, "positional": positional}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class Checked:
    """Refuses a wrong value by the field's name, the value and what is allowed, and a field there isn't."""

    def __new__(cls, *_: Any, **values: Any) -> Self:
        known = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
        if unknown := next((name for name in values if name not in known), None):
            raise UserError(f"{cls.__name__} has no field {unknown!r}; its fields are {', '.join(known)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for item in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            hint, given = hints[item.name], value
            if isinstance(value, str) and value and hint in (Path, Path | None):
                value = Path(value)
            # A list would pass every check and then be no default of a flag.
            if isinstance(value, list) and typing.get_origin(hint) is tuple:
                value = tuple(value)
            if value is not given:
                object.__setattr__(self, item.name, value)
            allowed = _what_is_wrong(value, hint, item.metadata.get("rule"))
            if allowed:
                shown = given if isinstance(given, Path) else repr(given)
                raise UserError(f"{self._told(item.name)} is {shown}; allowed: {allowed}")

    @classmethod
    def _told(cls, name: str) -> str:
        """What a user knows a field by."""
        return f"{cls.__name__}.{name}"


def _what_is_wrong(value: Any, hint: Any, rule: Rule | None) -> str | None:
    """What is allowed instead of `value`, or None when it is fine."""
    allowed = rule[0] if rule else _describe(hint)
    if value is None and type(None) in typing.get_args(hint):
        return None
    if not _fits(value, hint):
        return allowed
    return allowed if rule and not rule[1](value) else None


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, Hashable) and value in arguments
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return len(hints) == len(value) and all(map(_fits, value, hints))
    if origin is dict:
        return isinstance(value, dict)
    if arguments:
        return any(_fits(value, choice) for choice in arguments)
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(float(value))
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    arguments = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    if typing.get_origin(hint) is Literal:
        return ", ".join(str(choice) for choice in arguments)
    if typing.get_origin(hint) is tuple:
        several = WORDS[arguments[0]][1]
        return f"a list of {several}" if arguments[-1] is Ellipsis else f"{NUMBERS[len(arguments)]} {several}"
    return WORDS[hint][0] if hint in WORDS else " or ".join(map(_describe, arguments))


WORDS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}
"""One value of a type, and several."""
NUMBERS = ("no", "one", "two", "three")


@dataclass(frozen=True, kw_only=True)
class SystemConfig(Checked):
    """Where the work is done, where files lie, and what every random draw starts from."""

    device: str = option("auto", "auto takes cuda where there is one, else cpu.", DEVICE)
    inputs: Path = option(Path("inputs"), "Folder of initial noise tensors.")
    output: Path = option(Path("outputs"), "Where results go: a folder, or a store NAME.zarr.")
    seed: int = option(
        42, "Global seed: of the random inputs and of the noise of stochastic schedulers.", SEED
    )
    class_colors: tuple[str, ...] = option(
        (
            "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee",
            "#aa3377", "#bbbbbb", "#ee7733", "#222255", "#994f00",
        ),
        "Colours of the ten classes.",
        COLORS,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Checked):
    """Which initial noises are drawn; size and channels follow the model unless set."""

    num_samples: int = option(10, "How many random noises.", at_least(1))
    image_size: int | None = option(None, "Height and width; the model's own unless set.", at_least(1))
    channels: int | None = option(None, "Channels; the model's own unless set.", at_least(1))


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Checked):
    """Which model, and the names of its first and last convolution."""

    model: str = option("mnist", "A bundled model, a folder in diffusers' layout, or a hub id.")
    scheduler: str | None = option(
        None, "ddim, ddpm or any diffusers scheduler class; the model's own unless set."
    )
    clip_sample: bool | None = option(
        None, "Whether the scheduler clips its estimate of x_0; as the model's own does unless set."
    )
    dtype: Literal["auto", "float16", "bfloat16", "float32", "float64"] = option(
        "auto", "Precision of the network; auto is that of its weights. float64 doubles the schedule too."
    )
    first_last_layers: dict[str, tuple[str, str]] = option(
        {
            "mnist": ("conv_in", "conv_out"),
            "1aurent/ddpm-mnist": ("conv_in", "conv_out"),
            "google/ddpm-cifar10-32": ("conv_in", "conv_out"),
        },
        "First and last convolution by model id; another model's are found in call order.",
        LAYER_PAIRS,
    )


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Checked):
    """How a recording is made."""

    num_steps: int = option(50, "Denoising steps.", at_least(1))
    batch_size: int = option(8, "Samples in flight at once; never changes a result.", at_least(1))
    lanes: int = option(8, "Rows of every network call; part of what fixes the last bits.", LANES)
    extract_states: bool = option(True, "Record states and sequences; without, only the final image.")
    extract_estimates: bool = option(
        False, "Record the scheduler's estimates of x_0 too, of the same steps as states."
    )
    layers: tuple[str, ...] = option(
        (), "What to record, by queries (see `denoscope layers`); the first and last convolution unless set."
    )
    labels: tuple[int, ...] = option((), "Class of all samples, or one for each.", LABELS)
    condition: Path | None = option(
        None, "Further inputs of the network by their names (.safetensors), such as prompt embeddings."
    )
    guidance_scale: float = option(
        1.0, "Classifier-free guidance u + scale·(c − u); at 1 there is none.", AT_LEAST_ONE
    )
    branches: str | None = option(
        None, "Order of the halves of a guided call: uncond,cond or cond,uncond; the model's own unless set."
    )
    intervene: Path | None = option(
        None, "Plan of interventions (JSON): what is written into which states while the network runs."
    )
    flatten: bool = option(False, "Store each state as one vector.")
    noise: Literal["common", "independent"] = option(
        "common", "Draws of stochastic schedulers: one a step for all samples, or one for each sample."
    )
    output_format: Literal["auto", "pt", "zarr"] = option(
        "auto", "auto takes zarr where the output is named NAME.zarr, else pt."
    )
    codec: Literal["none", "zstd"] = option("none", "Compression of a zarr store; floats shrink by a tenth.")
    state_dtype: Literal["auto", "float16", "float32", "float64"] = option(
        "auto", "What states are stored as; auto is the network's own."
    )
    every: tuple[int, ...] = option(
        (1,), "Steps whose states are kept: one number K for every K-th, several for just these.", STEPS
    )
    channels: str | None = option(None, "Channels kept of each state, as 0:8, ::2 or 0,3,7.")
    height: str | None = option(None, "Rows kept of each state.")
    width: str | None = option(None, "Columns kept of each state.")
    reduce: str = option(
        "none",
        "What is kept of each state: none, spatial_mean, channel_mean, norm, or project:K (random, to K).",
    )
    sampler_dtype: Literal["auto", "float32", "float64"] = option(
        "auto", "Precision of the states between steps; auto is the network's own."
    )
    fast: bool = option(False, "Compile the network and lay its channels last; other last bits than without.")
    tf32: bool = option(False, "Let CUDA round the factors of products to 10 bits; faster and less exact.")
    on_nonfinite: Literal["mark", "stop"] = option(
        "mark", "Where NaN or Inf arises: mark it and go on, or stop."
    )
    resume: bool = option(False, "Go on with earlier work: what is finished stays, the rest is done.")
    overwrite: bool = option(False, "Replace what earlier work left at the same place.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise UserError("resume and overwrite contradict each other; take one of them")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Checked):
    """What is classified, and by which weights."""

    tensors: Path = option(
        Path("outputs"), "Folder of final tensors or sequences, or the output folder that holds them."
    )
    classifier_weights: Path | None = option(
        None, "LeNet-5 weights (.safetensors); the bundled ones unless set."
    )
    reject: bool = option(False, "Label −1 what is no digit; of real digits 1 % are lost.")


@dataclass(frozen=True, kw_only=True)
class DefaultConfig(Checked):
    """Defaults of single scripts: perturbations, planes, pictures."""

    num_perturbations: int = option(5, "How many perturbed noises around the base.", at_least(1))
    epsilon: float = option(500.0, "L2 norm of each perturbation.", POSITIVE)
    base_seed: int = option(42, "Seed of the base noise.", SEED)
    perturb_seed: int = option(69, "Seed of the perturbations' directions.", SEED)
    directions: str = option(
        "random", "Of the perturbations: random, simplex (equal angles), or a file of them, .pt [n, C, H, W]."
    )
    num_prompts_per_direction: tuple[int, int] = option((25, 41), "Cells along u and along v.", COUNTS)
    len_per_direction: tuple[float, float] = option(
        (2000.0, 3000.0), "Full side lengths of the plane along u and along v (L2).", LENGTHS
    )
    center_coords: tuple[float, float] = option((0.0, 0.0), "The plane's centre (u, v) relative to its base.")
    plane_base_seed: int = option(420, "Seed of the plane's base noise.", SEED)
    direction_seeds: tuple[int, int] = option((100, 200), "Seeds of the plane's two directions.", SEEDS)
    image_output_dir: Path | None = option(
        None, "Where pictures go; images/ in the output folder unless given."
    )
    compare_folder: Path = option(Path("inputs"), "Folder of tensors to compare.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One instance of each configuration class: what a command or script starts from."""

    system: SystemConfig = SystemConfig()
    generation: GenerationConfig = GenerationConfig()
    model: ModelConfig = field(default_factory=ModelConfig)
    inference: InferenceConfig = InferenceConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    default: DefaultConfig = DefaultConfig()

    @property
    def pictures(self) -> Path:
        """Where pictures go."""
        return self.default.image_output_dir or self.system.output / "images"
