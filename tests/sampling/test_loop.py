"""The denoising loop against plain diffusers loops and closed forms."""

import copy
import inspect
import itertools
import math

import numpy as np
import pytest
import torch
import xarray

import denoscope as ds
from denoscope.foundation.random_streams import stream

STEPS = 5
# NumPy 2's warning about how diffusers converts tensors.
NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def draws(denoiser, names=None, *, seed=42, steps=STEPS):
    """The documented noise of each step: [1, C, H, W] for all samples, or [n, C, H, W] by name."""
    return [
        torch.stack(
            [
                torch.randn(denoiser.shape, generator=stream("step noise", seed, index, name=name))
                for name in names or [""]
            ]
        )
        for index in range(steps)
    ]


@pytest.fixture
def x(tiny):
    return ds.noise.random(20, tiny.shape, seed=1)


@pytest.mark.parametrize("rows", [4, 8])
def test_ddim_is_the_plain_diffusers_loop_bit_for_bit(tiny, make_scheduler, x, by_hand, rows):
    x_T = x.batch(range(rows))
    truth = by_hand(tiny.network, make_scheduler("ddim"), x_T, steps=STEPS, rows=rows)["sequence"]
    steps = list(ds.denoise(tiny, x_T, steps=STEPS, lanes=rows))
    sequence = torch.stack([steps[0].x_before, *(step.x_after for step in steps)], 1)
    assert torch.equal(sequence, truth)
    assert torch.equal(sequence[:, 0], x_T)
    assert torch.equal(ds.sample(tiny, x_T, steps=STEPS, lanes=rows), truth[:, -1])


def test_ddim_of_the_bundled_model_is_the_loop_of_its_own_pipeline_bit_for_bit(mnist, monkeypatch):
    from diffusers import DDIMPipeline, DDIMScheduler
    from diffusers.pipelines.ddim import pipeline_ddim

    denoiser = ds.load(
        mnist.network, scheduler=DDIMScheduler.from_config(mnist.scheduler.config), device="cpu"
    )
    x_T = ds.noise.random(2, mnist.shape, seed=3).batch(range(2))
    pipe = DDIMPipeline(mnist.network, copy.deepcopy(denoiser.scheduler))
    pipe.set_progress_bar_config(disable=True)
    monkeypatch.setattr(pipeline_ddim, "randn_tensor", lambda *_a, **_k: x_T)
    states = []
    plain_step = pipe.scheduler.step

    def step(*arguments, **options):
        result = plain_step(*arguments, **options)
        states.append(result.prev_sample)
        return result

    monkeypatch.setattr(pipe.scheduler, "step", step)
    pipe(batch_size=2, num_inference_steps=STEPS, eta=0.0, output_type="np")
    ours = [step.x_after for step in ds.denoise(denoiser, x_T, steps=STEPS, lanes=2)]
    assert len(states) == STEPS
    assert all(torch.equal(a, b) for a, b in zip(ours, states, strict=True))


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_ddpm_is_plain_diffusers_given_the_same_draws(tiny_ddpm, make_scheduler, x, monkeypatch, noise):
    x_T, names = x.batch(range(8)), x.names[:8]
    given = iter(draws(tiny_ddpm, names if noise == "independent" else None))
    scheduler = make_scheduler("ddpm")
    scheduler.set_timesteps(STEPS)
    truth = x_T
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(
            "diffusers.schedulers.scheduling_ddpm.randn_tensor",
            lambda shape, **_options: next(given).expand(shape),
        )
        for timestep in scheduler.timesteps:
            output = tiny_ddpm.network(truth, timestep).sample
            truth = scheduler.step(output, timestep, truth).prev_sample
    assert len(list(given)) == 1, "the last step, to t = 0, adds no noise"
    assert torch.equal(ds.sample(tiny_ddpm, x_T, steps=STEPS, noise=noise, names=names), truth)


@pytest.mark.parametrize("kind", ["ddim", "common", "independent"])
def test_the_bits_of_a_sample_do_not_depend_on_the_batch_its_order_or_its_neighbours(
    tiny, tiny_ddpm, x, kind
):
    denoiser = tiny if kind == "ddim" else tiny_ddpm
    noise, count = "common" if kind == "ddim" else kind, 9

    def sample(indices):
        names = [x.names[k] for k in indices]
        return ds.sample(denoiser, x.batch(indices), steps=2, lanes=4, noise=noise, names=names)

    truth = sample(range(count))
    for size in (1, 3, 4, count):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(size)).tolist()
        for start in range(0, count, size):
            chosen = order[start : start + size]
            assert torch.equal(sample(chosen), truth[chosen])


