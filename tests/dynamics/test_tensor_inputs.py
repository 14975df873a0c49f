"""Every measure of arrays takes tensors of every kind, and gives the numbers that it gives for float64 arrays."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import denoscope as ds

D = ds.dynamics
DRAWS = np.random.default_rng(0)


def short(*shape: int) -> np.ndarray:
    """Numbers that bfloat16 holds exactly."""
    return torch.tensor(DRAWS.standard_normal(shape)).bfloat16().double().numpy()


PATHS, POINTS, SERIES = short(20, 4, 6), short(250, 2), short(250)
LABELS = np.add.outer(np.arange(60), np.arange(60)) // 20 % 3
EPSILONS = (0.125, 0.25, 0.5)


def halves(points: np.ndarray) -> np.ndarray:
    return (points[:, 0] > 0).astype(int)


def growing(x: torch.Tensor) -> torch.Tensor:
    return x / 2


Form = Callable[[Any], Any]
MEASURES: dict[str, Callable[[Form], Any]] = {
    "linear_cka": lambda form: D.linear_cka(form(PATHS[:, 0]), form(PATHS[:, 1])),
    "linear_cka of lists": lambda form: D.linear_cka(
        list(map(form, PATHS[:, 0])), list(map(form, PATHS[:, 1]))
    ),
    "cka_matrix": lambda form: D.cka_matrix([form(PATHS[:, 0]), form(PATHS[:, 1])]),
    "participation": lambda form: D.participation(form(PATHS)),
    "path_geometry": lambda form: D.path_geometry(form(PATHS), sigmas=form([4, 3, 2, 1])),
    "trajectory_distances": lambda form: D.trajectory_distances(form(PATHS), form(PATHS[::-1].copy())),
    "covariance_spectrum": lambda form: D.covariance_spectrum(form(PATHS)),
    "zero_one": lambda form: D.zero_one(form(SERIES)),
    "periodicity": lambda form: D.periodicity(form(SERIES)),
    "kaplan_yorke": lambda form: D.kaplan_yorke(form([1.0, -2.0])),
    "kaplan_yorke of a list": lambda form: D.kaplan_yorke([form(1.0), form(-2.0)]),
    "kaplan_yorke of −∞": lambda form: D.kaplan_yorke(form([1.0, -np.inf])),
    "verdict": lambda form: D.verdict(LABELS, growth=form(LABELS)),
    "uncertainty_exponent": lambda form: D.uncertainty_exponent(halves, form(POINTS), form(EPSILONS)),
    "fixed_points": lambda form: D.fixed_points(growing, form([[1.0, 2.0]]).float(), iterations=60),
}
FORMS: dict[str, Form] = {
    "bfloat16": lambda values: torch.tensor(np.asarray(values)).bfloat16(),
    "gradients": lambda values: torch.tensor(np.asarray(values, float)).requires_grad_(),
    "both": lambda values: torch.tensor(np.asarray(values)).bfloat16().requires_grad_(),
    "conjugate": lambda values: torch.tensor(np.asarray(values, complex)).conj().real,
}


def plain(values: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(values, float))


@functools.cache
def of_float64(name: str) -> dict[str, Any]:
    return MEASURES[name](plain).to_dict()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", MEASURES)
def test_the_numbers_are_those_of_float64(name, form):
    assert {**MEASURES[name](FORMS[form]).to_dict(), "origin": 0} == {**of_float64(name), "origin": 0}


@pytest.mark.parametrize("form", FORMS)
def test_datasets_are_those_of_float64(form):
    def measured(one: Form) -> list[Any]:
        layers = {"layer": one(PATHS[:, :3])}
        apart = D.divergence_of(one(PATHS), [0] * 20, noise_floor=one([1e-3] * 4), layers=layers)
        decided = D.commitment_of(torch.tensor(LABELS), torch.tensor(LABELS[:, -1]), sigma=one(np.arange(60)))
        return [apart.to_dict(), decided.to_dict()]

    np.testing.assert_equal(measured(FORMS[form]), measured(plain))


def test_a_label_may_be_a_tensor_wherever_labels_are_taken():
    for measure in (D.basin_entropy, D.basin_fractions, D.boundary_dimension, D.verdict, D.wada):
        assert measure(torch.tensor(LABELS)).to_dict() == measure(LABELS).to_dict()
    neighbours = np.stack([LABELS[1], LABELS[5], LABELS[20]])
    found = [
        D.uncertainty_exponent_of(form(LABELS[0]), form(neighbours), form(EPSILONS), dimension=2)
        for form in (torch.tensor, np.asarray)
    ]
    assert found[0].fractions.tolist() == found[1].fractions.tolist()
    whole = D.wada(LABELS, boxes=torch.tensor([3, 5]), classes=torch.tensor([0, 1, 2]))
    assert whole.fractions.tolist() == D.wada(LABELS, boxes=(3, 5)).fractions.tolist()
    assert D.basin_entropy(LABELS, box=torch.tensor(5)).entropy == D.basin_entropy(LABELS, box=5).entropy


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (torch.eye(5).to_sparse(), "sparse"),
        (torch.zeros(5, 5, device="meta"), "meta"),
        ([torch.zeros(5), torch.zeros(4)], "unequal length"),
    ],
)
def test_tensors_without_values_are_refused(values, kind):
    with pytest.raises(ds.UserError, match=f"^x .*{kind}.*allowed: "):
        D.linear_cka(values, torch.eye(5))
