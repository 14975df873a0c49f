"""The ridge map: closed forms on planes, and plain Jacobians."""

import math

import numpy as np
import pytest
import torch
from analytic import ddim_factors, denoiser_of, gaussian, scheduler_of
from diffusers import DDIMScheduler
from plain_jacobian import plain_jacobian
from torch import nn

import denoscope as ds
from denoscope import dynamics, noise
from denoscope.dynamics.known.analytic_models import TwoGaussians, linear
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint


def test_growth_of_gaussian_data_is_uniform():
    """The growth is given by the singular values of diag(factors)·[d1 d2]."""
    eigenvalues = (3.0, 1.0, 0.3, 0.01)
    denoiser = gaussian(eigenvalues)
    plane = noise.plane((3, 2), denoiser.shape, lengths=(2.0, 1.0), base_seed=1, direction_seeds=(5, 6))
    found = dynamics.plane_growth(denoiser, plane, steps=10, batch_size=4)
    both = torch.stack(
        [d.flatten() for d in noise.plane((2, 2), denoiser.shape, direction_seeds=(5, 6)).directions], 1
    ).numpy()
    whole = np.diag([ddim_factors(value, 10).prod() for value in eigenvalues]) @ both
    _, values, turned = np.linalg.svd(whole, full_matrices=False)
    assert found["growth"].dims == ("y", "x", "direction") and found["growth"].shape == (2, 3, 2)
    np.testing.assert_allclose(found["growth"], np.broadcast_to(np.log(values), (2, 3, 2)), atol=1e-9)
    np.testing.assert_allclose(found["angle"], np.arctan2(turned[0, 1], turned[0, 0]) % np.pi, atol=1e-8)
    np.testing.assert_allclose(found["u"], [-1, 0, 1])
    assert found.attrs["plane"]["base_seed"] == 1 and found.attrs["fingerprint"]["num_steps"] == 10


def test_a_ridge_follows_a_straight_boundary():
    """Two Gaussians: growth peaks where the plane crosses m·x_T = 0."""
    mean, scheduler = torch.tensor([1.5, 0.0, 0.0]), scheduler_of("ddim")
    denoiser = denoiser_of(TwoGaussians(mean, 0.3, scheduler), scheduler, 3)
    plane = noise.plane((41, 3), denoiser.shape, lengths=(8.0, 0.2), base_seed=2, direction_seeds=(5, 6))
    leading = (
        dynamics.plane_growth(denoiser, plane, steps=20, batch_size=123, lanes=64)["growth"].values[..., 0].T
    )
    along = np.array([float(plane.tensor(k).flatten()[0]) for k in range(len(plane))]).reshape(41, 3)
    assert (along.min(0) < -1).all() and (along.max(0) > 1).all(), "the plane crosses the boundary"
    for row in range(3):
        assert abs(int(leading[:, row].argmax()) - int(np.abs(along[:, row]).argmin())) <= 1
    assert leading.max() > leading[0].max() + 1