def test_a_sample_that_diverges_leaves_its_neighbours_alone(tiny, x):
    x_T = x.batch(range(4))
    broken = x_T.clone()
    broken[1] = 1e30  # its square overflows
    fine, x_0 = [0, 2, 3], ds.sample(tiny, broken, steps=STEPS)
    assert torch.equal(x_0[fine], ds.sample(tiny, x_T, steps=STEPS)[fine]) and not x_0[1].isfinite().all()


def test_the_bits_of_the_bundled_model_do_not_depend_on_the_batch(mnist):
    x_T = ds.noise.random(3, mnist.shape).batch(range(3))
    whole = ds.sample(mnist, x_T, steps=2, lanes=2)
    assert torch.equal(ds.sample(mnist, x_T.flip(0), steps=2, lanes=2), whole.flip(0))
    assert torch.equal(ds.sample(mnist, x_T[1:2], steps=2, lanes=2), whole[1:2])


def test_common_noise_makes_x_0_a_function_of_x_T_alone(tiny_ddpm, x):
    x_T = x.batch([0, 1, 0])
    names = ["a", "b", "c"]
    common = ds.sample(tiny_ddpm, x_T, steps=STEPS, noise="common", names=names)
    assert torch.equal(common[0], common[2]) and not torch.equal(common[0], common[1])
    independent = ds.sample(tiny_ddpm, x_T, steps=STEPS, noise="independent", names=names)
    assert not torch.equal(independent[0], independent[2])


def test_noises_bring_the_names_of_their_samples(tiny_ddpm, x):
    options = {"steps": STEPS, "noise": "independent"}
    named = ds.sample(tiny_ddpm, x.batch([1, 0]), names=["sample_0001", "sample_0000"], **options)
    assert torch.equal(ds.sample(tiny_ddpm, x.subset([1, 0]), **options), named)
    array = xarray.DataArray(
        x.batch([1, 0]).numpy(),
        dims=("sample", "channel", "height", "width"),
        coords={"sample": ["sample_0001", "sample_0000"]},
    )
    assert torch.equal(ds.sample(tiny_ddpm, array, **options), named)


def test_the_noise_seed_changes_ddpm_and_not_ddim(tiny, tiny_ddpm, x):
    x_T = x.batch(range(2))
    for denoiser, same in ((tiny, True), (tiny_ddpm, False)):
        one, two = (ds.sample(denoiser, x_T, steps=STEPS, noise_seed=seed) for seed in (1, 2))
        assert torch.equal(one, two) is same


def test_the_global_generator_is_neither_read_nor_moved(tiny_ddpm, x):
    before = torch.get_rng_state()
    one = ds.sample(tiny_ddpm, x.batch(range(2)), steps=STEPS)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(ds.sample(tiny_ddpm, x.batch(range(2)), steps=STEPS), one)


@pytest.mark.parametrize("stochastic", [False, True])
def test_taps_change_no_bit(tiny, tiny_ddpm, x, stochastic):
    denoiser = tiny_ddpm if stochastic else tiny
    everything = [layer.address for layer in denoiser.layers() if layer.shape]
    with_taps = list(ds.denoise(denoiser, x.batch(range(3)), steps=STEPS, layers=everything))
    without = list(ds.denoise(denoiser, x.batch(range(3)), steps=STEPS))
    assert set(with_taps[0].states) == set(everything) and not without[0].states
    for one, two in zip(with_taps, without, strict=True):
        assert torch.equal(one.x_after, two.x_after) and torch.equal(one.model_output, two.model_output)


@NUMPY_2
@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"]
)
def test_a_scheduler_passed_in_is_not_changed_by_runs(make_unet, x, name):
    import diffusers

    scheduler = getattr(diffusers, name)()
    scheduler.set_timesteps(7)
    before = copy.deepcopy(vars(scheduler))
    denoiser = ds.load(make_unet(), scheduler=scheduler, device="cpu")
    first, second = (ds.sample(denoiser, x.batch(range(2)), steps=STEPS) for _ in range(2))
    assert torch.equal(first, second)
    assert vars(scheduler).keys() == before.keys()
    for key, value in before.items():
        now = vars(scheduler)[key]
        if isinstance(value, (torch.Tensor, np.ndarray)):
            assert np.array_equal(now, value), key
        else:  # the configuration keeps no order when it is copied
            assert dict(now) == dict(value) if isinstance(value, dict) else now == value, key


