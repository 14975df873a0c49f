"""When images are decided: closed forms, and labels of estimates taken from a plain loop."""

import math

import numpy as np
import pytest
import torch
from analytic import denoiser_of, scheduler_of

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.analytic_models import TwoGaussians


class Mixture(TwoGaussians):
    """Two Gaussians whose prediction is a layer."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.prediction = torch.nn.Identity()

    def forward(self, x, timestep):
        return self.prediction(super().forward(x, timestep))


def side(images):
    """Which Gaussian an image is nearer to."""
    return (images.flatten(1)[:, 0] > 0).long()


@pytest.fixture(scope="module")
def mixture():
    scheduler = scheduler_of("ddim")
    network = Mixture(torch.tensor([2.0, 0.0, 0.0]), 0.1, scheduler)
    return denoiser_of(network, scheduler, 3)


def test_ddim_on_two_gaussians_is_decided_from_the_start(mixture, tmp_path):
    """Every estimate lies on the side that x_T is on."""
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
def test_labels_are_those_of_the_estimates_of_a_plain_loop(tiny_ddpm, tmp_path, noise):
    """Under DDPM, whose estimates change sides, by a label of some pixels."""

    def label_of(images):
        return (images[:, 0, 4, 4] > images[:, 1, 3, 3]).long() + 2 * (
            images[:, 0, 0, 0] > images[:, 0, 7, 7]
        )

    x = ds.noise.random(11, tiny_ddpm.shape, seed=3)
    rec = ds.record(tiny_ddpm, x, tmp_path / "run.zarr", steps=6, layers=["conv_in"], lanes=4, noise=noise)
    found = dynamics.commitment(rec, denoiser=tiny_ddpm, label_of=label_of, batch_size=3)
    names = [str(name) for name in rec.dataset["sample"].values]
    labels = []
    for step in ds.denoise(tiny_ddpm, x.batch(range(11)), steps=6, lanes=4, noise=noise, names=names):
        labels.append(label_of(step.x_0_estimate).numpy())
    labels, final = np.stack(labels, 1), label_of(torch.from_numpy(rec.final.to_numpy())).numpy()
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


def test_the_digits_of_the_bundled_model_are_decided_before_the_end(mnist, tmp_path):
    rec = ds.record(mnist, ds.noise.random(8, mnist.shape, seed=1), tmp_path / "run.zarr", steps=5)
    found = dynamics.commitment(rec)
    np.testing.assert_array_equal(found["final_label"], ds.classify(rec.final).label)
    assert found["same_bits"].all() and found["decided"][-1] > 0.5


def test_other_bits_and_a_single_class_are_warned_of(mixture, tmp_path):
    rec = ds.record(
        mixture, ds.noise.random(3, mixture.shape), tmp_path / "run.zarr", steps=4, layers=["prediction"]
    )
    other = denoiser_of(Mixture(torch.tensor([2.0, 0.0, 0.0]), 0.3, mixture.scheduler), mixture.scheduler, 3)
    found = dynamics.commitment(rec, denoiser=other, label_of=lambda images: torch.zeros(len(images)).long())
    assert "3 of 3 samples came to other bits" in found.attrs["warnings"][0]
    assert "all samples end in one class" in found.attrs["warnings"][1]


def test_what_cannot_be_labelled_or_run_again_is_refused(tiny, tmp_path):
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), tmp_path / "run.zarr", steps=2)
    with pytest.raises(ds.UserError, match="made in Python"):
        dynamics.commitment(rec)
    with pytest.raises(ds.UserError, match=r"images \[2, 8, 8\], which LeNet-5 cannot label"):
        dynamics.commitment(rec, denoiser=tiny)
    final = ds.record(
        tiny, ds.noise.random(2, tiny.shape), tmp_path / "final.zarr", steps=2, extract_states=False
    )
    with pytest.raises(ds.UserError, match="holds final images only"):
        dynamics.commitment(final, denoiser=tiny, label_of=side)
