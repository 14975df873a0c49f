"""U-turns: closed forms on two Gaussians, and a plain loop over a diffusers scheduler."""

import copy

import numpy as np
import pytest
import torch
import xarray
from analytic import denoiser_of, levels, scheduler_of, timesteps

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.known.analytic_models import TwoGaussians
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.random_streams import stream


def side(images):
    """The number of the Gaussian that an image is nearer to."""
    return (images.flatten(1)[:, 0] > 0).long()


@pytest.fixture(scope="module")
def mixture():
    scheduler = scheduler_of("ddim")
    return denoiser_of(TwoGaussians(torch.tensor([2.0, 0.0, 0.0]), 0.1, scheduler), scheduler, 3)


def test_two_gaussians_keep_their_class_with_the_probability_of_the_closed_form(mixture):
    """DDIM keeps the side of the noised image, which is that of x_0 with probability Φ(√ᾱ x₁ / √(1−ᾱ))."""
    from statistics import NormalDist

    x_0 = torch.tensor([[2.0, 0.3, -0.1], [-1.5, 0.0, 0.2], [2.2, -0.1, 0.0]]).double().reshape(3, 1, 1, 3)
    found = dynamics.u_turn(mixture, x_0, [0.1, 0.5, 1.0], draws=400, steps=10, label_of=side, lanes=400)
    every = levels(scheduler_of("ddim"))
    for column, left in enumerate((1, 5, 10)):
        level = every[timesteps(10)[10 - left]]
        for row in range(3):
            reach = np.sqrt(level) * abs(float(x_0[row].flatten()[0])) / np.sqrt(1 - level)
            expected = NormalDist().cdf(reach)
            scatter = np.sqrt(expected * (1 - expected) / 400)
            assert abs(found["same"].values[row, column] - expected) <= 4 * scatter + 1e-12
    assert (found["same"].sel(level=0.1) == 1).all() and found["step"].values.tolist() == [9, 5, 0]
    np.testing.assert_allclose(found["probability"], found["same"].mean("sample"))
    np.testing.assert_allclose(found["turn_distance"], np.sqrt((found["distance"] ** 2).mean("sample")))
    for middle, interval in (("probability", "interval"), ("turn_distance", "turn_distance_interval")):
        low, high = found[interval].values.T
        assert (low <= found[middle]).all() and (found[middle] <= high).all()


def test_a_u_turn_agrees_with_a_plain_loop_of_diffusers(tiny):
    x_0 = ds.noise.random(2, tiny.shape).batch(range(2))
    seen = []

    def label_of(images):
        seen.append(images)
        return torch.zeros(len(images)).long()

    found = dynamics.u_turn(tiny, x_0, [0.5], draws=8, steps=4, seed=3, label_of=label_of)
    scheduler = copy.deepcopy(tiny.scheduler)
    scheduler.set_timesteps(4)
    for row in range(2):
        noise = torch.stack(
            [
                torch.randn(2, 8, 8, generator=stream(f"U-turn of image {row} from step 2", 3, draw))
                for draw in range(8)
            ]
        )
        x = scheduler.add_noise(x_0[row].expand(8, 2, 8, 8), noise, scheduler.timesteps[2].expand(8))
        with torch.no_grad():
            for t in scheduler.timesteps[2:]:
                x = scheduler.step(tiny.network(x, t).sample, t, x).prev_sample
        torch.testing.assert_close(seen[1 + row], x, atol=1e-5, rtol=0)
        distance = (x - x_0[row]).flatten(1).norm(dim=1).square().mean().sqrt()
        assert found["distance"].values[row, 0] == pytest.approx(float(distance), rel=1e-4)


def test_the_draws_of_an_image_do_not_depend_on_other_images_and_levels(mixture):
    x_0 = torch.tensor([[2.0, 0, 0], [-2.0, 0, 0]]).double().reshape(2, 1, 1, 3)
    both = dynamics.u_turn(mixture, x_0, [0.3, 0.8], draws=5, steps=10, label_of=side)
    one = dynamics.u_turn(mixture, x_0[:1], [0.8], draws=5, steps=10, label_of=side)
    assert one["distance"].values[0, 0] == both["distance"].values[0, 1]


def test_one_image_has_the_interval_of_its_draws_and_a_warning(mixture):
    x_0 = torch.tensor([[2.0, 0, 0]]).double().reshape(1, 1, 1, 3)
    one = dynamics.u_turn(mixture, x_0, [0.1, 0.8], draws=5, steps=10, label_of=side)
    np.testing.assert_allclose(one["interval"], wilson(one["same"].values[0] * 5, 5))
    assert (
        one["same"][0, 0] == 1
        and one["interval"][0, 0] < 0.6
        and np.isnan(one["turn_distance_interval"]).all()
    )
    assert "one image" in one.attrs["warnings"][0]


def test_images_that_all_keep_their_class_have_the_interval_of_their_number(mixture):
    x_0 = torch.tensor([[2.0, 0, 0]]).double().reshape(1, 1, 1, 3).expand(6, 1, 1, 3)
    found = dynamics.u_turn(mixture, x_0, [0.1], draws=5, steps=10, label_of=side)
    assert (found["same"] == 1).all()
    np.testing.assert_allclose(found["interval"].values[0], wilson(6.0, 6.0))


@pytest.mark.parametrize("kind", [torch.Tensor.numpy, lambda x: xarray.DataArray(x.numpy())])
def test_images_may_be_numpy_and_xarray(mixture, kind):
    x_0, options = torch.tensor([[2.0, 0, 0]]).double().reshape(1, 1, 1, 3), {"draws": 2, "steps": 10}
    found = dynamics.u_turn(mixture, kind(x_0), np.array([0.3]), label_of=side, **options)
    assert found.identical(dynamics.u_turn(mixture, x_0, [0.3], label_of=side, **options))