def test_each_step_says_what_it_did(tiny, make_scheduler, x):
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    x_T = x.batch(range(3))
    steps = list(ds.denoise(tiny, x_T, steps=STEPS, layers=["conv_out"]))
    assert [step.index for step in steps] == list(range(STEPS))
    assert [step.timestep for step in steps] == scheduler.timesteps.tolist()
    for before, after in itertools.pairwise(steps):
        assert torch.equal(before.x_after, after.x_before)
    for step in steps:
        level = scheduler.alphas_cumprod[int(step.timestep)].double()
        noisy = step.x_before - (1 - level).sqrt() * step.model_output
        torch.testing.assert_close(step.x_0_estimate, (noisy / level.sqrt()).float(), rtol=1e-4, atol=1e-4)
        assert step.sigma == pytest.approx(float(((1 - level) / level).sqrt()), rel=1e-6)
        assert torch.equal(step.states["conv_out"], step.model_output)


class TowardsPoint(torch.nn.Module):
    """The exact velocity ε − x_0 or noise ε for data of a single point: every estimate of x_0 is that point."""

    def __init__(self, point, level_of):
        super().__init__()
        self.point, self.level_of = point, level_of

    def forward(self, x, timestep):
        mean, spread = self.level_of(float(timestep))
        noise = (x - mean * self.point) / spread
        return noise - self.point if mean == 1 - spread else noise


def alone(name, point):
    """A denoiser of that point under a scheduler of diffusers'."""
    import diffusers

    scheduler = getattr(diffusers, name)()
    if name.startswith("FlowMatch"):
        return ds.load(
            TowardsPoint(point, lambda t: (1 - t / 1000, t / 1000)), scheduler=scheduler, shape=point.shape
        )
    levels = scheduler.alphas_cumprod.double()
    return ds.load(
        TowardsPoint(point, lambda t: (float(levels[int(t)].sqrt()), float((1 - levels[int(t)]).sqrt()))),
        scheduler=scheduler,
        shape=point.shape,
        dtype="float64",
    )


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "FlowMatchEulerDiscreteScheduler",
                                  "FlowMatchHeunDiscreteScheduler"])  # fmt: skip
def test_every_estimate_of_a_single_point_is_that_point(name):
    point = torch.linspace(-0.9, 0.9, 12).reshape(1, 3, 4)
    denoiser = alone(name, point)
    for step in ds.denoise(denoiser, torch.randn(2, 1, 3, 4, generator=torch.manual_seed(0)), steps=7):
        assert step.x_0_estimate is not None
        torch.testing.assert_close(
            step.x_0_estimate.double(), point.double().expand(2, -1, -1, -1), atol=2e-4, rtol=0
        )


def test_the_estimate_of_a_consistency_model_is_what_it_denoises_to(make_unet):
    """LCM's last step goes to it, without noise."""
    from diffusers import LCMScheduler

    denoiser = ds.load(make_unet(), scheduler=LCMScheduler(), device="cpu")
    steps = list(ds.denoise(denoiser, ds.noise.random(2, denoiser.shape).batch(range(2)), steps=3))
    assert torch.equal(steps[-1].x_0_estimate, steps[-1].x_after)
    assert not torch.equal(steps[0].x_0_estimate, steps[0].x_after)


def gain(levels, pairs, variance):
    """∏ g_t(λ) over the pairs (t, s); ᾱ is 1 below t = 0."""
    product = 1.0
    for t, s in pairs:
        at, to = float(levels[t]), float(levels[s]) if s >= 0 else 1.0
        top = math.sqrt(to * at) * variance + math.sqrt((1 - to) * (1 - at))
        product *= top / (at * variance + 1 - at)
    return product


@pytest.mark.parametrize(
    ("steps", "gains"), [(10, (1.4847272576, 0.8316958768)), (50, (1.6796220133, 0.9640792715))]
)
def test_ddim_of_gaussian_data_has_the_gains_of_the_closed_form(gaussian, make_scheduler, steps, gains):
    x_T = torch.tensor([[[[1.0, 1.0]]], [[[-20.0, 700.0]]]])
    x_0 = ds.sample(gaussian((3.0, 1.0), make_scheduler("ddim")), x_T, steps=steps)
    torch.testing.assert_close((x_0 / x_T)[:, 0, 0], torch.tensor([gains, gains]), rtol=1e-5, atol=0)


