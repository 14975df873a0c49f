"""Random noises against plain PyTorch."""

import math

import torch

from denoscope import noise

SHAPE = (1, 28, 28)


def test_noise_k_does_not_depend_on_the_number_of_samples():
    few, many = noise.random(3, SHAPE, seed=9), noise.random(12, SHAPE, seed=9)
    assert few.names == many.names[:3] == ("noise_0000", "noise_0001", "noise_0002")
    assert torch.equal(few.batch(range(3)), many.batch(range(3)))
    assert not torch.equal(many.tensor(0), many.tensor(1))
    assert not torch.equal(few.tensor(0), noise.random(3, SHAPE, seed=10).tensor(0))


def test_a_random_noise_is_the_plain_draw_of_its_seed_coordinate():
    x = noise.random(5, (3, 4, 6), seed=42)
    for k, seed in enumerate(x.coords["seed"].tolist()):
        plain = torch.randn((3, 4, 6), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(x.tensor(k), plain) and plain.dtype == torch.float32


def test_random_noises_are_standard_normal_and_independent():
    x = noise.random(400, (1, 8, 8)).batch(range(400)).double().flatten(1)
    assert x.mean().abs() < 4 / math.sqrt(x.numel())
    assert (x.var() - 1).abs() < 4 * math.sqrt(2 / x.numel())
    neighbours = (x[:-1] * x[1:]).mean()
    assert neighbours.abs() < 4 / math.sqrt(x.numel())
