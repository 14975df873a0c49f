"""A tiny pipeline of every family with random weights, and what to call it with: well under a second a call.

Each builder gives the pipeline and the arguments of a call of two samples in three steps, the same each time.
A call spends the generator among the arguments: to repeat it, build again or keep a deep copy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

Built = tuple[Any, dict[str, Any]]
SAMPLES, STEPS, SIZE = 2, 3, 8
PIPELINES: dict[str, Callable[[], Built]] = {}


def pipeline(build: Callable[[], Built]) -> Callable[[], Built]:
    """Make a builder use one seed, without changing the state of the program's random numbers."""

    @wraps(build)
    def built() -> Built:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pipe, arguments = build()
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        common = {"num_inference_steps": STEPS, "generator": torch.Generator().manual_seed(1)}
        return pipe, common | arguments

    PIPELINES[build.__name__] = built
    return built


def unet(**options: Any) -> torch.nn.Module:
    """A UNet2DModel of [3, 8, 8] with attention in its middle."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        **{
            "sample_size": SIZE,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "norm_num_groups": 4,
            "attention_head_dim": 8,
            **options,
        }
    )


def conditional_unet(**options: Any) -> torch.nn.Module:
    """A UNet2DConditionModel of latents [4, 8, 8] and texts of width 8, which its first and its middle block attend to."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "sample_size": SIZE,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "norm_num_groups": 4,
            "attention_head_dim": 2,
            "cross_attention_dim": 8,
            **options,
        }
    )


def pixart_network(**options: Any) -> torch.nn.Module:
    """A PixArtTransformer2DModel of latents [4, 8, 8] and texts of width 6, with learned variances."""
    from diffusers import PixArtTransformer2DModel

    return PixArtTransformer2DModel(
        **{
            "sample_size": SIZE,
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            "cross_attention_dim": 24,
            "caption_channels": 6,
            **options,
        }
    )


def flux_network(**options: Any) -> torch.nn.Module:
    """A FluxTransformer2DModel of tokens of 16 channels."""
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        **{
            "in_channels": 16,
            "num_layers": 1,
            "num_single_layers": 1,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "joint_attention_dim": 8,
            "pooled_projection_dim": 6,
            "axes_dims_rope": (2, 2, 4),
            **options,
        }
    )


def vae(channels: int = 4) -> torch.nn.Module:
    """An AutoencoderKL whose latents are as wide as its images."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4,), latent_channels=channels, norm_num_groups=2, sample_size=SIZE
    )


def text(words: int, width: int, name: str = "prompt_embeds") -> dict[str, torch.Tensor]:
    """Embeddings for each sample, and others for the negative prompt."""
    return {
        f"{half}{name}": torch.randn(SAMPLES, *(n for n in (words, width) if n)) for half in ("", "negative_")
    }


def latent_arguments(**more: Any) -> dict[str, Any]:
    return {"height": SIZE, "width": SIZE, "output_type": "latent", **more}


@pipeline
def ddpm() -> Built:
    from diffusers import DDPMPipeline, DDPMScheduler

    return DDPMPipeline(unet(), DDPMScheduler()), {"batch_size": SAMPLES, "output_type": "np"}


@pipeline
def ddim() -> Built:
    from diffusers import DDIMPipeline, DDIMScheduler

    return DDIMPipeline(unet(), DDIMScheduler()), {"batch_size": SAMPLES, "output_type": "np"}


@pipeline
def consistency() -> Built:
    """The one pipeline of class-conditional UNet2DModels."""
    from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline

    arguments = {"batch_size": SAMPLES, "class_labels": [1, 3], "output_type": "pt"}
    return ConsistencyModelPipeline(unet(num_class_embeds=4), CMStochasticIterativeScheduler()), arguments


@pipeline
def stable_diffusion() -> Built:
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    parts = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    pipe = StableDiffusionPipeline(
        vae(), unet=conditional_unet(), scheduler=scheduler, requires_safety_checker=False, **parts
    )
    return pipe, latent_arguments(**text(5, 8), guidance_scale=5.0)


@pipeline
def stable_diffusion_xl() -> Built:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    network = conditional_unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 6,
    )
    parts = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipe = StableDiffusionXLPipeline(
        vae(), unet=network, scheduler=EulerDiscreteScheduler(), add_watermarker=False, **parts
    )
    embeddings = text(5, 8) | text(0, 6, "pooled_prompt_embeds")
    return pipe, latent_arguments(**embeddings, guidance_scale=5.0)


@pipeline
def latent_consistency() -> Built:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    parts = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    pipe = LatentConsistencyModelPipeline(
        vae(),
        unet=conditional_unet(time_cond_proj_dim=6),
        scheduler=LCMScheduler(),
        requires_safety_checker=False,
        **parts,
    )
    return pipe, latent_arguments(prompt_embeds=text(5, 8)["prompt_embeds"], guidance_scale=5.0)


@pipeline
def dit() -> Built:
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    network = DiTTransformer2DModel(
        sample_size=SIZE, out_channels=8, num_layers=2, num_attention_heads=2, attention_head_dim=8
    )
    return DiTPipeline(network, vae(), DDIMScheduler()), {
        "class_labels": [1, 3],
        "guidance_scale": 4.0,
        "output_type": "pt",
    }


@pipeline
def pixart_alpha() -> Built:
    """The pipeline for images of 1024 by 1024 pixels, whose network takes the size."""
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline

    pipe = PixArtAlphaPipeline(
        None, None, vae(), pixart_network(sample_size=128), DPMSolverMultistepScheduler()
    )
    return pipe, pixart_arguments()


@pipeline
def pixart_sigma() -> Built:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline

    pipe = PixArtSigmaPipeline(None, None, vae(), pixart_network(), DPMSolverMultistepScheduler())
    return pipe, pixart_arguments()


def pixart_arguments() -> dict[str, Any]:
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    masks = {"prompt_attention_mask": mask, "negative_prompt_attention_mask": torch.ones_like(mask)}
    options = {"use_resolution_binning": False, "guidance_scale": 4.5, "negative_prompt": None}
    return latent_arguments(**text(5, 6), **masks, **options)


@pipeline
def stable_diffusion_3() -> Built:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    network = SD3Transformer2DModel(
        sample_size=SIZE,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        caption_projection_dim=16,
        pooled_projection_dim=6,
        pos_embed_max_size=8,
    )
    encoders = {f"text_encoder{n}": None for n in ("", "_2", "_3")}
    tokenizers = {f"tokenizer{n}": None for n in ("", "_2", "_3")}
    pipe = StableDiffusion3Pipeline(
        network, FlowMatchEulerDiscreteScheduler(), vae(), **encoders, **tokenizers
    )
    embeddings = text(5, 8) | text(0, 6, "pooled_prompt_embeds")
    return pipe, latent_arguments(**embeddings, guidance_scale=5.0)


@pipeline
def flux() -> Built:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    parts = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    pipe = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(), vae(), transformer=flux_network(guidance_embeds=True), **parts
    )
    embeddings = {
        "prompt_embeds": torch.randn(SAMPLES, 5, 8),
        "pooled_prompt_embeds": torch.randn(SAMPLES, 6),
    }
    return pipe, latent_arguments(**embeddings, guidance_scale=3.5)
