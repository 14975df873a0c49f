"""Every scheduler of diffusers: its stages against its own state, its x_0 against a plain loop of diffusers."""

import dataclasses
import inspect
import itertools

import numpy as np
import pytest
import torch
from jittering import jittering
from new_schedulers import make
from torch import nn

import denoscope as ds
from denoscope.foundation.random_streams import stream
from denoscope.models import schedule_precision, scheduler_steps, schedulers
from denoscope.models.solver_calls import Stage, stages, stages_of_part

pytestmark = [
    # NumPy 2 warns about how diffusers converts tensors,
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    # and torchsde that diffusers evaluates the Brownian motion a rounding error beyond its end.
    pytest.mark.filterwarnings("ignore:Should have t[ab][<>]=t[01]:UserWarning"),
]

ONE_CALL = {
    "CMStochasticIterativeScheduler",
    "CogVideoXDDIMScheduler",
    "ConsistencyDecoderScheduler",
    "CosineDPMSolverMultistepScheduler",
    "DDIMInverseScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "IPNDMScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "LTXEulerAncestralRFScheduler",
    "MiniMaxH3Scheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UnCLIPScheduler",
    "UniPCMultistepScheduler",
}
TWO_CALLS = {
    "DPMSolverSDEScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
}
# Their pipelines leave the last timestep out.
BOUNDED = {"DDPMWuerstchenScheduler", "SCMScheduler"}
RUN = ONE_CALL | TWO_CALLS | BOUNDED | {"PNDMScheduler"}
REFUSED = {
    "AmusedScheduler": "tokens",
    "BlockRefinementScheduler": "tokens",
    "CogVideoXDPMScheduler": "old_pred_original_sample",
    "DiscreteDDIMScheduler": "tokens",
    "EntropyBoundScheduler": "tokens",
    "HeliosDMDScheduler": "resolution",
    "HeliosScheduler": "resolution",
    "KarrasVeScheduler": "sigma_hat",
    "PiflowScheduler": "grid of predictions",
    "RFD4ProteinaScheduler": "emit_mask",
    "RePaintScheduler": "original_image, mask",
    "ScoreSdeVeScheduler": "lacks step",
    "ScoreSdeVpScheduler": "lacks step",
    "VQDiffusionScheduler": "tokens",
}
VARIANTS = [
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverSDEScheduler", {"noise_sampler_seed": 3}),
    ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "sigma_min"}),
    ("DPMSolverSinglestepScheduler", {"solver_order": 3, "lower_order_final": True}),
    ("EDMDPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
    ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
    ("KDPM2DiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("PNDMScheduler", {"skip_prk_steps": True}),
]
CASES = [
    pytest.param(name, options, id="-".join([name.removesuffix("Scheduler"), *options]))
    for name, options in [*((name, {}) for name in sorted(RUN)), *VARIANTS]
]
SOME = {"DDIM", "DDPM", "DPMSolverSDE", "HeunDiscrete", "PNDM", "UnCLIP", "UniPCMultistep"}
"""Of each kind one: deterministic, stochastic, Brownian, two calls a step, Runge-Kutta, its own arguments, multistep."""
SAMPLED = [
    case if case.id in SOME else pytest.param(*case.values, id=case.id, marks=pytest.mark.slow)
    for case in CASES
]
LANES = 4


def steps_for(name):
    few = {"SCMScheduler": 2, "ConsistencyDecoderScheduler": 2, "DPMSolverSDEScheduler": 3}
    return few.get(name, 5)


def set_to(steps, name, **options):
    scheduler = make(name, **options)
    scheduler.set_timesteps(steps)
    return scheduler


class Network(nn.Module):
    """A convolution of x that also depends on the timestep."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x, timestep):
        return torch.tanh(self.convolution(x) + torch.cos(timestep.float())) / 2


class Linear(nn.Module):
    """F(x, t) = x."""

    def forward(self, x, timestep):  # noqa: ARG002
        return x


def denoiser_of(scheduler, network=None):
    return ds.load(network or Network(), scheduler=scheduler, shape=(2, 4, 4), device="cpu")


@pytest.fixture(scope="module")
def x():
    return ds.noise.random(6, (2, 4, 4), seed=1)


def streams_of(names, index):
    """The documented streams of a step's noise, one a row; common where no name is given."""
    return [stream("step noise", 42, index, name=name or "") for name in names]


@torch.no_grad()
def plain(name, x, names, **options):
    """x_0 of rows x [n, C, H, W] by a loop of plain diffusers, as the pipelines write it."""
    if name == "DPMSolverSDEScheduler":
        options["noise_sampler_seed"] = [drawn.initial_seed() for drawn in streams_of(names, 0)]
    scheduler, network = set_to(steps_for(name), name, **options), Network()
    timesteps = scheduler.timesteps[:-1] if name in BOUNDED else scheduler.timesteps
    accepted = inspect.signature(scheduler.step).parameters
    x = x * getattr(scheduler, "init_noise_sigma", 1)
    for index, t in enumerate(timesteps):
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        more = {}
        if "generator" in accepted:
            more["generator"] = streams_of(names, index)
        if name == "UnCLIPScheduler":
            more["prev_timestep"] = timesteps[index + 1] if index + 1 < len(timesteps) else None
        output = network(seen, t)
        t = t.expand(len(x)) if name == "DDPMWuerstchenScheduler" else t
        x = scheduler.step(output, t, x, **more).prev_sample
    return x


def test_every_scheduler_of_diffusers_is_listed_here():
    from diffusers import schedulers

    names = {name for name in dir(schedulers) if name.endswith("Scheduler") and not name.startswith("Flax")}
    assert not names - RUN - REFUSED.keys()
    assert not RUN & REFUSED.keys()


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_scheduler_that_cannot_be_run_is_refused_with_the_reason(name, reason):
    from diffusers import schedulers as classes

    if not hasattr(classes, name):
        pytest.skip(f"this diffusers has no {name}")
    with pytest.raises(ds.UserError, match=f"{name}.*{reason}") as caught:
        schedulers.check_scheduler(getattr(classes, name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["CogVideoXDPMScheduler", "RePaintScheduler", "ScoreSdeVeScheduler"])
def test_an_object_that_cannot_be_run_is_refused_in_one_line(name):
    with pytest.raises(ds.UserError, match=f"{name}.*{REFUSED[name]}") as caught:
        denoiser_of(make(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "options"), SAMPLED)
def test_each_call_of_the_network_has_a_stage(name, options, x):
    steps, network, calls = steps_for(name), Network(), []
    denoiser = denoiser_of(make(name, **options), network)
    network.register_forward_hook(lambda *_: calls.append(1))
    ds.sample(denoiser, x.batch(range(3)), steps=steps, lanes=LANES)
    found = stages(denoiser.new_scheduler(steps), steps)
    assert len(found) == len(calls)
    ends = [k for k, stage in enumerate(found) if stage.last]
    assert [found[k].step for k in ends] == list(range(steps - (name == "MiniMaxH3Scheduler")))
    for before, after in itertools.pairwise(found):
        following = (before.step + 1, 0) if before.last else (before.step, before.call + 1)
        assert (after.step, after.call) == following


@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_end_where_the_pipelines_of_diffusers_count_one(name, options):
    steps = steps_for(name)
    scheduler = set_to(steps, name, **options)
    if len(getattr(scheduler, "prk_timesteps", ())):
        pytest.skip("the pipelines count the Runge-Kutta steps all at once")
    count = len(scheduler.timesteps) - (name in BOUNDED)
    order = getattr(scheduler, "order", 1)
    warmup = count - steps * order
    ends = [i == count - 1 or (i + 1 > warmup and (i + 1) % order == 0) for i in range(count)]
    assert [stage.last for stage in stages(scheduler, steps)] == ends


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", sorted(TWO_CALLS))
def test_a_step_starts_where_a_scheduler_of_order_2_is_in_its_first_order(name, steps):
    scheduler, x = set_to(steps, name), torch.ones(1, 2, 4, 4)
    found = stages(scheduler, steps)
    for stage, timestep in zip(found, scheduler.timesteps, strict=True):
        assert (stage.call == 0) is scheduler.state_in_first_order
        x = scheduler.step(x / 10, timestep, x).prev_sample
    assert found[-1] == Stage(steps - 1, 0, True)


def at(scheduler, step, call):
    """The timestep of a call."""
    found = [(stage.step, stage.call) for stage in stages(scheduler, 5)]
    return float(scheduler.timesteps[found.index((step, call))])


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"])
def test_heun_asks_again_where_the_next_step_starts(name):
    scheduler = set_to(5, name)
    for step in range(4):
        assert at(scheduler, step, 1) == at(scheduler, step + 1, 0) < at(scheduler, step, 0)


@pytest.mark.parametrize("name", ["KDPM2DiscreteScheduler", "DPMSolverSDEScheduler"])
def test_midpoint_schedulers_ask_again_at_the_geometric_mean_of_two_noise_levels(name):
    scheduler = set_to(5, name)
    level = np.cumprod(1 - np.linspace(0.00085, 0.012, 1000))
    log_sigmas = np.log((1 - level) / level) / 2
    sigma = np.exp(log_sigmas)
    for step in range(4):
        ends = [np.interp(at(scheduler, step + k, 0), np.arange(1000), sigma) for k in (0, 1)]
        middle = np.interp(at(scheduler, step, 1), np.arange(1000), log_sigmas)
        assert middle == pytest.approx(np.log(ends).mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("skip", "timesteps"),
    [
        (False, [[800, 700, 700, 600], [600, 500, 500, 400], [400, 300, 300, 200], [200], [0]]),
        (True, [[800, 600], [600], [400], [200], [0]]),
    ],
)
def test_pndm_asks_where_its_paper_does(skip, timesteps):
    scheduler = set_to(5, "PNDMScheduler", skip_prk_steps=skip)
    found = stages(scheduler, 5)
    asked = [
        [int(t) for stage, t in zip(found, scheduler.timesteps, strict=True) if stage.step == step]
        for step in range(5)
    ]
    assert asked == timesteps


def test_one_step_of_pndm_is_one_call():
    assert stages(set_to(1, "PNDMScheduler", skip_prk_steps=True), 1) == [Stage(0, 0, True)]


@pytest.mark.parametrize(("name", "options"), SAMPLED)
@pytest.mark.parametrize("noise", ["common", "independent"])
def test_x_0_is_that_of_a_plain_loop_of_diffusers_given_the_same_draws(name, options, noise, x):
    x_T, names = x.batch(range(LANES)), x.names[:LANES]
    truth = plain(name, x_T, names if noise == "independent" else [None] * LANES, **options)
    before = torch.get_rng_state()
    x_0 = ds.sample(
        denoiser_of(make(name, **options)),
        x_T,
        steps=steps_for(name),
        lanes=LANES,
        noise=noise,
        names=names,
    )
    assert torch.equal(x_0, truth) and x_0.isfinite().all()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "options"), SAMPLED)
