"""Commitment: closed forms, and the labels of estimates from a plain loop."""

import copy
import math

import diffusers
import numpy as np
import pytest
import torch
from analytic import denoiser_of, scheduler_of

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.known.analytic_models import TwoGaussians
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint


def side(images):
    """The Gaussian that an image is nearer to."""
    return (images.flatten(1)[:, 0] > 0).long()


def pixels(images):
    return (images[:, 0, 4, 4] > images[:, 1, 3, 3]).long() + 2 * (images[:, 0, 0, 0] > images[:, 0, 7, 7])


@pytest.fixture(scope="module")
def mixture():
    scheduler = scheduler_of("ddim")
    network = TwoGaussians(torch.tensor([2.0, 0.0, 0.0]), 0.1, scheduler)
    return denoiser_of(network, scheduler, 3)


def test_ddim_on_two_gaussians_is_decided_from_the_start(mixture, tmp_path):
    """Every estimate is on the side of x_T."""
    x = ds.noise.random(20, mixture.shape, seed=1)
    rec = ds.record(mixture, x, tmp_path / "run.zarr", steps=10, layers=["prediction"])
    found = dynamics.commitment(rec, denoiser=mixture, label_of=side)
    expected = (x.batch(range(20)).flatten(1)[:, 0] > 0).numpy()
    np.testing.assert_array_equal(found["final_label"], expected)
    np.testing.assert_array_equal(found["label"], expected[:, None].repeat(10, 1))
    assert (found["commitment_step"] == 0).all() and found["same_bits"].all()
    assert (found["commitment_sigma"] == found["sigma"][0]).all() and not found.attrs["warnings"]
    p = expected.mean()
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p)) + 1 / 40
    np.testing.assert_allclose(found["entropy"], entropy)
    np.testing.assert_allclose(found["decided"], 1)


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_labels_agree_with_the_estimates_of_a_plain_loop(tiny_ddpm, tmp_path, noise):
    """Under DDPM estimates change their label, which compares pixels."""
    x = ds.noise.random(11, tiny_ddpm.shape, seed=3)
    rec = ds.record(tiny_ddpm, x, tmp_path / "run.zarr", steps=6, layers=["conv_in"], lanes=4, noise=noise)
    found = dynamics.commitment(rec, denoiser=tiny_ddpm, label_of=pixels, batch_size=3)
    names = [str(name) for name in rec.dataset["sample"].values]
    labels = []
    for step in ds.denoise(tiny_ddpm, x.batch(range(11)), steps=6, lanes=4, noise=noise, names=names):
        labels.append(pixels(step.x_0_estimate).numpy())
    labels, final = np.stack(labels, 1), pixels(torch.from_numpy(rec.final.to_numpy())).numpy()
    np.testing.assert_array_equal(found["label"], labels)
    assert found["same_bits"].all() and len(np.unique(labels)) > 1
    for row, (steps, last) in enumerate(zip(labels, final, strict=True)):
        first = 6
        while first > 0 and steps[first - 1] == last:
            first -= 1
        assert found["commitment_step"][row] == first
        assert found["commitment_sigma"][row] == ([*found["sigma"].values, 0.0][first])
    decided = [(found["commitment_step"].values <= k).mean() for k in range(6)]
    np.testing.assert_allclose(found["decided"], decided)


@pytest.fixture(scope="module")
def under_ddpm(tiny_ddpm, tmp_path_factory):
    """A recording without estimates, and the commitment of its samples."""
    x, out = ds.noise.random(11, tiny_ddpm.shape, seed=3), tmp_path_factory.mktemp("ddpm") / "run.zarr"
    rec = ds.record(tiny_ddpm, x, out, steps=6, layers=["conv_in"])
    return rec, dynamics.commitment(rec, denoiser=tiny_ddpm, label_of=pixels)


def test_labels_alone_give_the_commitment(under_ddpm):
    rec, whole = under_ddpm
    levels = {name: rec.dataset[name].to_numpy() for name in ("sigma", "timestep")}
    found = dynamics.commitment_of(whole["label"], whole["final_label"], **levels)
    assert set(found.data_vars) < set(whole.data_vars) and len(found.data_vars) == 7
    for name in found.variables:
        np.testing.assert_array_equal(found[name], whole[name])
    np.testing.assert_array_equal(whole["timestep"], rec.dataset["timestep"])
    without = dynamics.commitment_of(
        whole["label"].to_numpy(), torch.from_numpy(whole["final_label"].to_numpy())
    )
    assert without["commitment_sigma"].isnull().all() or (without["commitment_step"] == 6).any()
    np.testing.assert_array_equal(without["commitment_step"], whole["commitment_step"])


