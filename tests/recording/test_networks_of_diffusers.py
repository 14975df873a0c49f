"""Networks as diffusers builds them, also wrapped: recorded states equal those of bare hooks in a bare loop to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from tiny_models import PIPELINES, SIZE, pixart_network
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import denoscope as ds
from denoscope.hooks.module_survey import first_tensor

ROWS, STEPS = 4, 2


def unet(**options: Any) -> nn.Module:
    """A UNet2DModel with attention downwards and upwards."""
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    return tiny_models.unet(**{"down_block_types": down, "up_block_types": up} | options)


def conditional_unet(**options: Any) -> nn.Module:
    """A UNet2DConditionModel with attention upwards too."""
    return tiny_models.conditional_unet(**{"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")} | options)


def flat(*blocks: str, **options: Any) -> nn.Module:
    """A UNet2DModel with these blocks downwards and upwards."""
    up = [name.replace("Down", "Up").replace("down", "up") for name in reversed(blocks)]
    return unet(down_block_types=blocks, up_block_types=tuple(up), **options)


UNETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: unet(),
    "labels": lambda: unet(num_class_embeds=5),
    "labels as timesteps": lambda: unet(class_embed_type="timestep"),
    "labels as vectors": lambda: unet(class_embed_type="identity"),
    "time as scale and shift": lambda: unet(resnet_time_scale_shift="scale_shift"),
    "resnets that resize": lambda: flat("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "resnet downsampling": lambda: unet(downsample_type="resnet", upsample_type="resnet"),
    "skips": lambda: flat("SkipDownBlock2D", "AttnSkipDownBlock2D", block_out_channels=(32, 64), norm_num_groups=32),
    "no attention": lambda: flat("DownBlock2D", "DownBlock2D", add_attention=False),
    "attention of one head": lambda: unet(attention_head_dim=None, attn_norm_num_groups=2),
    "time as Fourier features": lambda: unet(time_embedding_type="fourier"),
    "learned times": lambda: unet(time_embedding_type="learned", num_train_timesteps=1000),
    "centred": lambda: unet(center_input_sample=True, mid_block_scale_factor=2.0),
    "two layers, SiLU, dropout": lambda: unet(layers_per_block=2, dropout=0.3, act_fn="gelu"),
    "not square": lambda: unet(sample_size=(4, 12)),
    "odd": lambda: unet(
        sample_size=(7, 9), block_out_channels=(8,), down_block_types=("AttnDownBlock2D",), up_block_types=("AttnUpBlock2D",)
    ),
}  # fmt: skip
CONDITIONAL: dict[str, Callable[[], nn.Module]] = {
    "text": lambda: conditional_unet(),
    "text, odd": lambda: conditional_unet(sample_size=(7, 9)),
    "text and labels": lambda: conditional_unet(num_class_embeds=5),
    "text and vectors": lambda: conditional_unet(
        class_embed_type="projection", projection_class_embeddings_input_dim=6
    ),
    "text and timesteps": lambda: conditional_unet(class_embed_type="timestep"),
    "text and embeddings of time": lambda: conditional_unet(class_embed_type="identity"),
    "text and projected vectors": lambda: conditional_unet(
        class_embed_type="simple_projection", projection_class_embeddings_input_dim=6
    ),
    "linear projections": lambda: conditional_unet(use_linear_projection=True, upcast_attention=True),
    "two transformers": lambda: conditional_unet(transformer_layers_per_block=2),
    "only cross attention": lambda: conditional_unet(
        only_cross_attention=True, mid_block_type="UNetMidBlock2DSimpleCrossAttn"
    ),
    "DiT": lambda: PIPELINES["dit"]()[0].transformer,
    "PixArt": lambda: pixart_network(),
    "SD3": lambda: PIPELINES["stable_diffusion_3"]()[0].transformer,
}


class LowRank(nn.Module):
    """The change that LoRA makes to a weight."""

    def __init__(self, weight: torch.Tensor, rank: int = 2):
        super().__init__()
        self.a, self.b = (
            nn.Parameter(torch.randn(weight.shape[0], rank)),
            nn.Parameter(torch.randn(rank, weight.shape[1])),
        )

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + 0.1 * self.a @ self.b


class LoRALinear(nn.Module):
    """A linear layer beside which LoRA's two run, as PEFT replaces layers."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base_layer = base
        self.lora_A, self.lora_B = (
            nn.Linear(base.in_features, 2, bias=False),
            nn.Linear(2, base.out_features, bias=False),
        )

    def forward(self, x: torch.Tensor, *_: Any) -> torch.Tensor:
        return self.base_layer(x) + 0.5 * self.lora_B(self.lora_A(x))