@pytest.mark.parametrize("noise", ["common", "independent"])
def test_a_sample_does_not_depend_on_its_neighbours(name, options, noise, x):
    denoiser = denoiser_of(make(name, **options))

    def sample(indices):
        names = [x.names[k] for k in indices]
        given = {"steps": steps_for(name), "lanes": LANES, "noise": noise, "names": names}
        return ds.sample(denoiser, x.batch(indices), **given)

    truth = sample(range(6))
    for chosen in ([5], [3, 2, 5, 0, 4]):
        assert torch.equal(sample(chosen), truth[chosen])


@pytest.mark.parametrize(("name", "options"), SAMPLED)
def test_a_scheduler_is_said_to_add_noise_where_the_noise_seed_matters(name, options, x):
    denoiser = denoiser_of(make(name, **options))
    one, two = (
        ds.sample(denoiser, x.batch([0]), steps=steps_for(name), noise_seed=seed, lanes=1) for seed in (1, 2)
    )
    assert denoiser.is_stochastic is not torch.equal(one, two)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_scheduler_is_said_to_add_noise_if_its_steps_draw_any(name, options):
    """Each scheduler alone, without a network: it draws from its generators, or a Brownian motion of its own seed."""

    def states_for(seed):
        given = {"noise_sampler_seed": [seed]} if name == "DPMSolverSDEScheduler" else {}
        scheduler, x = set_to(steps_for(name), name, **options | given), torch.ones(1, 2, 4, 4)
        scheduler_steps.begin_at(scheduler, 0)
        generators = [torch.Generator().manual_seed(seed)]
        for index in range(len(scheduler.timesteps) - (name in BOUNDED)):
            seen = scheduler_steps.scaled(scheduler, x, scheduler.timesteps[index])
            x = scheduler_steps.stepped(scheduler, index, seen / 10, x, generators).prev_sample
        return x

    one, two = states_for(1), states_for(2)
    assert one.isfinite().all() and schedulers.adds_noise(make(name, **options)) is not torch.equal(one, two)


