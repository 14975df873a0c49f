"""Timesteps of a run: those that were requested, the caller's own, or a refusal before anything is computed."""

import logging
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.config import InferenceConfig

SHAPE = (1, 2, 2)
# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def make(name, **options):
    """A function that makes a scheduler."""
    return partial(getattr(diffusers, name), **options)


class Counted(nn.Module):
    """Returns half of x; counts its calls and records the timesteps."""

    def __init__(self):
        super().__init__()
        self.timesteps = []

    def forward(self, x, timestep):
        self.timesteps.append(float(timestep))
        return x / 2


def load(scheduler):
    scheduler = scheduler() if callable(scheduler) else scheduler
    return ds.load(Counted(), scheduler=scheduler, shape=SHAPE, device="cpu")


def refused(denoiser, *words, **options):
    with pytest.raises(ds.UserError) as caught:
        list(ds.denoise(denoiser, torch.ones(1, *SHAPE), **options))
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
    assert denoiser.network.timesteps == []


def plain(scheduler, x, **setting):
    """x_0 by diffusers' own loop."""
    scheduler.set_timesteps(**setting)
    x = x * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else x
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(scaled / 2, timestep, x).prev_sample
    return x


BROKEN = [
    (make("DDIMScheduler", timestep_spacing="trailing"), 61, ["62", "-1", "60"]),
    (make("EulerDiscreteScheduler", timestep_spacing="trailing"), 61, ["62", "-1", "60"]),
    (make("DDIMScheduler", num_train_timesteps=20, steps_offset=1), 20, ["IndexError"]),
    (
        make("UniPCMultistepScheduler", beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True),
        20,
        ["AssertionError"],
    ),
    (make("LCMScheduler"), 61, ["61"]),
    (make("DDIMScheduler", num_train_timesteps=20), 21, ["1 to 20"]),
]


@pytest.mark.parametrize(("scheduler", "steps", "words"), BROKEN)
def test_a_schedule_that_is_not_the_requested_one_is_refused_before_any_call(scheduler, steps, words):
    refused(load(scheduler), "steps", str(steps), *words, steps=steps)


@pytest.mark.parametrize("steps", [60, 62])
def test_the_neighbours_that_the_message_names_work(steps):
    denoiser = load(make("DDIMScheduler", timestep_spacing="trailing"))
    ds.sample(denoiser, torch.ones(1, *SHAPE), steps=steps)
    assert len(denoiser.network.timesteps) == steps


OWN_TIMESTEPS = [
    make("DDPMScheduler", clip_sample=False),
    make("EulerDiscreteScheduler"),
    make("HeunDiscreteScheduler"),
    make("DPMSolverMultistepScheduler"),
]


@pytest.mark.parametrize("scheduler", OWN_TIMESTEPS, ids=lambda scheduler: scheduler.func.__name__)
@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_own_timesteps_are_those_of_diffusers_own_loop(scheduler, form):
    timesteps, x = [900, 500, 100, 5], torch.ones(1, *SHAPE)
    denoiser = load(scheduler)
    steps = list(ds.denoise(denoiser, x, timesteps=form(timesteps), lanes=1))
    assert [step.timestep for step in steps] == timesteps
    if not denoiser.is_stochastic:
        expected = plain(scheduler(), x, timesteps=timesteps)
        assert torch.equal(steps[-1].x_after, expected)


SIGMAS = [3.0, 1.0, 0.4]
FLOW_SIGMAS = [1.0, 0.6, 0.2]
OWN_SIGMAS = [
    (make("EulerDiscreteScheduler"), SIGMAS, [*SIGMAS, 0.0]),
    (make("FlowMatchEulerDiscreteScheduler"), FLOW_SIGMAS, FLOW_SIGMAS),
    (
        make("UniPCMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction"),
        FLOW_SIGMAS,
        FLOW_SIGMAS,
    ),
]


@pytest.mark.parametrize("end", [[], [0.0]], ids=["without 0", "with 0"])
@pytest.mark.parametrize(("scheduler", "sigmas", "theirs"), OWN_SIGMAS)
def test_own_sigmas_are_those_of_diffusers_own_loop(scheduler, sigmas, theirs, end):
    x = torch.ones(1, *SHAPE)
    steps = list(ds.denoise(load(scheduler), x, sigmas=[*sigmas, *end], lanes=1))
    assert [step.sigma for step in steps] == pytest.approx(sigmas, rel=1e-5)
    assert torch.equal(steps[-1].x_after, plain(scheduler(), x, sigmas=np.array(theirs)))


def test_own_timesteps_take_no_number_of_steps_beside_them():
    denoiser = load(make("DDPMScheduler"))
    refused(denoiser, "steps", "7", "timesteps", "2", timesteps=[900, 100], steps=7)
    assert len(list(ds.denoise(denoiser, torch.ones(1, *SHAPE), timesteps=[900, 100], steps=2))) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timesteps": [100, 900]}, ["timesteps", "decreasing"]),
        ({"timesteps": [100, -1]}, ["timesteps", "at least 0"]),
        ({"timesteps": ["a"]}, ["timesteps"]),
        ({"timesteps": 5}, ["timesteps", "5"]),
        ({"timesteps": [2000, 1]}, ["timesteps", "2000"]),
        ({"sigmas": [0.0]}, ["sigmas"]),
        ({"sigmas": [1.0, float("nan")]}, ["sigmas"]),
        ({"sigmas": [1.0], "timesteps": [5]}, ["sigmas", "timesteps", "exclude"]),
        ({"sigmas": [2.0, 1.0]}, ["sigmas", "DDPMScheduler", "EulerDiscrete"]),
    ],
)
def test_a_wrong_schedule_of_the_callers_is_refused(options, words):
    refused(load(make("DDPMScheduler")), *words, **options)


