"""What an explorer shows: a model, its denoising loop, and the plane of noises through which the user moves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from denoscope.config import LANES, SEED, DefaultConfig, Geometry, InferenceConfig, SystemConfig
from denoscope.foundation.checked import Rule
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import LARGEST_INTEGER

Precision = Literal["auto", "float32", "float64"]
MOST_STEPS, MOST_LANES, LARGEST_SCALE = 1000, 256, 1000
SEEDS = f"0 to {LARGEST_INTEGER}"
LONGEST_TEXT = 200
"""Characters of a name."""
MOST_VALUES = 4096
"""Values of an image."""
IMAGE = re.compile(rf"[A-Za-z0-9_-]{{2,{-(-MOST_VALUES * 4 // 3)}}}")
LEVEL = re.compile(r"0\.[0-9]{1,6}|1")
SCALE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,16})?")
LENGTH = re.compile(r"[0-9]{1,6}(\.[0-9]{1,12})?")


@dataclass(frozen=True)
class Scene:
    """Everything that decides the labels of the plane; each field stands in the address of a view.

    The plane is a square around its base. Its cells lie on lattices of 2^k · 64 points along each side.
    """

    model: str
    scheduler: str = ""
    """Empty for the model's own."""
    clip_sample: bool | None = None
    """Whether the scheduler clips its estimate of x_0; None as the model's own."""
    steps: int = 10
    base_seed: int = DefaultConfig.plane_base_seed
    direction_seeds: tuple[int, int] = DefaultConfig.direction_seeds
    geometry: Geometry = "spherical"
    length: str = ""
    """The side of the plane (L2), a decimal number; empty for the one that fits the model."""
    dtype: Precision = "auto"
    """Precision of the network; auto is float32 where that resolves the cells, and float64 where it does not."""
    lanes: int | None = None
    """Rows of every network call; None as maps of the model take by default."""
    noise_seed: int = SystemConfig.seed
    reject: bool = False
    labels: tuple[int, ...] = ()
    """The class under which all noises are denoised; empty for a model without classes."""
    guidance_scale: float = InferenceConfig.guidance_scale
    """The scale s of classifier-free guidance u + s·(c − u); 1 means no guidance."""
    image: str = ""
    """An image to which every noise of the plane is added: a byte for each value, as base64url."""
    image_level: str = "0.3"
    """The share of the steps that is left for an image with noise: a decimal number."""
    through: tuple[int, ...] = ()
    """Three seeds through whose bases the plane goes, in place of base and directions."""

    def __post_init__(self) -> None:
        checks = {
            "model": (0 < len(self.model) <= LONGEST_TEXT, f"a name of up to {LONGEST_TEXT} characters"),
            "scheduler": (len(self.scheduler) <= LONGEST_TEXT, f"a name of up to {LONGEST_TEXT} characters"),
            "steps": (1 <= self.steps <= MOST_STEPS, f"1 to {MOST_STEPS}"),
            "base_seed": (_are_seeds((self.base_seed,), 1), SEEDS),
            "noise_seed": (_are_seeds((self.noise_seed,), 1), SEEDS),
            "direction_seeds": (_are_seeds(self.direction_seeds, 2), f"two different integers, {SEEDS}"),
            "geometry": (self.geometry in get_args(Geometry), ", ".join(get_args(Geometry))),
            "dtype": (self.dtype in get_args(Precision), ", ".join(get_args(Precision))),
            "lanes": (
                self.lanes is None or (LANES[1](self.lanes) and self.lanes <= MOST_LANES),
                f"{LANES[0]}, up to {MOST_LANES}",
            ),
            "length": (SIDE[1](self.length), SIDE[0]),
            "labels": (
                not self.labels or _are_seeds(self.labels, 1),
                "one class, that of all noises",
            ),
            "guidance_scale": (
                1 <= self.guidance_scale <= LARGEST_SCALE,
                f"a decimal number, 1 to {LARGEST_SCALE}",
            ),
            "image": (_is_image(self.image), f"up to {MOST_VALUES:,} bytes as base64url"),
            "image_level": (
                LEVEL.fullmatch(self.image_level) is not None and float(self.image_level) > 0,
                "a decimal number above 0, up to 1",
            ),
            "through": (
                not self.through or _are_seeds(self.through, 3),
                f"three different integers, {SEEDS}",
            ),
        }
        for name, (fits, allowed) in checks.items():
            if not fits:
                raise UserError(f"{name} is {_shortened(repr(getattr(self, name)))}; allowed: {allowed}")
        if self.guidance_scale != 1 and not self.labels:
            raise UserError(
                f"guidance_scale is {self.guidance_scale:g} without labels; name a class as labels, or leave it out"
            )

    @classmethod
    def of_fields(cls, texts: Mapping[str, str]) -> Scene:
        """The scene of the fields of an address, each a string; other fields keep their default.

        Raises: UserError naming the first field that is unknown or invalid.
        """
        known = {item.name: item.type for item in dataclasses.fields(cls)}
        if unknown := next((name for name in texts if name not in known), None):
            raise UserError(f"a view has no field {unknown[:40]!r}; its fields are {', '.join(known)}")
        if "model" not in texts:
            raise UserError("model is missing; allowed: the name of a model")
        values: dict[str, Any] = {}
        for name, text in texts.items():
            parse = _PARSERS.get(name, str)
            try:
                values[name] = parse(text)
            except ValueError:
                raise UserError(f"{name} is {text[:80]!r}; allowed: {_WORDS[parse]}") from None
        return cls(**values)

    @property
    def fields(self) -> dict[str, str]:
        """The fields that differ from their defaults, as texts; `of_fields` is the inverse."""
        return {
            item.name: _text(value)
            for item in dataclasses.fields(self)
            if (value := getattr(self, item.name)) != item.default
        }