@pytest.mark.parametrize(
    ("labels", "final", "options", "line"),
    [
        ([[0, 1]], [0, 1], {}, r"labels are int64 \[1, 2\] and final_labels int64 \[2\]"),
        ([0, 1], [0], {}, r"labels are int64 \[2\]"),
        ([[0.5, 1]], [0], {}, "labels are float64"),
        ([[0, 1]], [0], {"sigma": [1.0]}, r"sigma has shape \[1\]; allowed: \[2\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, final, options, line):
    with pytest.raises(ds.UserError, match=line):
        dynamics.commitment_of(labels, final, **options)


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_recorded_estimates_give_the_same_without_a_denoiser(tiny_ddpm, under_ddpm, tmp_path, out):
    x = ds.noise.random(11, tiny_ddpm.shape, seed=3)
    rec = ds.record(tiny_ddpm, x, tmp_path / out, steps=6, layers=["conv_in"], extract_estimates=True)
    stored = dynamics.commitment(rec, label_of=pixels, batch_size=4)
    assert under_ddpm[1].drop_attrs().identical(stored.drop_attrs())


def test_estimates_of_some_steps_are_not_enough(tiny, tmp_path):
    x = ds.noise.random(3, tiny.shape, seed=3)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=4, extract_estimates=True, every=(2,))
    with pytest.raises(ds.UserError, match="built in Python"):
        dynamics.commitment(rec, label_of=pixels)
    assert dynamics.commitment(rec, denoiser=tiny, label_of=pixels)["label"].shape == (3, 4)


def test_finished_samples_are_not_denoised_again(tiny, tmp_path):
    x = ds.noise.random(7, tiny.shape, seed=3)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=4, layers=["conv_in"])
    whole = dynamics.commitment(rec, denoiser=tiny, label_of=pixels)

    class Killed(Exception):
        pass

    def killed(done, _all):
        if done >= 4:
            raise Killed

    out = tmp_path / "commitment.npz"
    with pytest.raises(Killed):
        dynamics.commitment(
            rec, denoiser=tiny, label_of=pixels, batch_size=2, checkpoint=Checkpoint(out, progress=killed)
        )
    assert checkpoint.read(out)["computed"].sum() == 4
    with pytest.raises(ds.UserError, match="exists"):
        dynamics.commitment(rec, denoiser=tiny, label_of=pixels, checkpoint=out)
    with pytest.raises(ds.UserError, match="labels of x_0"):
        dynamics.commitment(rec, denoiser=tiny, label_of=side, checkpoint=Checkpoint(out, resume=True))
    calls = []
    handle = tiny.network.register_forward_pre_hook(lambda *_: calls.append(1))
    found = dynamics.commitment(
        rec, denoiser=tiny, label_of=pixels, batch_size=2, checkpoint=Checkpoint(out, resume=True)
    )
    handle.remove()
    assert len(calls) == 2 * 4  # three samples in batches of two, four steps each
    assert found.drop_attrs().identical(whole.drop_attrs())
    assert checkpoint.read(out).drop_attrs().identical(whole.drop_attrs())


def test_a_scheduler_without_estimates_is_refused(make_small_unet, tmp_path):
    denoiser = ds.load(make_small_unet(), scheduler=diffusers.PNDMScheduler(), device="cpu")
    rec = ds.record(denoiser, ds.noise.random(2, denoiser.shape), tmp_path / "run.zarr", steps=4)
    with pytest.raises(ds.UserError, match="PNDMScheduler makes no estimate of x_0"):
        dynamics.commitment(rec, denoiser=denoiser, label_of=pixels)


def plainly(denoiser, x_T, steps, label_of):
    """Labels [n, step] of the estimates of a plain diffusers loop, and the noise level of each step."""
    scheduler = copy.deepcopy(denoiser.scheduler)
    scheduler.set_timesteps(steps)
    x, labels, sigmas = x_T * scheduler.init_noise_sigma, [], []
    for index, timestep in enumerate(scheduler.timesteps):
        with torch.no_grad():
            output = denoiser.network(scheduler.scale_model_input(x, timestep), timestep).sample
        made = scheduler.step(output, timestep, x)
        # A scheduler of order 2 lists two entries for each step.
        if index % 2 == 0 or scheduler.order == 1:
            labels.append(label_of(made.pred_original_sample).numpy())
            level = scheduler.alphas_cumprod[timestep.long()]
            sigmas.append(
                float(scheduler.sigmas[index] if hasattr(scheduler, "sigmas") else (1 / level - 1).sqrt())
            )
        x = made.prev_sample
    return np.stack(labels, 1), sigmas


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_schedulers_of_order_two_and_scaled_noises_agree_with_a_plain_loop(make_small_unet, tmp_path, name):
    """Heun calls the network twice a step, and both schedulers start from x_T times a large σ."""
    denoiser = ds.load(make_small_unet(), scheduler=getattr(diffusers, name)(), device="cpu")
    x = ds.noise.random(8, denoiser.shape, seed=3)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=4, layers=["conv_in"])
    found = dynamics.commitment(rec, denoiser=denoiser, label_of=pixels, batch_size=3)
    labels, sigmas = plainly(denoiser, x.batch(range(8)), 4, pixels)
    np.testing.assert_array_equal(found["label"], labels)
    np.testing.assert_allclose(found["sigma"], sigmas, rtol=1e-6)
    assert found["same_bits"].all() and len(np.unique(labels)) > 1