def test_growth_is_that_of_a_plain_jacobian(exact):
    plane = noise.plane((2, 2), exact.shape, lengths=(20.0, 20.0))
    found = dynamics.plane_growth(exact, plane, steps=2, batch_size=3)
    both = torch.stack([d.flatten() for d in noise.plane((2, 2), exact.shape).directions], 1)
    for index in (1, 2):  # whose places differ
        x_T = plane.batch([index]).double()
        values = torch.linalg.svdvals(plain_jacobian(exact, x_T, 2) @ both)
        np.testing.assert_allclose(found["growth"].values[index % 2, index // 2], values.log(), atol=1e-9)


def test_the_batch_size_does_not_change_any_bit(tiny):
    plane = noise.plane((3, 3), tiny.shape, lengths=(20.0, 20.0))
    one, other = (dynamics.plane_growth(tiny, plane, steps=2, batch_size=size) for size in (2, 9))
    assert one.identical(other)


def test_an_interrupted_ridge_map_is_resumed(tiny, tmp_path):
    plane, out = noise.plane((3, 3), tiny.shape, lengths=(20.0, 20.0)), tmp_path / "growth.npz"
    whole = dynamics.plane_growth(tiny, plane, steps=2)

    def stop(finished, total):
        assert (finished, total) == (4, 9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dynamics.plane_growth(tiny, plane, steps=2, batch_size=4, checkpoint=Checkpoint(out, progress=stop))
    left = checkpoint.read(out)
    assert left["computed"].sum() == 4 and np.isnan(left["angle"].to_numpy()[~left["computed"]]).all()
    reported = []
    found = dynamics.plane_growth(
        tiny,
        plane,
        steps=2,
        checkpoint=Checkpoint(out, resume=True, progress=lambda *counts: reported.append(counts)),
    )
    assert reported == [(9, 9)], "the remaining five points are one batch"
    for resumed in (found, checkpoint.read(out)):
        assert resumed.drop_attrs().identical(whole.drop_attrs())
    with pytest.raises(ds.UserError, match="differs in num_steps: 2 → 3"):
        dynamics.plane_growth(tiny, plane, steps=3, checkpoint=Checkpoint(out, resume=True))


def test_noises_must_be_a_plane(tiny, tmp_path):
    noise.plane((2, 3), tiny.shape, lengths=(20.0, 20.0)).write(tmp_path / "plane")
    read = dynamics.plane_growth(tiny, noise.read(tmp_path / "plane"), steps=1)
    assert read["growth"].shape == (3, 2, 2) and not np.isnan(read["growth"]).any()
    noise.random(2, tiny.shape).write(tmp_path / "random")
    for noises in (noise.random(2, tiny.shape), noise.read(tmp_path / "random")):
        with pytest.raises(ds.UserError, match="plane is not a plane of noises; make one"):
            dynamics.plane_growth(tiny, noises, steps=1)
    with pytest.raises(ds.UserError, match=r"plane is .*; allowed: a plane of noises: noise.plane"):
        dynamics.plane_growth(tiny, torch.zeros(4, 2, 8, 8), steps=1)
    with pytest.raises(ds.UserError, match="batch_size is 0"):
        dynamics.plane_growth(tiny, noise.plane((2, 2), tiny.shape), steps=1, batch_size=0)
    with pytest.raises(ds.UserError, match=r"plane holds noises \[1, 4, 4\]; allowed: \[2, 8, 8\]"):
        dynamics.plane_growth(tiny, noise.plane((2, 2), (1, 4, 4)), steps=1)


@pytest.mark.parametrize(
    ("depth", "dtype", "lost"),
    [
        (20, "float32", 9),
        (16, "float32", 9),
        (20, "float64", 0),
        (9, "float32", 0),
        (20, "float64, rounded to float32 by the scheduler", 9),
        (9, "float64, rounded to float32 by the scheduler", 0),
    ],
)
def test_a_growth_that_rounding_spoils_gives_a_warning(depth, dtype, lost):
    """A linear map of two numbers, which the plane spans: its growth is 0 and −depth everywhere."""
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    dtype, rounds, _ = dtype.partition(", rounded")
    denoiser = linear(turned @ np.diag([1, np.exp(-depth)]) @ turned.T, dtype=dtype, flow=bool(rounds))
    plane = noise.plane((3, 3), denoiser.shape, lengths=(4.0, 4.0))
    found = dynamics.plane_growth(denoiser, plane, steps=1)
    assert any(f"at {lost} of 9 points" in line for line in found.attrs["warnings"]) == (lost > 0)
    if not lost:
        np.testing.assert_allclose(found["growth"][..., 1], -depth, atol=0.02)


class FirstAlone(nn.Module):
    """x_0 = (gain·x_T[0], 1): the second number is clipped on the whole plane."""

    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def forward(self, x, _timestep):
        return torch.stack([self.gain * x[:, 0], x[:, 1] + 9], 1)


@pytest.mark.parametrize(("gain", "growth"), [(0.1, math.log(0.1)), (0.0, -math.inf)])
def test_a_direction_that_the_map_takes_to_zero_is_not_spoiled_by_rounding(gain, growth):
    scheduler = DDIMScheduler(prediction_type="sample", clip_sample=True)
    denoiser = ds.load(FirstAlone(gain), scheduler=scheduler, shape=(2, 1, 1), dtype="float32", device="cpu")
    plane = noise.plane((3, 3), denoiser.shape, lengths=(1.0, 1.0))
    found = dynamics.plane_growth(denoiser, plane, steps=1)
    expected = np.broadcast_to([growth, -math.inf], (3, 3, 2))
    np.testing.assert_allclose(found["growth"], expected, rtol=1e-6)
    assert found.attrs["warnings"] == []
