"""A small model's noises, a vector, a guided model, and a recording whose states go into other runs."""

import pytest
import tiny_models
import torch
from diffusers import DDIMScheduler

import denoscope as ds


@pytest.fixture
def x(tiny):
    return ds.noise.random(12, tiny.shape, seed=1)


@pytest.fixture(scope="session")
def vector():
    return torch.randn(16, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def guided():
    """A UNet with prompts, its condition for two samples, and their noises."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = tiny_models.conditional_unet().eval()
        words, empty = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    denoiser = ds.load(network, scheduler=DDIMScheduler(clip_sample=False), device="cpu")
    condition = ds.Condition({"encoder_hidden_states": words}, {"encoder_hidden_states": empty}, 3.0)
    return denoiser, condition, ds.noise.random(2, denoiser.shape, seed=2)


@pytest.fixture(scope="session")
def record():
    """Records four steps of two layers, unless given others."""
    return lambda denoiser, x, out, **options: ds.record(
        denoiser, x, out, **{"steps": 4, "layers": ["mid_block", "conv_out"]} | options
    )


@pytest.fixture(scope="session")
def source(tiny, record, tmp_path_factory):
    """The path of a recording of other samples."""
    x = ds.noise.random(12, tiny.shape, seed=9)
    return record(tiny, x, tmp_path_factory.mktemp("sources") / "b.zarr").path