def test_interventions_of_a_recording_are_applied_again(tiny, tmp_path):
    x = ds.noise.random(8, tiny.shape, seed=3)
    written = [ds.Intervention("conv_out", "scale", -8.0, samples=["sample_0002", "sample_0005"])]
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=4, layers=["conv_in"], interventions=written)
    found = dynamics.commitment(rec, denoiser=tiny, label_of=pixels, batch_size=3)

    def scaled(_module, _inputs, output):
        factors = torch.ones(8, 1, 1, 1)
        factors[[2, 5]] = -8.0
        return output * factors

    without, _ = plainly(tiny, x.batch(range(8)), 4, pixels)
    handle = tiny.network.conv_out.register_forward_hook(scaled)
    labels, _ = plainly(tiny, x.batch(range(8)), 4, pixels)
    handle.remove()
    assert (labels != without).any() and found["same_bits"].all()
    np.testing.assert_array_equal(found["label"], labels)


def test_digits_of_the_bundled_model_are_decided_before_the_end(digits, tmp_path):
    rec = ds.record(digits, ds.noise.random(8, digits.shape, seed=1), tmp_path / "run.zarr", steps=5)
    found = dynamics.commitment(rec)
    np.testing.assert_array_equal(found["final_label"], ds.classify(rec.final).label)
    assert found["same_bits"].all() and found["decided"][-1] > 0.5


def test_other_bits_and_a_single_class_give_warnings(mixture, tmp_path):
    rec = ds.record(
        mixture, ds.noise.random(3, mixture.shape), tmp_path / "run.zarr", steps=4, layers=["prediction"]
    )
    other = denoiser_of(
        TwoGaussians(torch.tensor([2.0, 0.0, 0.0]), 0.3, mixture.scheduler), mixture.scheduler, 3
    )
    found = dynamics.commitment(rec, denoiser=other, label_of=lambda images: torch.zeros(len(images)).long())
    assert "3 of 3 samples have other bits" in found.attrs["warnings"][0]
    assert "all samples have the same final label" in found.attrs["warnings"][1]


def test_recordings_that_cannot_be_labelled_or_repeated_are_refused(tiny, tmp_path):
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), tmp_path / "run.zarr", steps=2)
    with pytest.raises(ds.UserError, match="built in Python"):
        dynamics.commitment(rec)
    with pytest.raises(ds.UserError, match=r"images \[2, 8, 8\], and LeNet-5 takes \[1, 28, 28\]"):
        dynamics.commitment(rec, denoiser=tiny)
    final = ds.record(
        tiny, ds.noise.random(2, tiny.shape), tmp_path / "final.zarr", steps=2, extract_states=False
    )
    with pytest.raises(ds.UserError, match="holds final images only"):
        dynamics.commitment(final, denoiser=tiny, label_of=side)


def test_unfinished_recordings_and_those_with_functions_are_refused(tiny, tmp_path, dies_at):
    x = ds.noise.random(3, tiny.shape)

    def double(state, _moment):
        return 2 * state

    rec = ds.record(
        tiny, x, tmp_path / "run.zarr", steps=2, interventions=[ds.Intervention("conv_in", double)]
    )
    with pytest.raises(ds.UserError, match="cannot be computed again"):
        dynamics.commitment(rec, denoiser=tiny, label_of=pixels)
    dies_at(tiny.network, 4)
    with pytest.raises(RuntimeError, match="on purpose"):
        ds.record(tiny, x, tmp_path / "cut.zarr", steps=2, lanes=1, batch_size=1, layers=["conv_in"])
    with pytest.raises(ds.UserError, match=r"cut\.zarr is not finished"):
        dynamics.commitment(ds.open(tmp_path / "cut.zarr"), denoiser=tiny, label_of=pixels)


class Lost(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.prediction = torch.nn.Identity()

    def forward(self, x, _timestep):
        return self.prediction(torch.where(x.flatten(1)[:, :1, None, None] > 0, torch.nan, 0.1 * x))


def test_samples_that_become_nan_have_no_class_and_a_warning(tmp_path):
    denoiser = ds.load(Lost(), scheduler=scheduler_of("ddim"), shape=(1, 1, 3), device="cpu")
    rec = ds.record(
        denoiser, ds.noise.random(12, denoiser.shape), tmp_path / "run.zarr", steps=2, layers=["prediction"]
    )
    found = dynamics.commitment(
        rec, denoiser=denoiser, label_of=lambda images: torch.zeros(len(images)).long()
    )
    lost = ~np.isfinite(rec.final.to_numpy()).reshape(12, -1).all(1)
    assert 0 < lost.sum() < 12
    assert found["final_label"].values.tolist() == np.where(lost, -1, 0).tolist()
    assert found["nonfinite"].values.tolist() == lost.tolist()
    assert f"{lost.sum()} of 12 samples became NaN" in found.attrs["warnings"][0]