def test_a_u_turn_resumes_from_its_checkpoint(mixture, tmp_path):
    x_0 = torch.tensor([[2.0, 0, 0], [-2.0, 0, 0]]).double().reshape(2, 1, 1, 3)
    out, options = tmp_path / "turn.npz", {"draws": 5, "steps": 10, "label_of": side}
    whole = dynamics.u_turn(mixture, x_0, [0.3, 0.8], **options)

    def stop(finished, total):
        assert total == 4
        if finished == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dynamics.u_turn(mixture, x_0, [0.3, 0.8], checkpoint=Checkpoint(out, progress=stop), **options)
    reports = []
    found = dynamics.u_turn(
        mixture,
        x_0,
        [0.3, 0.8],
        checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: reports.append(counts)),
        **options,
    )
    assert reports == [(4, 4)] and found.drop_attrs().identical(whole.drop_attrs())
    assert checkpoint.read(out).drop_attrs().identical(whole.drop_attrs())
    with pytest.raises(ds.UserError, match="differs in draws: 5 → 6"):
        dynamics.u_turn(
            mixture, x_0, [0.3, 0.8], checkpoint=Checkpoint(out, resume=True), **options | {"draws": 6}
        )


@pytest.mark.slow
def test_a_digit_survives_little_noise(mnist):
    x_0 = ds.sample(mnist, ds.noise.random(2, mnist.shape, seed=1).batch(range(2)), steps=10)
    found = dynamics.u_turn(mnist, x_0, [0.1, 1.0], draws=4, steps=10)
    assert found["probability"][0] >= found["probability"][1] and (found["label"] >= 0).all()
    assert (found["distance"][:, 0] < found["distance"][:, 1]).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"x_0": torch.zeros(3, 8, 8)}, r"x_0 has shape \[3, 8, 8\]; allowed: .*\[n, 2, 8, 8\]"),
        ({"x_0": [[0.0]]}, r"x_0 is \[\[0.0\]\]; allowed: .*\[n, 2, 8, 8\]"),
        ({"x_0": np.array([["a"]])}, "x_0 is "),
        (
            {"x_0": ds.Recording("run.zarr", xarray.Dataset())},
            "x_0 is the recording run.zarr; allowed: its images",
        ),
        ({"x_0": torch.zeros(1, 2, 8, 8).long()}, "x_0 is a torch.int64 tensor"),
        ({"levels": 0.5}, r"levels has shape \[\]; allowed: one or more shares"),
        ({"levels": ["high"]}, "levels holds"),
        ({"levels": [0.5, 0.5]}, "levels 0.5 and 0.5 both start with step 2 of 4"),
        ({"levels": [0.3, 0.2, 1]}, "levels 0.3 and 0.2 both start with step 3 of 4"),
        ({"levels": [1.5]}, "levels is 1.5; allowed: 0.25 to 1"),
        ({"draws": 2.5}, "draws is 2.5"),
        ({"steps": 0}, "steps is 0; allowed: an integer of at least 1"),
        ({"lanes": 3.0}, "lanes is 3.0"),
        ({"condition": {"class_labels": 1}}, r"condition is .* ds.Condition\("),
        ({"label_of": 5}, "label_of is 5; allowed: a function"),
        (
            {"label_of": lambda images: images},
            r"classifier returned float32 \[1, 2, 8, 8\] for 1 images; allowed",
        ),
        ({"x_0": torch.full((1, 2, 8, 8), torch.nan)}, "x_0 holds NaN or Inf"),
        ({"levels": [0.0]}, "levels is 0.0; allowed: 0.25 to 1"),
        ({"levels": []}, "levels"),
        ({"draws": 0}, "draws is 0"),
        ({"seed": -1}, "seed is -1; allowed: an integer"),
        ({"label_of": None}, "LeNet-5 takes"),
    ],
)
def test_invalid_arguments_are_refused(tiny, options, line):
    given = {"x_0": torch.zeros(1, 2, 8, 8), "levels": [0.5], "label_of": side} | options
    with pytest.raises(ds.UserError, match=line):
        dynamics.u_turn(tiny, given.pop("x_0"), given.pop("levels"), **{"steps": 4, **given})


class Lost(torch.nn.Module):
    """A network whose prediction is NaN except for states near the origin."""

    def forward(self, x, _timestep):
        far = x.flatten(1).norm(dim=1) > 1.5
        return torch.where(far[:, None, None, None], torch.nan, 0.1 * x)


def test_images_that_become_nan_count_as_another_class_with_a_warning():
    denoiser = ds.load(Lost(), scheduler=scheduler_of("ddim"), shape=(1, 1, 3), dtype="float64", device="cpu")
    labelled = []

    def label_of(images):
        labelled.append(images)
        return torch.zeros(len(images)).long()

    x_0 = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.2, 0.3]]).double().reshape(2, 1, 1, 3)
    found = dynamics.u_turn(denoiser, x_0, [0.1, 1.0], draws=40, steps=10, label_of=label_of)
    assert all(images.isfinite().all() for images in labelled)
    # Some noises of three numbers are longer than 1.5, so that draws are lost at the noisiest level.
    assert (found["same"].sel(level=1.0) < 1).all() and (found["same"].sel(level=0.1) == 1).all()
    assert np.isfinite(found["turn_distance_interval"].sel(level=0.1)).all()
    assert np.isnan(found["turn_distance"].sel(level=1.0))
    assert np.isnan(found["turn_distance_interval"].sel(level=1.0)).all()
    assert found.attrs["warnings"][0].startswith("2 of 4 images and levels")
