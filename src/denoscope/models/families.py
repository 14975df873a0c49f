"""The families of denoising networks in diffusers: their inputs, and how their pipelines call them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from denoscope.foundation.dtypes import COMPUTED
from denoscope.foundation.errors import NetworkError, UserError
from denoscope.hooks.module_survey import Layer, first_tensor, survey
from denoscope.models.conditioning import GUIDED

Config = Mapping[str, Any]
Inputs = Mapping[str, Any]
"""A network's inputs other than x and timestep, by argument name; a value may be a mapping itself."""

PACKED_TOKENS = 64 * 64
"""Tokens of a packed state by default: those of an image of 1024 by 1024, the default of the pipelines."""
WITHOUT_ROWS = ("img_ids", "txt_ids")
"""Inputs that are shared by all rows."""


@dataclass(frozen=True)
class Family:
    """The networks of one class of diffusers; `name` is "" for any other module.

    `branches` names the halves of the rows of a guided call, in the order of the family's pipelines. It is empty if
    no call holds both, because guidance is embedded, takes two calls or does not exist. A `packed` state is tokens
    [tokens, channels], which the pipeline makes from latents of a height and width.
    """

    name: str
    branches: tuple[str, ...]
    clock: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """The timestep in the form that the network takes, from the scheduler's timestep and x."""
    needs: Callable[[Config, torch.Tensor], dict[str, Any]]
    """The computation of `example_inputs`."""
    packed: bool = False

    def call(
        self, network: nn.Module, x: torch.Tensor, timestep: torch.Tensor, inputs: Inputs | None = None
    ) -> torch.Tensor:
        """The network's output for states x [rows, …], with the bits of the pipeline's own call.

        `timestep` is the scheduler's: a scalar, or one entry per row.
        """
        time, further = self.clock(timestep, x), inputs or {}
        # Only diffusers' classes agree on the name, and only they put other arguments before it.
        output = network(x, timestep=time, **further) if self.name else network(x, time, **further)
        tensor = first_tensor(output)
        if tensor is None:
            raise NetworkError(
                f"{type(network).__name__} returned a {type(output).__name__}; allowed: a tensor, or an object with one in .sample"
            )
        return tensor

    def example_inputs(self, config: Config, x: torch.Tensor) -> dict[str, Any]:
        """Zeros for every input that a network of this configuration requires besides states x and timestep.

        Texts have the length that the family's pipelines give them.

        Raises: UserError if the configuration requires an input that denoscope does not know.
        """
        return self.needs(config, x)

    def state_shape(self, config: Config) -> tuple[int, ...] | None:
        """The shape of one state, (C, H, W) or packed (tokens, channels); None if the configuration lacks it."""
        channels, size = config.get("in_channels"), config.get("sample_size")
        if self.packed and channels is not None:
            return PACKED_TOKENS, int(channels)
        if channels is None or size is None:
            return None
        height, width = (size, size) if isinstance(size, int) else size
        return int(channels), int(height), int(width)


def family_of(network: nn.Module) -> Family:
    """The family of a network's class, or of the nearest class from which it is derived."""
    return _family_of_class(type(network))


def known_family(kind: type) -> Family:
    """The family of a class of networks that will be called.

    Raises: UserError for a class of diffusers whose inputs denoscope does not know.
    """
    family = _family_of_class(kind)
    if not family.name and kind.__module__.startswith("diffusers."):
        raise UserError(
            f"the inputs of {kind.__name__} are not known; allowed: {', '.join(FAMILIES)}, "
            "or any module called as module(x, timestep)"
        )
    return family


def config_of(network: nn.Module) -> Config:
    """The network's configuration; empty if it has none."""
    config = getattr(network, "config", None)
    return config if isinstance(config, Mapping) else {}


