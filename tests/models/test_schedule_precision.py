"""Schedules in double precision against numpy, closed forms and an actual step of every scheduler."""

import copy
import inspect
import math

import numpy as np
import pytest
import torch
from new_schedulers import make

from denoscope.models import schedule_precision

# NumPy 2's warning about how diffusers converts tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

ROUNDS = {
    "DPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "LTXEulerAncestralRFScheduler",
}
KEEPS = {
    "CMStochasticIterativeScheduler",
    "CogVideoXDDIMScheduler",
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "FlowMapEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "MiniMaxH3Scheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "SCMScheduler",
    "TCDScheduler",
    "UnCLIPScheduler",
    "UniPCMultistepScheduler",
}


def in_double(name, steps=None, **options):
    scheduler = make(name, **options)
    schedule_precision.in_double(scheduler)
    if steps:
        scheduler.set_timesteps(steps)
        schedule_precision.after_set_timesteps(scheduler)
    return scheduler


def betas_by_hand(kind, *, start=1e-4, end=0.02, count=1000):
    if kind == "linear":
        return np.linspace(start, end, count)
    if kind == "scaled_linear":
        return np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2
    if kind == "sigmoid":
        return start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, count)))

    def level(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    return np.array([min(1 - level((i + 1) / count) / level(i / count), 0.999) for i in range(count)])


def to_zero_snr(level):
    root = np.sqrt(level)
    return np.square((root - root[-1]) * root[0] / (root[0] - root[-1]))


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_the_tables_are_those_of_numpy(kind):
    scheduler = in_double("DDPMScheduler", beta_schedule=kind)
    betas = betas_by_hand(kind)
    # The last steps of a cosine schedule are 1 − a/b with a ≪ b: exact to rounding, in absolute terms.
    np.testing.assert_allclose(scheduler.betas, betas, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scheduler.alphas, 1 - betas, rtol=1e-10)
    np.testing.assert_allclose(scheduler.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-10)
    assert scheduler.one.dtype == torch.float64


@pytest.mark.parametrize(("end", "count"), [(0.012, 1000), (0.03, 250)])
def test_the_tables_follow_the_configuration(end, count):
    scheduler = in_double(
        "DDIMScheduler",
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=end,
        num_train_timesteps=count,
        set_alpha_to_one=False,
    )
    level = np.cumprod(1 - betas_by_hand("scaled_linear", start=0.00085, end=end, count=count))
    np.testing.assert_allclose(scheduler.alphas_cumprod, level, rtol=1e-12)
    assert scheduler.final_alpha_cumprod.item() == pytest.approx(level[0], rel=1e-15)


def test_an_end_of_one_stays_one():
    assert in_double("DDIMScheduler").final_alpha_cumprod.item() == 1
    inverse = in_double("DDIMInverseScheduler", set_alpha_to_one=False)
    assert inverse.initial_alpha_cumprod.item() == pytest.approx(1 - 1e-4, rel=1e-15)


def test_trained_betas_are_taken_as_they_were_given():
    given = np.random.default_rng(0).uniform(0.001, 0.02, 40)
    scheduler = in_double("DDPMScheduler", trained_betas=given, num_train_timesteps=40)
    np.testing.assert_array_equal(scheduler.betas, given)
    np.testing.assert_allclose(scheduler.alphas_cumprod, np.cumprod(1 - given), rtol=1e-13)


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize(("name", "last"), [("DDIMScheduler", 0.0), ("UniPCMultistepScheduler", 2.0**-24)])
def test_zero_terminal_snr_is_rescaled_in_double(kind, name, last):
    scheduler = in_double(name, beta_schedule=kind, rescale_betas_zero_snr=True)
    level = to_zero_snr(np.cumprod(1 - betas_by_hand(kind)))
    np.testing.assert_allclose(scheduler.alphas_cumprod[:-1], level[:-1], rtol=1e-9)
    assert scheduler.alphas_cumprod[-1].item() == last


@pytest.mark.parametrize("rescale", [False, True])
def test_the_shifted_schedule_of_cogvideox(rescale):
    scheduler = in_double("CogVideoXDDIMScheduler", beta_schedule="linear", rescale_betas_zero_snr=rescale)
    level = np.cumprod(1 - betas_by_hand("linear", start=0.00085, end=0.012))
    level = level / (3.0 + (1 - 3.0) * level)
    np.testing.assert_allclose(
        scheduler.alphas_cumprod, to_zero_snr(level) if rescale else level, rtol=1e-10, atol=1e-20
    )


@pytest.mark.parametrize(
    "name",
    [
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "SASolverScheduler",
    ],
)
def test_the_solvers_own_tables(name):
    scheduler = in_double(name)
    level = np.cumprod(1 - betas_by_hand("linear"))
    np.testing.assert_allclose(scheduler.alpha_t, np.sqrt(level), rtol=1e-12)
    np.testing.assert_allclose(scheduler.sigma_t, np.sqrt(1 - level), rtol=1e-11)
    np.testing.assert_allclose(scheduler.lambda_t, np.log(np.sqrt(level / (1 - level))), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("name", "kind"), [("DDPMScheduler", "laplace"), ("HeunDiscreteScheduler", "exp")])
def test_the_betas_of_an_unknown_schedule_are_cast(name, kind):
    own = make(name, beta_schedule=kind)
    scheduler = in_double(name, beta_schedule=kind)
    assert torch.equal(scheduler.betas, own.betas.double())
    np.testing.assert_allclose(scheduler.alphas_cumprod, own.alphas_cumprod.double(), rtol=1e-4, atol=5e-6)


def test_a_table_that_is_not_the_configurations_is_cast_and_never_replaced():
    scheduler = make("DDIMScheduler")
    scheduler.betas = scheduler.betas * 1.01
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas, 0) * 0.99
    own = copy.deepcopy(scheduler)
    schedule_precision.in_double(scheduler)
    assert torch.equal(scheduler.betas, own.betas.double())
    assert torch.equal(scheduler.alphas_cumprod, own.alphas_cumprod.double())