def _is_length(text: str) -> bool:
    return not text or (LENGTH.fullmatch(text) is not None and Decimal(text) > 0)


SIDE: Rule = ("a decimal number above 0 and below 1,000,000, such as 18 or 0.5", _is_length)
"""What the side of a plane may be; empty for a third of a great circle."""


def _is_image(text: str) -> bool:
    return not text or (IMAGE.fullmatch(text) is not None and len(text) % 4 != 1)


def _are_seeds(seeds: tuple[int, ...], count: int) -> bool:
    """Whether there are `count` seeds or classes, all valid and different."""
    fit = (SEED[1](seed) and seed <= LARGEST_INTEGER for seed in seeds)
    return len(seeds) == len(set(seeds)) == count and all(fit)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise ValueError(text)
    return int(text)


def _pair(text: str) -> tuple[int, ...]:
    return tuple(_integer(part) for part in text.split(",", 2))


def _at_most_one(text: str) -> tuple[int, ...]:
    return (_integer(text),) if text else ()


def _decimal(text: str) -> float:
    if not SCALE.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _triple(text: str) -> tuple[int, ...]:
    return tuple(_integer(part) for part in text.split(",", 3)) if text else ()


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{Decimal(str(value)):f}".removesuffix(".0")
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


_PARSERS: dict[str, Any] = {
    **dict.fromkeys(("steps", "base_seed", "noise_seed", "lanes"), _integer),
    "direction_seeds": _pair,
    "through": _triple,
    "labels": _at_most_one,
    "guidance_scale": _decimal,
    **dict.fromkeys(("clip_sample", "reject"), _switch),
}
_WORDS: dict[Any, str] = {
    _integer: "an integer of up to 19 digits",
    _pair: "two integers, such as 100,200",
    _triple: "three integers, such as 1,2,3",
    _switch: "0 or 1",
    _at_most_one: "an integer, the class of all noises",
    _decimal: f"a decimal number, 1 to {LARGEST_SCALE}",
    str: "a string",
}