def test_a_scheduler_that_takes_no_timesteps_is_named_with_some_that_do():
    refused(load("ddim"), "timesteps", "DDIMScheduler", "DDPM", timesteps=[900, 100])


def test_a_scheduler_that_was_set_to_own_timesteps_is_refused_with_the_way_to_use_them():
    scheduler = diffusers.DDPMScheduler()
    scheduler.set_timesteps(timesteps=[999, 500, 100, 0])
    with pytest.raises(ds.UserError, match=r"999, 500, 100, 0.*timesteps=.*from_config"):
        load(scheduler)
    scheduler.set_timesteps(4)
    assert load(scheduler).scheduler is scheduler


SET = [
    (make("DDPMScheduler"), {"timesteps": [900, 500, 100]}, "900, 500, 100", "timesteps=[…]"),
    (make("HeunDiscreteScheduler"), {"timesteps": [900, 500, 100]}, "900, 500, 100", "timesteps=[…]"),
    (make("DPMSolverMultistepScheduler"), {"timesteps": [900, 500, 100]}, "900, 500, 100", "timesteps=[…]"),
    (make("EulerDiscreteScheduler"), {"sigmas": [3.0, 1.0, 0.4]}, "474.549, 258.093", "sigmas=[…]"),
    (make("FlowMatchEulerDiscreteScheduler"), {"sigmas": FLOW_SIGMAS}, "1000, 600, 200", "sigmas=[…]"),
    (
        make("UniPCMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction"),
        {"sigmas": np.array(FLOW_SIGMAS)},
        "999, 600, 200",
        "sigmas=[…]",
    ),
    (make("LCMScheduler"), {"num_inference_steps": 4, "original_inference_steps": 20}, "999, 749", "LCM"),
]


@pytest.mark.parametrize(("scheduler", "setting", "timesteps", "advice"), SET)
def test_a_scheduler_that_was_set_to_more_than_a_number_of_steps_is_refused(
    scheduler, setting, timesteps, advice
):
    scheduler = scheduler()
    assert load(scheduler).scheduler is scheduler
    scheduler.set_timesteps(**setting)
    with pytest.raises(ds.UserError) as caught:
        load(scheduler)
    message = str(caught.value)
    assert "\n" not in message and timesteps in message and advice in message and "from_config" in message
    scheduler.set_timesteps(4)
    assert load(scheduler).scheduler is scheduler


def test_a_scheduler_that_cannot_be_set_to_its_number_of_steps_is_refused_with_the_reason():
    class Own(diffusers.DDIMScheduler):
        def set_timesteps(self, num_inference_steps, device=None, strength=None):
            if strength is None:
                raise ValueError("no strength")
            super().set_timesteps(num_inference_steps, device)

    scheduler = Own()
    assert load(scheduler).scheduler is scheduler
    scheduler.set_timesteps(4, strength=1)
    with pytest.raises(ds.UserError, match=r"Own.*\(no strength\).*750, 500, 250, 0"):
        load(scheduler)


def test_a_shift_of_the_callers_is_no_setting_of_timesteps():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_shift(3.0)
    scheduler.set_timesteps(4)
    steps = list(ds.denoise(load(scheduler), torch.ones(1, *SHAPE), steps=4))
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()


def test_own_timesteps_are_stored_resumed_and_computed_again(tmp_path):
    from denoscope.recording import verify

    denoiser = ds.load("digits", scheduler="ddpm", device="cpu")
    x = ds.noise.random(2, denoiser.shape, seed=0)
    options = {"timesteps": [900, 500, 100], "layers": ["conv_in"], "lanes": 1}
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", **options)
    assert rec.dataset["timestep"].to_numpy().tolist() == [900, 500, 100]
    assert rec.attrs["config"]["timesteps"] == [900, 500, 100] and rec.attrs["config"]["num_steps"] == 3
    ds.record(denoiser, x, tmp_path / "run.zarr", resume=True, **options)
    with pytest.raises(ds.UserError, match="timesteps"):
        ds.record(denoiser, x, tmp_path / "run.zarr", resume=True, **options | {"timesteps": [900, 500, 90]})
    assert verify.store(tmp_path / "run.zarr", recompute=1).recomputed == 1


def test_a_recording_with_the_schedulers_own_timesteps_names_no_others(digits):
    rec = ds.record(digits, ds.noise.random(1, digits.shape, seed=0), steps=1, lanes=1)
    assert not {"timesteps", "sigmas"} & (rec.attrs["config"].keys() | rec.attrs["fingerprint"].keys())


def test_the_configuration_counts_the_steps():
    assert InferenceConfig(timesteps=(5, 3)).num_steps == 2
    assert InferenceConfig(sigmas=(5.0, 3.0, 0.0)).num_steps == 2


@pytest.mark.parametrize("name", ["euler", "heun", "lms"])
def test_a_scheduler_that_scales_the_networks_input_warns_of_nothing(name, digits, caplog):
    denoiser = ds.load(digits.network, scheduler=name, shape=digits.shape, device="cpu")
    logger = logging.getLogger("diffusers")
    logger.addHandler(caplog.handler)
    try:
        ds.sample(denoiser, ds.noise.random(1, denoiser.shape), steps=2)
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records
