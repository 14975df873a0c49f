"""Denoising that begins with an image with noise, against plain loops of diffusers from image to image."""

import diffusers
import pytest
import torch

import denoscope as ds
from denoscope.foundation.errors import UserError
from denoscope.foundation.random_streams import stream

STEPS, ROWS = 10, 4
# NumPy 2's warning about how diffusers converts tensors.
NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STOCHASTIC = {"DDPMScheduler": "ddpm", "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete"}
"""The modules from which schedulers that add noise draw it."""


@pytest.fixture
def x_T(tiny):
    return ds.noise.random(ROWS, tiny.shape, seed=1).batch(range(ROWS))


@pytest.fixture
def image(tiny):
    return torch.rand(tiny.shape, generator=torch.Generator().manual_seed(2)) * 2 - 1


@NUMPY_2
@pytest.mark.parametrize("level", [0.3, 1])
@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"],
)
def test_it_is_the_plain_loop_from_image_to_image_bit_for_bit(
    make_unet, x_T, image, monkeypatch, name, level
):
    """As in diffusers' pipelines: the scheduler begins with the step, adds the noise, and steps to the end."""
    denoiser = ds.load(make_unet(), scheduler=name, device="cpu")
    scheduler = type(denoiser.scheduler).from_config(denoiser.scheduler.config)
    scheduler.set_timesteps(STEPS)
    first = STEPS - round(level * STEPS)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps = scheduler.timesteps[first:]
    sequence = [scheduler.add_noise(image.expand_as(x_T), x_T, timesteps[:1].repeat(ROWS))]
    draws = (
        torch.randn(denoiser.shape, generator=stream("step noise", 42, index)).expand_as(x_T)
        for index in range(first, STEPS)
    )
    with monkeypatch.context() as patch, torch.no_grad():
        if name in STOCHASTIC:
            module = f"diffusers.schedulers.scheduling_{STOCHASTIC[name]}"
            patch.setattr(f"{module}.randn_tensor", lambda *_, **__: next(draws))
        for timestep in timesteps:
            x = sequence[-1]
            rows = scheduler.scale_model_input(x, timestep)
            output = denoiser.network(rows, timestep).sample
            sequence.append(scheduler.step(output, timestep, x).prev_sample)
    steps = list(ds.denoise(denoiser, x_T, steps=STEPS, lanes=ROWS, image=image, level=level))
    assert [step.index for step in steps] == list(range(first, STEPS))
    assert [step.timestep for step in steps] == timesteps.tolist()
    found = [steps[0].x_before, *(step.x_after for step in steps)]
    assert all(torch.equal(*pair) for pair in zip(found, sequence, strict=True))
    x_0 = ds.sample(denoiser, x_T, steps=STEPS, lanes=ROWS, image=image.numpy(), level=level)
    assert torch.equal(x_0, sequence[-1])


def test_the_bits_do_not_depend_on_the_batch(tiny, x_T, image):
    options = {"steps": STEPS, "lanes": 2, "image": image, "level": 0.5}
    whole = ds.sample(tiny, x_T, **options)
    assert torch.equal(torch.cat([ds.sample(tiny, x_T[k : k + 1], **options) for k in range(ROWS)]), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 0.3}, "level is 0.3 without an image"),
        ({"image": torch.zeros(2, 8, 8)}, r"level is None; allowed: 0\.1 to 1"),
        ({"image": torch.zeros(2, 8, 8), "level": 0.04}, r"level is 0\.04; allowed: 0\.1 to 1"),
        ({"image": torch.zeros(3, 8, 8), "level": 0.3}, r"image has shape \[3, 8, 8\]"),
    ],
)
def test_a_level_without_a_step_and_an_image_that_does_not_fit_are_refused(tiny, x_T, options, message):
    with pytest.raises(UserError, match=message):
        ds.sample(tiny, x_T, steps=STEPS, **options)


def test_a_scheduler_that_uses_earlier_steps_is_refused(make_unet, x_T, image):
    denoiser = ds.load(make_unet(), scheduler=diffusers.UniPCMultistepScheduler(), device="cpu")
    with pytest.raises(UserError, match="UniPCMultistepScheduler cannot begin between two steps"):
        ds.sample(denoiser, x_T, steps=STEPS, image=image, level=0.3)