def device_of(network: nn.Module) -> torch.device:
    """The device of the first parameter or buffer; the CPU if there is none."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return next(tensors, torch.empty(0)).device


def dtype_of(network: nn.Module) -> torch.dtype:
    """The precision in which a network computes.

    It is the network's own `dtype` if it has one: weights may be stored in another precision, as in diffusers'
    layerwise casting. Otherwise it is the precision to which that casts, or that of the first parameter in one in which
    layers compute; float32 without such parameters.
    """
    stated = getattr(network, "dtype", None)
    if isinstance(stated, torch.dtype) and stated.is_floating_point:
        return stated
    return next(iter(precisions_of(network)), torch.float32)


def precisions_of(network: nn.Module) -> list[torch.dtype]:
    """The precisions in which the layers of a network compute, in the order of its modules and parameters.

    Weights in precisions such as float8 are only stored in them.
    """
    cast = dict.fromkeys(dtype for module in network.modules() if (dtype := _cast_to(module)) is not None)
    return list(cast) or list(dict.fromkeys(p.dtype for p in network.parameters() if p.dtype in COMPUTED))


def _cast_to(module: nn.Module) -> torch.dtype | None:
    """The precision to which diffusers' layerwise casting casts the weights of a module; None without it."""
    registry = getattr(module, "_diffusers_hook", None)
    hook = None if registry is None else registry.get_hook("layerwise_casting")
    return getattr(hook, "compute_dtype", None)


def layers_of(
    network: nn.Module,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    inputs: Inputs | None = None,
) -> list[Layer]:
    """Every module in call order, from a dry run on the device of the network's parameters, which may be "meta".

    >>> layers_of(blueprint("stable-diffusion-v1-5"))

    For the arguments see `dry_run`.
    """
    return survey(network, dry_run(network, shape=shape, dtype=dtype, inputs=inputs))


def dry_run(
    network: nn.Module,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    inputs: Inputs | None = None,
) -> Callable[[int], None]:
    """A function that calls the network once on a given number of rows of zeros.

    Args:
        shape: of one state; the network's own unless given.
        dtype: of the states; that of the network unless given.
        inputs: used instead of examples; the first row of each is used for all rows.

    Raises:
        UserError: if the network states no shape, or requires an input that denoscope does not know.
    """
    chosen = shape or known_family(type(network)).state_shape(config_of(network))
    if chosen is None:
        raise UserError(
            f"{type(network).__name__} does not state the shape of its states; pass shape=(C, H, W)"
        )

    def run(rows: int) -> None:
        x = torch.zeros(rows, *chosen, dtype=dtype or dtype_of(network), device=device_of(network))
        example_call(network, x, inputs)

    return run


def example_call(network: nn.Module, x: torch.Tensor, inputs: Inputs | None = None) -> torch.Tensor:
    """The network's output for states x [rows, …] at timestep 0, with zeros for the inputs that are left out.

    Raises: UserError if the network requires an input that denoscope does not know.
    """
    family, timestep = known_family(type(network)), torch.zeros((), dtype=torch.long, device=x.device)
    examples = family.example_inputs(config_of(network), x)
    return family.call(network, x, timestep, examples | _repeated(inputs or {}, x))


def _family_of_class(kind: type) -> Family:
    names = [base.__name__ for base in kind.__mro__]
    return next((FAMILIES[name] for name in names if name in FAMILIES), ANY_MODULE)