def test_a_scheduler_of_the_callers_draws_from_the_streams_of_the_run(x):
    before = torch.get_rng_state()
    one, again, other = (
        ds.sample(denoiser_of(jittering()), x.batch(range(2)), steps=3, noise_seed=seed, lanes=2)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "options"), SAMPLED)
def test_states_between_steps_can_be_in_double_precision(name, options, x):
    steps = list(
        ds.denoise(
            denoiser_of(make(name, **options)), x.batch([0]), steps=steps_for(name), sampler_dtype="float64"
        )
    )
    assert steps[-1].x_after.dtype == torch.float64 and steps[-1].x_after.isfinite().all()


def test_flow_matching_of_a_linear_velocity_is_its_closed_form(x):
    sigmas = np.append(np.linspace(1, 0.001, 5), 0)
    jumps = np.diff(sigmas)
    euler = np.prod(1 + jumps)
    heun = np.prod(1 + jumps[:-1] + jumps[:-1] ** 2 / 2) * (1 + jumps[-1])
    x_T = x.batch(range(3))
    for name, gain in (("FlowMatchEulerDiscrete", euler), ("FlowMatchHeunDiscrete", heun)):
        x_0 = ds.sample(denoiser_of(make(f"{name}Scheduler"), Linear()), x_T, steps=5)
        torch.testing.assert_close(x_0, x_T * gain, rtol=1e-5, atol=1e-6)