@pytest.mark.parametrize("name", sorted(ROUNDS | KEEPS))
def test_no_float32_is_left_but_timesteps_and_the_schedule_is_the_same_one(name):
    steps = 2 if name == "SCMScheduler" else 4
    own, scheduler = make(name), in_double(name, steps)
    own.set_timesteps(steps)
    # KDPM2 calls the network between training timesteps, at places that it finds from the sigmas.
    np.testing.assert_allclose(scheduler.timesteps, own.timesteps, rtol=2e-5, atol=1e-3)
    assert scheduler.timesteps.dtype == own.timesteps.dtype
    for key, value in vars(scheduler).items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and key != "timesteps":
            assert value.dtype == torch.float64, key
            mine = getattr(own, key).double()
            np.testing.assert_allclose(value, mine, rtol=2e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize(
    "name", ["EulerDiscreteScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler"]
)
def test_sigmas_are_those_of_the_double_table_at_the_timesteps(name, spacing):
    options = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    scheduler = in_double(name, 7, timestep_spacing=spacing, **options)
    level = np.cumprod(1 - betas_by_hand("linear"))
    table = np.sqrt((1 - level) / level)
    truth = np.interp(scheduler.timesteps.double().numpy(), np.arange(1000), table)
    sigmas = scheduler.sigmas.numpy()
    assert len(sigmas) == len(truth) + 1 and sigmas[-1] == 0
    if name == "HeunDiscreteScheduler":  # the second call of a step is made at the next sigma
        truth = np.concatenate([truth[:1], np.repeat(truth[2::2], 2)])
        sigmas = sigmas[: len(truth)]
    np.testing.assert_allclose(sigmas[: len(truth)], truth, rtol=1e-11)


def test_sigmas_of_another_spacing_are_in_double_of_float32_precision():
    options = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    scheduler = in_double("EulerDiscreteScheduler", 7, use_karras_sigmas=True, **options)
    level = np.cumprod(1 - betas_by_hand("linear"))
    least, most = np.sqrt((1 - level) / level)[[0, -1]]
    truth = np.linspace(most ** (1 / 7), least ** (1 / 7), 7) ** 7
    np.testing.assert_allclose(scheduler.sigmas[:-1], truth, rtol=1e-7)
    np.testing.assert_allclose(scheduler.sigmas[[0, -2]], [most, least], rtol=1e-11)


def denoise(scheduler, noise_of, x):
    for timestep in scheduler.timesteps:
        draws = {"generator": torch.Generator().manual_seed(int(timestep))}
        x = scheduler.step(noise_of(x, int(timestep)), timestep, x, **draws).prev_sample
    return x


def gaussian(scheduler, variance):
    level = scheduler.alphas_cumprod
    return lambda x, t: (1 - level[t]).sqrt() * x / (level[t] * variance + 1 - level[t])


def gain(scheduler, variance):
    zero, one = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    noise_of = gaussian(scheduler, variance)
    return (denoise(scheduler, noise_of, one) - denoise(scheduler, noise_of, zero)).item()


@pytest.mark.parametrize(
    ("variance", "steps", "published"),
    [(3.0, 10, 1.4847272576), (3.0, 50, 1.6796220133), (1.0, 10, 0.8316958768), (1.0, 50, 0.9640792715)],
)
def test_ddim_on_gaussian_data_is_its_closed_form(variance, steps, published):
    level = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    truth, stride = 1.0, 1000 // steps
    for t in range((steps - 1) * stride, -1, -stride):
        a, b = level[t], level[t - stride] if t >= stride else 1.0
        truth *= (math.sqrt(a * b) * variance + math.sqrt((1 - a) * (1 - b))) / (a * variance + 1 - a)
    scheduler = in_double("DDIMScheduler", steps, clip_sample=False)
    assert gain(scheduler, variance) == pytest.approx(truth, rel=1e-12)
    assert gain(scheduler, variance) == pytest.approx(published, rel=1e-9)
    single = make("DDIMScheduler", clip_sample=False)
    single.set_timesteps(steps)
    assert gain(single, variance) != pytest.approx(truth, rel=1e-9), "float32 tables would do as well"


@pytest.mark.parametrize(("variance", "published"), [(3.0, 0.0230480405), (1.0, 0.00768358729)])
def test_ddpm_under_common_noise_is_its_closed_form(variance, published):
    level = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[980]
    truth = math.sqrt(level) * variance / (level * variance + 1 - level)
    found = gain(in_double("DDPMScheduler", 50, clip_sample=False), variance)
    assert found == pytest.approx(truth, rel=1e-11)
    assert found == pytest.approx(published, rel=3e-9)


def test_growth_on_the_boundary_between_two_gaussians():
    scheduler = in_double("DDIMScheduler", 50, clip_sample=False)
    m, variance = torch.tensor([3.0, 0.0], dtype=torch.float64), 0.04

    def noise_of(x, t):
        level = scheduler.alphas_cumprod[t]
        delta = level * variance + 1 - level
        along = level.sqrt() * (x @ m) / delta
        return (1 - level).sqrt() / delta * (x - level.sqrt() * torch.tanh(along)[..., None] * m)

    on_boundary = torch.tensor([0.0, 0.7], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: denoise(scheduler, noise_of, x), on_boundary)
    assert jacobian[0, 0].log().item() == pytest.approx(26.9569954, abs=5e-8)
    assert jacobian[1, 1].log().item() == pytest.approx(-1.7361045, abs=5e-8)
    assert jacobian[0, 1] == jacobian[1, 0] == 0


@pytest.mark.parametrize("name", sorted(ROUNDS | KEEPS))
@pytest.mark.parametrize("double", [False, True])
def test_which_schedulers_round_the_state_to_float32(name, double):
    scheduler = in_double(name) if double else make(name)
    assert ("sample.to(torch.float32)" in inspect.getsource(type(scheduler).step)) is (name in ROUNDS)
    assert schedule_precision.keeps_double(scheduler, steps=2 if name == "SCMScheduler" else 4) is (
        name in KEEPS
    )


def test_asking_whether_a_scheduler_keeps_double_leaves_it_alone():
    scheduler = make("DDPMScheduler", clip_sample=True, variance_type="learned_range")
    before = dict(scheduler.config), scheduler.timesteps.clone()
    assert schedule_precision.keeps_double(scheduler)
    assert dict(scheduler.config) == before[0] and torch.equal(scheduler.timesteps, before[1])
    assert scheduler.num_inference_steps is None and scheduler.betas.dtype == torch.float32
