"""The six configuration classes: every option with its default and what it allows, once.

The flags of the command line are made of these fields, functions take their defaults from them, and the `config.py`
beside the scripts makes one instance of each for a user to edit.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from denoscope.cluster.source import ALLOWED as SOURCES
from denoscope.cluster.source import is_source
from denoscope.foundation.checked import Checked, Rule, at_least, option
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.threads import MOST_THREADS
from denoscope.foundation.validation import describe

Geometry = Literal["flat", "spherical"]
"""Whether a plane of noises is flat, or follows great circles of the sphere through its base."""
POSITIVE: Rule = "a number above 0", lambda value: value > 0
COUNTS: Rule = "2 integers of at least 1", lambda values: all(value >= 1 for value in values)
AT_LEAST_ONE: Rule = "a number of at least 1", lambda value: value >= 1
LABELS: Rule = (
    "integers of at least 0 (pass other labels as a condition, as class_labels)",
    lambda values: all(value >= 0 for value in values),
)
LENGTHS: Rule = "2 numbers above 0", lambda values: all(value > 0 for value in values)
THREADS: Rule = f"an integer from 1 to {MOST_THREADS}", lambda value: 1 <= value <= MOST_THREADS
SEED: Rule = "an integer of at least 0", lambda value: value >= 0
SEEDS: Rule = (
    "two different integers of at least 0",
    lambda values: values[0] != values[1] and min(values) >= 0,
)
TIMESTEPS: Rule = (
    "decreasing numbers of at least 0",
    lambda values: not values or (values[-1] >= 0 and _decrease(values)),
)
SIGMAS: Rule = (
    "decreasing numbers above 0, with or without a last 0",
    lambda values: not values or (values[0] > 0 and values[-1] >= 0 and _decrease(values)),
)
# Measured: with other numbers of rows, the rounding of a row depends on its position.
LANES: Rule = ("1 to 4, or a multiple of 4", lambda value: 1 <= value <= 4 or (value > 0 and value % 4 == 0))
Method = Literal["auto", "adaptive", "exact"]
"""Which cells of a map of basins are computed."""
ADAPTIVE_FROM = 128
"""Cells along each axis from which the method "auto" is adaptive."""
MAP_METHOD: Method = "auto"
ZOOM_METHOD: Method = "adaptive"
MAP_LANES, LARGE_IMAGE_LANES, LARGE_IMAGE = 64, 16, 256
"""Rows of every network call of a map, those of images of more than 256 numbers on a processor, and this number."""
MAP_AUDIT, LEVEL_AUDIT = 256, 64
"""How many filled cells of a map, and of each level of a zoom, are computed to see how many are wrong."""
ZOOM_FACTOR, ROUNDING_CHECKS = 2.0, 128
"""How many times smaller each level of a zoom is, and how many of its boundary cells are denoised again to see if rounding
decides."""
PLANE_ARGUMENTS = {
    "counts": "num_prompts_per_direction",
    "lengths": "len_per_direction",
    "center": "center_coords",
}
"""The flags of the arguments of `noise.plane` that have other names."""
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
CLUSTER: Rule = SOURCES, is_source
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


def _decrease(values: Sequence[float]) -> bool:
    return all(former > later for former, later in itertools.pairwise(values))


def _as_list(values: Any) -> Any:
    """The values of an array or a tensor as a list; anything else as it is."""
    return values.tolist() if hasattr(values, "tolist") else values


@dataclass(frozen=True, kw_only=True)
class SystemConfig(Checked):
    """Where the work runs, where files are read and written, and the seed of random draws."""

    ARGUMENTS: ClassVar[dict[str, str]] = {"output": "out"}

    device: str = option("auto", "cpu, cuda, cuda:N, or auto: cuda if available, else cpu.", DEVICE)
    threads: int | None = option(
        None,
        "CPU threads of PyTorch, on which the last bits depend; by default PyTorch's own number.",
        THREADS,
    )
    cluster: str | None = option(
        None,
        f"Workers that share the work: {SOURCES}.",
        CLUSTER,
    )
    allow_different_devices: bool = option(
        False, "Let workers take part whose devices compute other bits; the result says so."
    )
    inputs: Path = option(Path("inputs"), "Folder of initial noise tensors (.pt).")
    output: Path = option(
        Path("outputs"), "Where results are written: a folder, or a store NAME.zarr.", takes_url=True
    )
    seed: int = option(42, "Seed of random inputs and of the noise of stochastic schedulers.", SEED)
    class_colors: tuple[str, ...] = option(
        (
            "#0e8ef3", "#e14467", "#0a733e", "#e9d659", "#66ccee",
            "#ae4d8c", "#d3a0b2", "#e97d2d", "#302d6b", "#7d460b",
        ),
        "Colours of the ten classes, by default ones that stay apart for colour-blind readers and in grey.",
        COLORS,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allow_different_devices and self.cluster is None:
            raise UserError(
                f"{self.spelled('allow_different_devices')} is given without {self.spelled('cluster')}; leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class GenerationConfig(Checked):
    """Which initial noises are drawn."""

    num_samples: int = option(10, "Number of random noises.", at_least(1))
    image_size: int | None = option(None, "Height and width; by default those of the model.", at_least(1))
    channels: int | None = option(None, "Channels; by default those of the model.", at_least(1))


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Checked):
    """Which model is loaded, and the names of its first and last convolution."""

    model: str = option(
        "mnist", "A bundled model, a folder in diffusers' layout or file of weights, or a hub id."
    )
    scheduler: str | None = option(
        None,
        "An alias (ddim, euler, dpm++ 2m karras, …) or a scheduler class of diffusers; by default the model's own.",
    )
    clip_sample: bool | None = option(
        None, "Whether the scheduler clips its estimate of x_0; by default as the model's own does."
    )
    dtype: Literal["auto", "float16", "bfloat16", "float32", "float64"] = option(
        "auto", "Precision of the network; auto is that of its weights. float64 applies to the schedule too."
    )
    first_last_layers: dict[str, tuple[str, str]] = option(
        {
            "mnist": ("conv_in", "conv_out"),
            "1aurent/ddpm-mnist": ("conv_in", "conv_out"),
            "google/ddpm-cifar10-32": ("conv_in", "conv_out"),
        },
        "First and last convolution by model id; those of other models are found in the order of calls.",
        LAYER_PAIRS,
    )


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(Checked):
    """How noises are denoised, and what is recorded."""

    ARGUMENTS: ClassVar[dict[str, str]] = {"num_steps": "steps"}

    num_steps: int = option(50, "Denoising steps.", at_least(1))
    timesteps: tuple[float, ...] = option(
        (),
        "Timesteps of the steps, decreasing, instead of num_steps; for schedulers that accept them.",
        TIMESTEPS,
    )
    sigmas: tuple[float, ...] = option(
        (), "Noise level from which each step starts, decreasing, instead of num_steps or timesteps.", SIGMAS
    )
    batch_size: int = option(
        8,
        "Samples that are computed together, rounded up to a multiple of lanes; never changes a result.",
        at_least(1),
    )
    lanes: int = option(8, "Rows of every network call; the last bits depend on it.", LANES)
    extract_states: bool = option(True, "Record states and sequences; otherwise only the final images.")
    extract_estimates: bool = option(
        False, "Also record the scheduler's estimates of x_0, in the same steps as states."
    )
    layers: tuple[str, ...] = option(
        (),
        "Layers to record, by queries (see `denoscope layers`); by default the first and last convolution.",
    )
    labels: tuple[int, ...] = option((), "Class of all samples, or one class for each.", LABELS)
    condition: Path | None = option(
        None, "Further inputs of the network by name (.safetensors), such as prompt embeddings."
    )
    guidance_scale: float = option(
        1.0, "Scale s of classifier-free guidance u + s·(c − u); 1 means no guidance.", AT_LEAST_ONE
    )
    branches: str | None = option(
        None, "Order of the halves of a guided call: uncond,cond or cond,uncond; by default the model's own."
    )
    intervene: Path | None = option(
        None, "Plan of interventions (JSON): what is written into which states while the network runs."
    )
    flatten: bool = option(False, "Store each state as one vector.")
    noise: Literal["common", "independent"] = option(
        "common",
        "Noise of stochastic schedulers: common draws one for all samples, independent one for each.",
    )
    output_format: Literal["auto", "pt", "zarr"] = option(
        "auto", "auto is zarr if the output is named NAME.zarr, otherwise pt."
    )
    codec: Literal["none", "zstd"] = option(
        "none", "Compression of a zarr store; zstd makes floats a little smaller."
    )
    state_dtype: Literal["auto", "float16", "float32", "float64"] = option(
        "auto", "Precision in which states are stored; auto is that of each layer."
    )
    every: tuple[int, ...] = option(
        (1,), "Steps whose states are recorded: one number K for every K-th step, or a list of steps.", STEPS
    )
    channels: str | None = option(None, "Channels of each state that are recorded: 0:8, ::2 or 0,3,7.")
    height: str | None = option(None, "Rows of each state that are recorded.")
    width: str | None = option(None, "Columns of each state that are recorded.")
    reduce: str = option(
        "none",
        "Reduction of each state: none, spatial_mean, channel_mean, norm, or project:K (random, to K numbers).",
    )
    sampler_dtype: Literal["auto", "float32", "float64"] = option(
        "auto", "Precision of x_t between steps; auto is that of the network."
    )
    fast: bool = option(False, "Compile the network, in channels-last memory format; changes the last bits.")
    tf32: bool = option(False, "Allow TF32 on CUDA: factors of products are rounded to 10 bits.")
    on_nonfinite: Literal["mark", "stop"] = option(
        "mark", "What to do about NaN or Inf: mark the sample and continue, or stop."
    )
    resume: bool = option(False, "Continue earlier work: finished parts stay, the rest is computed.")
    overwrite: bool = option(False, "Replace earlier work at the same path.")

    def __post_init__(self) -> None:
        for name in ("timesteps", "sigmas"):
            object.__setattr__(self, name, _as_list(getattr(self, name)))
        super().__post_init__()
        if self.resume and self.overwrite:
            resume, overwrite = spelled("resume", True), spelled("overwrite", True)
            raise UserError(f"{resume} and {overwrite} contradict each other; allowed: one of them")
        self._count_steps()

    def _count_steps(self) -> None:
        """Set `num_steps` to the number of the timesteps or noise levels that are given."""
        if self.timesteps and self.sigmas:
            raise UserError(
                f"{spelled('timesteps')} and {spelled('sigmas')} exclude each other; allowed: one of them"
            )
        name = "timesteps" if self.timesteps else "sigmas"
        count = len(self.timesteps) or sum(value > 0 for value in self.sigmas)
        if not count:
            return
        if self.num_steps not in (count, type(self).num_steps):
            raise UserError(
                f"{self.spelled('num_steps')} is {self.num_steps}, but {spelled(name)} defines {count} steps; leave out "
                f"{self.spelled('num_steps')}"
            )
        object.__setattr__(self, "num_steps", count)


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Checked):
    """What is classified, by which classifier, and with which weights."""

    tensors: Path = option(
        Path("outputs"), "Folder of final tensors or sequences, or an output folder that holds them."
    )
    classifier: Literal["auto", "lenet", "digits-cnn"] = option(
        "auto", "lenet for images of 28 × 28 pixels, digits-cnn for 8 × 8; auto is the one for the images."
    )
    classifier_weights: Path | None = option(
        None, "Weights of the classifier (.safetensors or .pt); by default the bundled ones."
    )
    reject: bool = option(
        False, "Label images that show no digit −1; about 1 % of real digits are rejected too."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classifier_weights is None:
            return
        check_rejection(self.reject, "classifier_weights", self.classifier_weights)
        if self.classifier != "auto":
            raise UserError(
                f"{spelled('classifier', self.classifier)} is for bundled weights, and {spelled('classifier_weights')} is "
                f"{self.classifier_weights}; leave out one of them"
            )


def check_guidance(options: InferenceConfig) -> None:
    """Refuse options of a condition that exclude each other, and guidance without a condition."""
    if options.condition and options.labels:
        raise UserError(f"{spelled('condition')} and {spelled('labels')} are both given; give one of them")
    if options.guidance_scale != 1 and not options.condition and not options.labels:
        scale = spelled("guidance_scale", options.guidance_scale)
        raise UserError(f"{scale} needs {spelled('labels')} or {spelled('condition')} to guide by")


def check_rejection(reject: bool, name: str, value: Any) -> None:
    """Refuse to reject images by a classifier that is not bundled: it has no statistics of digits.

    Args:
        name: the argument that names the other classifier or its weights.
        value: its value.

    Raises: UserError with both arguments.
    """
    if reject:
        shown = value if isinstance(value, (str, Path)) else describe(value)
        raise UserError(
            f"{spelled('reject', True)} needs the statistics of digits that bundled classifiers have, and {spelled(name)} "
            f"is {shown}; leave out one of them"
        )


@dataclass(frozen=True, kw_only=True)
class DefaultConfig(Checked):
    """Perturbations, planes and pictures."""

    num_perturbations: int = option(5, "Number of perturbed noises around the base.", at_least(1))
    epsilon: float = option(500.0, "L2 norm of each perturbation.", POSITIVE)
    base_seed: int = option(42, "Seed of the base noise.", SEED)
    perturb_seed: int = option(69, "Seed of the perturbations' directions.", SEED)
    directions: str = option(
        "random",
        "Directions of the perturbations: random, simplex (equal angles), or a file of them, .pt [n, C, H, W].",
    )
    num_prompts_per_direction: tuple[int, int] = option((25, 41), "Cells along u and along v.", COUNTS)
    len_per_direction: tuple[float, float] | None = option(
        None,
        "Side lengths of the plane along u and along v (L2); by default 2000 and 3000, on a sphere a third of its circumference.",
        LENGTHS,
    )
    center_coords: tuple[float, float] = option(
        (0.0, 0.0), "Centre (u, v) of the plane relative to its base."
    )
    plane_base_seed: int = option(420, "Seed of the plane's base noise.", SEED)
    direction_seeds: tuple[int, int] = option((100, 200), "Seeds of the plane's two directions.", SEEDS)
    geometry: Geometry = option(
        "flat",
        "flat: a plane; spherical: great circles through the base, so that each noise has the norm of the base.",
    )
    endpoint: bool = option(
        True,
        "Place the last noise along each axis at the end of its length; without, planes of 2, 4, 8, … times as many noises "
        "share points.",
    )
    image_output_dir: Path | None = option(
        None, "Folder of pictures; by default images/ in the output folder."
    )
    compare_folder: Path = option(Path("inputs"), "Folder of tensors to compare.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One instance of each configuration class: the defaults of a command or script."""

    system: SystemConfig = SystemConfig()
    generation: GenerationConfig = GenerationConfig()
    model: ModelConfig = field(default_factory=ModelConfig)
    inference: InferenceConfig = InferenceConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    default: DefaultConfig = DefaultConfig()

    @property
    def pictures(self) -> Path:
        """The folder of pictures."""
        return self.default.image_output_dir or self.system.output / "images"