def test_unclip_steps_to_the_next_of_its_timesteps(gaussian):
    scheduler = make("UnCLIPScheduler", clip_sample=False)
    schedule_precision.in_double(scheduler)
    scheduler.set_timesteps(5)
    timesteps = scheduler.timesteps.tolist()
    level, variance, gain = scheduler.alphas_cumprod, 3.0, 1.0
    for t, to in zip(timesteps, [*timesteps[1:], None], strict=True):
        now, then = float(level[t]), 1.0 if to is None else float(level[to])
        # Two states stay as far apart as the means of q(x_to | x_t, x_0) at their estimates of x_0.
        estimate = now**0.5 * variance / (now * variance + 1 - now)
        alpha = now / then
        gain *= (then**0.5 * (1 - alpha) * estimate + alpha**0.5 * (1 - then)) / (1 - now)
    x_T = torch.tensor([[[[0.0]]], [[[1.0]]]])
    denoiser = dataclasses.replace(gaussian((variance,), scheduler), run_dtype=torch.float64)
    x_0 = ds.sample(denoiser, x_T, steps=5)
    assert (x_0[1] - x_0[0]).item() == pytest.approx(gain, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "steps", "message"),
    [
        ("SCMScheduler", {}, 4, r"steps is 4, which SCMScheduler cannot make \(Intermediate"),
        ("PNDMScheduler", {}, 3, "steps is 3, which PNDMScheduler .*cannot make"),
        ("UnCLIPScheduler", {}, 1, "steps is 1, which UnCLIPScheduler cannot make"),
        ("MiniMaxH3Scheduler", {}, 1, "steps is 1, which MiniMaxH3Scheduler cannot make"),
        ("CMStochasticIterativeScheduler", {}, 41, "steps is 41; allowed: 1 to 40"),
        ("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}, 4, "use_dynamic_shifting=False"),
        ("UniPCMultistepScheduler", {"use_dynamic_shifting": True}, 4, "use_dynamic_shifting=False"),
    ],
)
def test_steps_that_a_scheduler_cannot_make_are_refused_in_one_line(name, options, steps, message, x):
    denoiser = denoiser_of(make(name, **options))
    with pytest.raises(ds.UserError, match=message) as caught:
        ds.sample(denoiser, x.batch([0]), steps=steps)
    assert "\n" not in str(caught.value)


def test_a_scheduler_that_needs_another_library_says_which(monkeypatch):
    import diffusers
    from diffusers.utils.dummy_torch_and_torchsde_objects import DPMSolverSDEScheduler

    monkeypatch.setattr(diffusers, "DPMSolverSDEScheduler", DPMSolverSDEScheduler)
    monkeypatch.setattr("diffusers.utils.import_utils._torchsde_available", False)
    with pytest.raises(ds.UserError, match="torchsde") as caught:
        denoiser_of("DPMSolverSDE")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_part_that_is_all_of_a_run_has_its_stages(name, options):
    scheduler = set_to(steps_for(name), name, **options)
    whole = stages(scheduler, steps_for(name))
    assert stages_of_part(scheduler, float(scheduler.timesteps[0])) == (0, whole)
    assert stages_of_part(scheduler, float(scheduler.timesteps[0]), len(whole)) == (0, whole)


@pytest.mark.parametrize("name", ["DDIMScheduler", "HeunDiscreteScheduler", "PNDMScheduler"])
def test_a_part_counts_its_own_steps(name):
    options = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    scheduler = set_to(6, name, **options)
    order = getattr(scheduler, "order", 1)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(2 * order)
    first, found = stages_of_part(
        scheduler, float(scheduler.timesteps[2 * order]), len(scheduler.timesteps) - 2 * order
    )
    assert first == 2 * order and first + len(found) == len(scheduler.timesteps)
    twice = {"DDIMScheduler": 0, "HeunDiscreteScheduler": 3, "PNDMScheduler": 1}[name]
    assert [stage.step for stage in found if stage.call == 1] == list(range(twice))
    assert [stage.step for stage in found if stage.last] == list(range(4))


def test_a_part_without_the_end_ends_a_step():
    scheduler = set_to(6, "HeunDiscreteScheduler")
    _, found = stages_of_part(scheduler, float(scheduler.timesteps[0]), 3)
    assert found == [Stage(0, 0, False), Stage(0, 1, True), Stage(1, 0, True)]


def test_a_timestep_that_no_step_starts_from_begins_no_part():
    with pytest.raises(ValueError, match=r"no step starts from timestep 1\.5"):
        stages_of_part(set_to(6, "DDIMScheduler"), 1.5)