def queries_of(network: nn.Module) -> list[tuple[nn.Module, str]]:
    return [
        (module, name)
        for module in network.modules()
        for name, child in module.named_children()
        if name == "to_q"
    ]


def weight_norm(network: nn.Module) -> nn.Module:
    for module in [m for m in network.modules() if isinstance(m, nn.Conv2d)]:
        parametrizations.weight_norm(module)
    return network


def merged_lora(network: nn.Module) -> nn.Module:
    for module, name in queries_of(network):
        parametrize.register_parametrization(
            getattr(module, name), "weight", LowRank(getattr(module, name).weight)
        )
    return network


def lora(network: nn.Module) -> nn.Module:
    for module, name in queries_of(network):
        setattr(module, name, LoRALinear(getattr(module, name)))
    return network


def checkpointing(network: nn.Module) -> nn.Module:
    network.enable_gradient_checkpointing()
    return network


def layerwise_casting(network: nn.Module) -> nn.Module:
    network.to(torch.bfloat16)
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    return network


def compiled(network: nn.Module) -> nn.Module:
    network.compile(backend="eager")
    return network


WRAPPED = {
    f.__name__: f
    for f in (weight_norm, merged_lora, lora, nn.DataParallel, checkpointing, layerwise_casting, compiled)
}


def made(
    build: Callable[[], nn.Module], wrap: Callable[[nn.Module], nn.Module] = lambda network: network
) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Frozen, as denoscope's runs are: PyTorch multiplies by weights that require gradients in another order.
        return wrap(build().eval()).eval().requires_grad_(False)


def inputs_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Different inputs for each row, such as a user of this network makes."""
    config, draw = network.config, torch.Generator().manual_seed(1)
    kind, name = config.get("class_embed_type"), type(network).__name__
    inputs: dict[str, torch.Tensor] = {}
    if name == "DiTTransformer2DModel" or (config.get("num_class_embeds") and kind is None):
        inputs["class_labels"] = torch.arange(ROWS)
    elif kind == "timestep":
        inputs["class_labels"] = torch.arange(ROWS) + 0.5
    elif kind is not None:
        width = config.get("projection_class_embeddings_input_dim") or 4 * config["block_out_channels"][0]
        inputs["class_labels"] = torch.randn(ROWS, width, generator=draw)
    for size in (
        config.get(key) for key in ("joint_attention_dim", "caption_channels", "cross_attention_dim")
    ):
        if size and name != "UNet2DModel" and "encoder_hidden_states" not in inputs:
            inputs["encoder_hidden_states"] = torch.randn(ROWS, 5, size, generator=draw)
    if "pooled_projection_dim" in config:
        inputs["pooled_projections"] = torch.randn(ROWS, config["pooled_projection_dim"], generator=draw)
    return inputs


@torch.no_grad()
def bare(
    network: nn.Module, x: torch.Tensor, names: list[str], inputs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The sequence and the outputs of layers by diffusers alone: [rows, step, …]."""
    from diffusers import DDIMScheduler

    inner = network.module if isinstance(network, nn.DataParallel) else network
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    handles = [
        inner.get_submodule(name).register_forward_hook(
            lambda _m, _a, output, name=name: seen[name].append(first_tensor(output).clone())
        )
        for name in names
    ]
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(STEPS)
    sequence = [x]
    inputs = {
        name: value.to(x.dtype) if value.is_floating_point() else value for name, value in inputs.items()
    }
    for t in scheduler.timesteps:
        # Transformers take a timestep for each row, as their pipelines give it.
        time = t.expand(ROWS) if "Transformer" in type(inner).__name__ else t
        output = network(sequence[-1], timestep=time, **inputs).sample
        output = output[:, : x.shape[1]]  # without learned variances
        sequence.append(scheduler.step(output, t, sequence[-1]).prev_sample)
    for handle in handles:
        handle.remove()
    return {
        "sequence": torch.stack(sequence, 1),
        **{name: torch.stack(states, 1) for name, states in seen.items()},
    }


def check(network: nn.Module) -> int:
    """Compare all layers that run once in a call; returns their number."""
    from diffusers import DDIMScheduler

    inner = network.module if isinstance(network, nn.DataParallel) else network
    inputs = inputs_of(inner)
    denoiser = ds.load(network, scheduler=DDIMScheduler(clip_sample=False), device="cpu")
    names = [
        layer.address
        for layer in denoiser.layers()
        if layer.calls == 1 and layer.shape is not None and layer.elements == 1
    ]
    x = ds.noise.random(ROWS, denoiser.shape, seed=2)
    found = ds.record(denoiser, x, steps=STEPS, layers=names, lanes=ROWS, condition=ds.Condition(inputs))
    wanted = bare(network, x.batch(range(ROWS)).to(denoiser.dtype), names, inputs)
    arrays = {"sequence": found.sequence, **found.states}
    assert set(arrays) == set(wanted)
    for name, array in arrays.items():
        # bfloat16 is stored as float32, which contains it.
        one, other = torch.from_numpy(array.to_numpy()), wanted[name]
        # Fourier features of timestep 0 are NaN in both.
        assert np.array_equal(one, other.to(one.dtype), equal_nan=True), name
    return len(names)