def _repeated(inputs: Inputs, x: torch.Tensor) -> dict[str, Any]:
    """The inputs with the first row of each tensor repeated for every row of x, on the device of x."""

    def repeat(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return _repeated(value, x)
        if not isinstance(value, torch.Tensor):
            return value
        value = value.to(x.device, x.dtype if value.is_floating_point() else None)
        has_rows = value.ndim > 0 and name not in WITHOUT_ROWS
        return value[:1].expand(len(x), *value.shape[1:]) if has_rows else value

    return {name: repeat(name, value) for name, value in inputs.items()}


def _unchanged(timestep: torch.Tensor, _x: torch.Tensor) -> torch.Tensor:
    return timestep


def _one_per_row(timestep: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return timestep.to(x.device).expand(len(x))


def _thousandth(timestep: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return _one_per_row(timestep, x).to(x.dtype) / 1000


def _nothing(_config: Config, _x: torch.Tensor) -> dict[str, Any]:
    return {}


def _unet(config: Config, x: torch.Tensor) -> dict[str, Any]:
    return _class_labels(config, x, time_factor=4)


def _conditional_unet(config: Config, x: torch.Tensor) -> dict[str, Any]:
    _check(config, "encoder_hid_dim_type", (None, "text_proj"))
    _check(config, "addition_embed_type", (None, "text", "text_time"))
    text = _zeros(x, 77, _width(config, "encoder_hid_dim", "cross_attention_dim"))
    needed: dict[str, Any] = {"encoder_hidden_states": text}
    needed |= _class_labels(config, x, time_factor=2 if config.get("time_embedding_type") == "fourier" else 4)
    if config.get("time_cond_proj_dim"):
        needed["timestep_cond"] = _zeros(x, _width(config, "time_cond_proj_dim"))
    if config.get("addition_embed_type") == "text_time":
        needed["added_cond_kwargs"] = _text_and_sizes(config, x)
    return needed


def _text_and_sizes(config: Config, x: torch.Tensor) -> dict[str, Any]:
    """SDXL's pooled text and six numbers: original size, crop and target size."""
    total = _width(config, "projection_class_embeddings_input_dim")
    per_number = _width(config, "addition_time_embed_dim")
    return {"text_embeds": _zeros(x, total - 6 * per_number), "time_ids": _zeros(x, 6)}


def _class_labels(config: Config, x: torch.Tensor, *, time_factor: int) -> dict[str, Any]:
    """What a UNet adds to the embedding of time, whose width is `time_factor` times that of the first block."""
    kind = config.get("class_embed_type")
    _check(config, "class_embed_type", (None, "timestep", "identity", "projection", "simple_projection"))
    if kind is None and config.get("num_class_embeds") is None:
        return {}
    if kind in (None, "timestep"):
        return {"class_labels": _labels(x)}
    if kind == "identity":
        width = config.get("time_embedding_dim") or time_factor * config["block_out_channels"][0]
        return {"class_labels": _zeros(x, width)}
    return {"class_labels": _zeros(x, _width(config, "projection_class_embeddings_input_dim"))}


def _dit(_config: Config, x: torch.Tensor) -> dict[str, Any]:
    return {"class_labels": _labels(x)}


def _pixart(config: Config, x: torch.Tensor) -> dict[str, Any]:
    needed: dict[str, Any] = {
        "encoder_hidden_states": _zeros(x, 120, _width(config, "caption_channels", "cross_attention_dim"))
    }
    sized = config.get("use_additional_conditions")
    # The rule of the network itself: only models for images of 1024 by 1024 take sizes.
    if sized or (sized is None and config.get("sample_size") == 128):
        needed["added_cond_kwargs"] = {"resolution": _zeros(x, 2), "aspect_ratio": _zeros(x, 1)}
    return needed


def _sd3(config: Config, x: torch.Tensor) -> dict[str, Any]:
    return {
        "encoder_hidden_states": _zeros(x, 77 + 256, _width(config, "joint_attention_dim")),
        "pooled_projections": _zeros(x, _width(config, "pooled_projection_dim")),
    }


def _flux(config: Config, x: torch.Tensor) -> dict[str, Any]:
    words, axes = 512, len(config["axes_dims_rope"])
    needed = {
        "encoder_hidden_states": _zeros(x, words, _width(config, "joint_attention_dim")),
        "pooled_projections": _zeros(x, _width(config, "pooled_projection_dim")),
        "img_ids": x.new_zeros(x.shape[1], axes),
        "txt_ids": x.new_zeros(words, axes),
    }
    if config.get("guidance_embeds"):
        needed["guidance"] = x.new_zeros(len(x), dtype=torch.float32)
    return needed


def _zeros(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return x.new_zeros(len(x), *shape)


def _labels(x: torch.Tensor) -> torch.Tensor:
    return x.new_zeros(len(x), dtype=torch.long)


def _width(config: Config, *names: str) -> int:
    """The first of these lengths that is set in the configuration."""
    value = next((config[name] for name in names if config.get(name) is not None), None)
    if not isinstance(value, int):
        raise UserError(f"the network's {' or '.join(names)} is {value!r}; allowed: an integer")
    return value


def _check(config: Config, name: str, allowed: tuple[str | None, ...]) -> None:
    if config.get(name) not in allowed:
        listed = ", ".join(map(str, allowed))
        raise UserError(
            f"the network's {name} is {config[name]!r}, whose inputs denoscope does not know; allowed: {listed}"
        )


ANY_MODULE = Family("", (), _unchanged, _nothing)
FAMILIES = {
    family.name: family
    for family in (
        Family("UNet2DModel", (), _unchanged, _unet),
        Family("UNet2DConditionModel", GUIDED, _unchanged, _conditional_unet),
        Family("DiTTransformer2DModel", ("cond", "uncond"), _one_per_row, _dit),
        Family("PixArtTransformer2DModel", GUIDED, _one_per_row, _pixart),
        Family("SD3Transformer2DModel", GUIDED, _one_per_row, _sd3),
        Family("FluxTransformer2DModel", (), _thousandth, _flux, packed=True),
    )
}
