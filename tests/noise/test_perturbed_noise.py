"""Perturbed noises: distances and directions, recomputed in float64."""

import math

import pytest
import torch

from denoscope import UserError, noise

SHAPE = (1, 28, 28)


def norm(tensor: torch.Tensor) -> float:
    return tensor.double().norm().item()


@pytest.mark.parametrize(
    ("epsilon", "tolerance"), [(1e-2, 1e-3), (1.0, 1e-5), (500.0, 1e-6), (1234.5, 1e-6), (1e4, 1e-6)]
)
def test_each_perturbation_has_norm_epsilon_in_its_own_direction(epsilon, tolerance):
    x = noise.perturbed(4, SHAPE, epsilon=epsilon, base_seed=42, perturb_seed=69)
    steps = [x.tensor(k).double() - x.tensor(0).double() for k in range(1, 5)]
    for step in steps:
        assert step.norm().item() == pytest.approx(epsilon, rel=tolerance)
    cosines = torch.stack([step.flatten() / step.norm() for step in steps])
    cosines = (cosines @ cosines.T - torch.eye(4)).abs()
    assert cosines.max() < 6 / math.sqrt(math.prod(SHAPE))
    assert x.tensor(1).dtype == torch.float32


def test_perturbation_k_does_not_depend_on_their_number_nor_its_direction_on_epsilon():
    few, many = noise.perturbed(2, SHAPE, epsilon=10), noise.perturbed(7, SHAPE, epsilon=10)
    assert torch.equal(few.batch(range(3)), many.batch(range(3)))
    far = noise.perturbed(2, SHAPE, epsilon=1000)
    near, wide = (s.tensor(1).double() - s.tensor(0).double() for s in (few, far))
    torch.testing.assert_close(wide / 1000, near / 10, rtol=0, atol=1e-6)


def test_a_perturbation_that_float32_cannot_represent_is_refused():
    with pytest.raises(UserError, match=r"epsilon is 1e-09"):
        noise.perturbed(1, SHAPE, epsilon=1e-9)


def test_perturbed_names_and_coordinates_are_as_documented():
    x = noise.perturbed(2, SHAPE, epsilon=500, base_seed=42)
    assert x.names == ("set_0042_base", "set_0042_pert_000_eps_500.0000", "set_0042_pert_001_eps_500.0000")
    assert x.coords["base"].tolist() == ["set_0042_base"] * 3
    assert x.coords["epsilon"].tolist() == [0.0, 500.0, 500.0]


def test_small_epsilons_have_different_names_and_exact_distances_or_are_refused():
    names = {noise.perturbed(1, SHAPE, epsilon=epsilon).names[1] for epsilon in (4e-5, 4.5e-5, 5e-5)}
    assert len(names) == 3
    x = noise.perturbed(20, SHAPE, epsilon=3e-5)
    for k in range(1, 21):
        assert (x.tensor(k).double() - x.tensor(0).double()).norm().item() == pytest.approx(3e-5, rel=1e-3)
    with pytest.raises(UserError, match="allowed: about 3e-05"):
        noise.perturbed(20, SHAPE, epsilon=1e-5)
    with pytest.raises(UserError, match=r"epsilon is .*at most 1e"):
        noise.perturbed(1, SHAPE, epsilon=1e300)


SMALL = (1, 2, 3)


def offsets(x):
    """The difference of each noise from the base divided by epsilon, in float64 from the stored float32 tensors."""
    base = x.tensor(0).double()
    return torch.stack(
        [(x.tensor(k).double() - base).flatten() / x.coords["epsilon"][k] for k in range(1, len(x))]
    )


@pytest.mark.parametrize("count", [2, 4, 7])
def test_a_simplex_has_equal_angles_and_no_mean(count):
    x = noise.perturbed(count, SMALL, epsilon=0.5, directions="simplex")
    steps = offsets(x)
    expected = torch.eye(count).double() * count / (count - 1) - 1 / (count - 1)
    torch.testing.assert_close(steps @ steps.T, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(steps.sum(0), torch.zeros(6).double(), atol=1e-5, rtol=0)
    again, other = (
        noise.perturbed(count, SMALL, epsilon=0.5, directions="simplex", perturb_seed=s) for s in (69, 70)
    )
    assert torch.equal(x.tensor(1), again.tensor(1)) and not torch.equal(x.tensor(1), other.tensor(1))
    assert x.names[1] == "set_0042_simplex_000_eps_0.5000" and x.coords["base"][1] == "set_0042_base"


def test_perturbations_follow_given_directions(tmp_path):
    rows = torch.randn(3, *SMALL, generator=torch.Generator().manual_seed(0))
    torch.save(rows, tmp_path / "rows.pt")
    units = rows.double().flatten(1) / rows.double().flatten(1).norm(dim=1, keepdim=True)
    for given in (rows, tmp_path / "rows.pt", str(tmp_path / "rows.pt")):
        x = noise.perturbed(2, SMALL, epsilon=0.25, directions=given)
        torch.testing.assert_close(offsets(x), units[:2], atol=1e-5, rtol=0)
        assert len(x.parameters["directions_sha256"]) == 64 and x.names[2] == "set_0042_along_001_eps_0.2500"


@pytest.mark.parametrize(
    ("count", "given", "message"),
    [
        (8, "simplex", "num_perturbations is 8; allowed: 2 to 7"),
        (1, "simplex", "num_perturbations is 1; allowed: 2 to 7"),
        (
            3,
            torch.ones(2, *SMALL),
            r"directions is .*; allowed: random, simplex, or .* \[3 or more, 1, 2, 3\]",
        ),
        (1, torch.ones(1, 1, 3, 2), r"directions is a torch.float32 tensor \[1, 1, 3, 2\]"),
        (1, torch.zeros(1, *SMALL), "directions is zero, NaN or Inf in row 0"),
        (1, torch.full((1, *SMALL), math.nan), "directions is zero, NaN or Inf in row 0"),
        (
            1,
            "spiral",
            r"directions is spiral, which is no file; allowed: random, simplex, or .* in a \.pt file",
        ),
    ],
)
def test_directions_that_do_not_fit_are_refused(count, given, message):
    with pytest.raises(UserError, match=message):
        noise.perturbed(count, SMALL, epsilon=0.5, directions=given)