def test_ddpm_of_gaussian_data_has_the_gains_of_the_closed_form_under_common_noise(gaussian, make_scheduler):
    x_T = torch.tensor([[[[0.0, 0.0]]], [[[10_000.0, 10_000.0]]]])
    x_0 = ds.sample(gaussian((3.0, 1.0), make_scheduler("ddpm")), x_T, steps=50)
    gains = ((x_0[1] - x_0[0]) / 10_000).flatten()
    torch.testing.assert_close(gains, torch.tensor([0.0230480405, 0.00768358729]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
def test_the_previous_timestep_of_ddim_is_t_less_1000_over_n_and_not_the_next_in_the_list(
    gaussian, make_scheduler, spacing
):
    scheduler = make_scheduler("ddim", timestep_spacing=spacing)
    scheduler.set_timesteps(7)
    timesteps = scheduler.timesteps.tolist()
    levels = scheduler.alphas_cumprod.double()
    truth = gain(levels, [(t, t - 1000 // 7) for t in timesteps], 3.0)
    naive = gain(levels, zip(timesteps, [*timesteps[1:], -1], strict=True), 3.0)
    x_0 = ds.sample(gaussian((3.0,), scheduler), torch.ones(1, 1, 1, 1), steps=7)
    assert x_0.item() == pytest.approx(truth, rel=1e-5)
    assert abs(x_0.item() / naive - 1) > 1e-4


@NUMPY_2
@pytest.mark.parametrize("name", ["EulerDiscrete", "heundiscrete", "DPMSolverMultistepScheduler"])
def test_other_schedulers_run_as_their_plain_loop(make_unet, x, name):
    denoiser = ds.load(make_unet(), scheduler=name, device="cpu")
    scheduler = copy.deepcopy(denoiser.scheduler)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    scheduler.set_timesteps(STEPS)
    truth = x.batch(range(8)) * scheduler.init_noise_sigma
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            output = denoiser.network(scheduler.scale_model_input(truth, timestep), timestep).sample
            truth = scheduler.step(output, timestep, truth).prev_sample
    assert torch.equal(ds.sample(denoiser, x.batch(range(8)), steps=STEPS), truth)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 1, 8, 8), {}, r"\[2, 1, 8, 8\]"),
        ((8, 8), {}, "x_T has shape"),
        ((0, 2, 8, 8), {}, "x_T holds no noise"),
        ((1, 2, 8, 8), {"steps": 0}, "steps is 0"),
        ((1, 2, 8, 8), {"steps": 1001}, "steps is 1001"),
        ((1, 2, 8, 8), {"lanes": 0}, "lanes is 0"),
        ((1, 2, 8, 8), {"noise": "both"}, "noise is 'both'"),
        (
            (1, 2, 8, 8),
            {"noise": "independent"},
            "independent noise depends on the samples' names, .* names=",
        ),
        ((2, 2, 8, 8), {"noise": "independent", "names": ["one"]}, "names"),
        ((1, 2, 8, 8), {"layers": ["conv_inn"]}, "conv_in"),
    ],
)
def test_what_cannot_be_denoised_is_refused(tiny, shape, options, message):
    with pytest.raises(ds.UserError, match=message):
        ds.sample(tiny, torch.zeros(shape), **{"steps": 2, **options})


def test_numbers_of_numpy_are_numbers(tiny, x):
    x_0 = ds.sample(tiny, x.batch([0]), steps=np.int64(2), noise_seed=np.int64(1))
    assert torch.equal(x_0, ds.sample(tiny, x.batch([0]), steps=2, noise_seed=1))


def test_a_loop_that_is_broken_off_leaves_no_hook(tiny, x, hooks_of):
    before = hooks_of(tiny.network)
    steps = ds.denoise(tiny, x.batch([0]), steps=STEPS, layers=["conv_in"])
    next(steps)
    steps.close()
    assert hooks_of(tiny.network) == before


def test_a_loop_that_fails_leaves_no_hook(tiny, x, hooks_of, dies_at):
    dies_at(tiny.network, 2)
    before = hooks_of(tiny.network)
    with pytest.raises(RuntimeError, match="on purpose"):
        ds.sample(tiny, x.batch([0]), steps=STEPS, layers=["conv_in"])
    assert hooks_of(tiny.network) == before


def test_sample_takes_the_arguments_of_denoise_and_passes_all_of_them_on(tiny, monkeypatch):
    names = list(inspect.signature(ds.denoise).parameters)
    assert inspect.signature(ds.sample).parameters == inspect.signature(ds.denoise).parameters
    passed = []
    monkeypatch.setattr(
        "denoscope.sampling.loop.denoise", lambda *args, **options: passed.append((args, options)) or []
    )
    values = {name: object() for name in names} | {"denoiser": tiny}
    ds.sample(**values)
    ((args, options),) = passed
    assert dict(zip(names, args, strict=False)) | options == values


def test_an_unknown_argument_of_sample_is_reported_by_its_own_name(tiny, x):
    with pytest.raises(TypeError, match=r"^sample\(\) has no argument 'stepz'; did you mean steps\?"):
        ds.sample(tiny, x, stepz=3)
