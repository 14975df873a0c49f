"""Noises on a sphere: their norms."""

import pytest
import torch

from denoscope import noise

SHAPE = (1, 28, 28)


def test_noises_on_a_sphere_have_one_norm():
    x = noise.sphere(4, SHAPE)
    assert x.batch(range(4)).double().flatten(1).norm(dim=1).tolist() == pytest.approx([28.0] * 4, rel=1e-6)
    assert noise.sphere(1, SHAPE, radius=3.0).tensor(0).norm().item() == pytest.approx(3.0, rel=1e-6)


def test_noise_k_does_not_depend_on_the_number_of_samples():
    few, many = noise.sphere(2, SHAPE, seed=3), noise.sphere(5, SHAPE, seed=3)
    assert few.names == many.names[:2] == ("sphere_0000", "sphere_0001")
    assert torch.equal(few.batch([0, 1]), many.batch([0, 1]))