SAMPLE = ("labels as vectors", "odd", "skips", "text, odd", "SD3")
BUILDERS = UNETS | CONDITIONAL


def cases(every: Any, sample: Any) -> list[Any]:
    return [pytest.param(name, marks=() if name in sample else pytest.mark.slow) for name in every]


@pytest.mark.parametrize("name", cases(BUILDERS, SAMPLE))
def test_what_is_recorded_is_what_bare_hooks_see(name):
    assert check(made(BUILDERS[name])) > 10


@pytest.mark.parametrize("wrapper", cases(WRAPPED, ("lora", "checkpointing", "layerwise_casting")))
@pytest.mark.parametrize("name", [pytest.param("text", marks=pytest.mark.slow), "plain"])
def test_what_is_recorded_of_a_wrapped_network_is_what_bare_hooks_see(name, wrapper):
    assert check(made(BUILDERS[name], WRAPPED[wrapper])) > 10


def test_a_network_of_videos_is_refused_by_its_class():
    from diffusers import UNet3DConditionModel

    blocks = {"down_block_types": ("DownBlock3D",), "up_block_types": ("UpBlock3D",)}
    network = UNet3DConditionModel(block_out_channels=(8,), norm_num_groups=4, attention_head_dim=4, **blocks)
    with pytest.raises(
        ds.UserError,
        match=r"inputs of UNet3DConditionModel are not known; allowed: UNet2DModel, .*module\(x, timestep\)",
    ):
        ds.load(network, scheduler="ddim")


class Frames(nn.Module):
    """A network of videos [n, C, F, H, W] whose frames are channels: states are [n, C·F, H, W]."""

    def __init__(self, network: nn.Module, frames: int = 2):
        super().__init__()
        self.network, self.frames = network, frames

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        video = x.unflatten(1, (-1, self.frames))
        return self.network(video, timestep, encoder_hidden_states).sample.flatten(1, 2)


@torch.no_grad()
def test_a_network_of_videos_is_recorded_with_its_frames_as_channels():
    """Its temporal layers have a row for each sample. Layers of single frames have not, and are refused by name."""
    from diffusers import DDIMScheduler, UNet3DConditionModel

    network = made(
        lambda: Frames(
            UNet3DConditionModel(
                block_out_channels=(8,),
                norm_num_groups=4,
                attention_head_dim=4,
                cross_attention_dim=8,
                layers_per_block=1,
                down_block_types=("DownBlock3D",),
                up_block_types=("UpBlock3D",),
            )
        )
    )
    temporal = "network.down_blocks.0.temp_convs.0.conv1"
    denoiser = ds.load(network, scheduler=DDIMScheduler(clip_sample=False), shape=(8, 4, 4), device="cpu")
    x = ds.noise.random(ROWS, denoiser.shape, seed=2)
    text = torch.randn(ROWS, 5, 8, generator=torch.Generator().manual_seed(1))
    options = {"steps": STEPS, "lanes": ROWS, "condition": ds.Condition({"encoder_hidden_states": text})}
    found = ds.record(denoiser, x, layers=[temporal], **options)

    seen: list[torch.Tensor] = []
    handle = network.get_submodule(temporal).register_forward_hook(
        lambda _m, _a, output: seen.append(output.clone())
    )
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(STEPS)
    video = x.batch(range(ROWS)).unflatten(1, (4, 2))
    for t in scheduler.timesteps:
        video = scheduler.step(network.network(video, t, text).sample, t, video).prev_sample
    handle.remove()
    assert torch.equal(torch.from_numpy(found.final.to_numpy()), video.flatten(1, 2))
    assert torch.equal(torch.from_numpy(found.states[temporal].to_numpy()), torch.stack(seen, 1))
    with pytest.raises(
        ds.UserError, match=r"'network.conv_in' has no dense tensor with one row of numbers per sample"
    ):
        ds.record(denoiser, x, layers=["network.conv_in"], **options)


def test_the_bare_loop_sees_a_change_of_one_layer():
    """The comparison can fail."""
    network = made(UNETS["plain"])
    x = torch.randn(ROWS, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    one = bare(network, x, ["conv_in"], {})
    network.conv_in.bias.data += 1e-3
    other = bare(network, x, ["conv_in"], {})
    assert not torch.equal(one["conv_in"], other["conv_in"]) and not torch.equal(
        one["sequence"], other["sequence"]
    )
