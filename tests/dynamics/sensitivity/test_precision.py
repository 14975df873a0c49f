"""Exponents that rounding spoils are named: linear maps with known singular values, in float32 and through schedulers that
round."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

import denoscope as ds
from denoscope.dynamics.sensitivity.full_spectrum import full_spectrum
from denoscope.dynamics.sensitivity.spectrum import Spectrum, spectrum

# diffusers' DPM-Solver with one timestep.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


class Linear(torch.nn.Module):
    """x_0 = J x, computed in float32 if `rounds`; with `flow` the network predicts the velocity x − J x."""

    def __init__(self, matrix: np.ndarray, *, flow: bool = False, rounds: bool = False):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.as_tensor(matrix))
        self.flow, self.rounds = flow, rounds

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        rows = x.flatten(1)
        image = (rows @ self.matrix.T).reshape(x.shape)
        image = image.float().to(x.dtype) if self.rounds else image
        return x - image if self.flow else image


def measured(
    matrix: np.ndarray,
    k: int,
    *,
    scheduler: str = "ddim",
    dtype: str = "float64",
    rounds: bool = False,
    **options,
) -> Spectrum:
    schedulers = {
        "ddim": lambda: DDIMScheduler(clip_sample=False, prediction_type="sample"),
        "flow": FlowMatchEulerDiscreteScheduler,
        "dpm": lambda: DPMSolverMultistepScheduler(prediction_type="sample", timestep_spacing="trailing"),
    }
    network = Linear(matrix.astype(dtype), flow=scheduler == "flow", rounds=rounds)
    shape, x_T = (1, 1, len(matrix)), torch.zeros(1, 1, 1, len(matrix), dtype=torch.float64)
    denoiser = ds.load(network, scheduler=schedulers[scheduler](), shape=shape, dtype=dtype, device="cpu")
    return spectrum(denoiser, x_T, k, steps=1, **options)


def with_exponents(exponents: list[float], size: int, seed: int = 0) -> np.ndarray:
    """A matrix with given leading exponents, and far smaller others."""
    draws = np.random.default_rng(seed)
    left, right = (np.linalg.qr(draws.standard_normal((size, size)))[0] for _ in range(2))
    values = np.exp(-np.r_[-np.array(exponents), np.full(size - len(exponents), 60.0)])
    return left @ np.diag(values) @ right.T


def named(found: Spectrum) -> set[int]:
    """The numbers of the exponents that the warnings name, from 0."""
    numbers = [re.search(r"\(numbers ([0-9, ]*)\)", line) for line in found.warnings]
    return {int(one) - 1 for match in numbers if match for one in match[1].split(", ")}


@pytest.mark.parametrize(
    ("options", "exponents", "size"),
    [
        ({"dtype": "float32"}, [0, -4, -8, -14, -14.5, -15], 60),
        ({"dtype": "float32"}, [2, 1, -11, -13, -13.5], 25),
        ({"dtype": "float32"}, [-30, -31, -45, -47], 40),
        ({"scheduler": "flow"}, [0, -4, -8, -16, -20, -24], 6),
        ({"scheduler": "flow"}, [5, 0, -14, -15, -17], 30),
        ({"rounds": True}, [0, -4, -8, -17, -20, -24], 20),
        ({}, [0, -10, -33, -35, -36], 30),
    ],
    ids=str,
)
def test_an_exponent_is_right_or_named_as_spoiled_by_rounding(options, exponents, size):
    found = measured(with_exponents(exponents, size), len(exponents), **options)
    wrong = set(np.flatnonzero(np.abs(found.exponents - exponents) > 5e-3))
    assert wrong and wrong <= named(found)
    # Exponents well above the rounding errors are right, and no warning names them.
    depth = 11 if options else 30
    clear = {k for k, value in enumerate(exponents) if exponents[0] - value < depth}
    assert not clear & named(found) and not clear & wrong


@pytest.mark.parametrize(
    ("options", "exponents"),
    [
        ({"dtype": "float32"}, [0, -2, -4, -6, -9]),
        ({"scheduler": "flow"}, [0, -2, -4, -6, -9]),
        ({"scheduler": "dpm"}, [0, -4, -8, -16, -20, -24]),
        ({}, [0, -4, -8, -16, -20, -27]),
    ],
    ids=str,
)
def test_exponents_above_the_rounding_errors_give_no_warning(options, exponents):
    found = measured(with_exponents(exponents, 24), len(exponents), **options)
    np.testing.assert_allclose(found.exponents, exponents, atol=5e-3)
    assert not found.warnings


def euler(matrix: np.ndarray, sigmas: np.ndarray, *, prediction: str) -> np.ndarray:
    """The matrix of Euler's method for dx/dσ = ε, in float64: a network sees x/√(σ² + 1)."""
    whole = sigmas[0] * np.eye(len(matrix))
    for sigma, following in pairwise(sigmas):
        output = matrix @ whole / np.sqrt(sigma**2 + 1)
        epsilon = output if prediction == "epsilon" else (whole - output) / sigma
        whole = whole + (following - sigma) * epsilon
    return whole


def dpm(matrix: np.ndarray, sigmas: np.ndarray, *, prediction: str) -> np.ndarray:
    """The matrix of DPM-Solver++(2M) of a network of x_0 in float64, of first order in the first and the last step.

    Source: Lu et al., arXiv:2211.01095, algorithm 2.
    """
    assert prediction == "sample"
    alpha = 1 / np.sqrt(sigmas**2 + 1)
    noise, half_logs = sigmas * alpha, -np.log(sigmas[:-1])
    whole = former = np.eye(len(matrix))
    for k in range(len(sigmas) - 1):
        x_0 = matrix @ whole
        change = x_0
        if 0 < k < len(sigmas) - 2:
            ratio = (half_logs[k] - half_logs[k - 1]) / (half_logs[k + 1] - half_logs[k])
            change = x_0 + (x_0 - former) / (2 * ratio)
        shrunk = noise[k + 1] / noise[k]
        whole, former = shrunk * whole + (alpha[k + 1] - shrunk * alpha[k]) * change, x_0
    return whole


@pytest.mark.parametrize("drawn", [False, True], ids=["at 0", "at a noise"])
@pytest.mark.parametrize(
    ("scheduler", "solved", "prediction", "steps"),
    [
        (EulerDiscreteScheduler, euler, "sample", 1),
        (EulerDiscreteScheduler, euler, "sample", 3),
        (EulerDiscreteScheduler, euler, "epsilon", 3),
        (DPMSolverMultistepScheduler, dpm, "sample", 3),
    ],
)
def test_schedulers_that_round_to_float32_give_right_exponents_or_name_them(
    scheduler, solved, prediction, steps, drawn
):
    matrix, own = with_exponents([0, -4, -8, -16, -20, -24], 6), scheduler(prediction_type=prediction)
    own.set_timesteps(steps)
    expected = np.log(np.linalg.svd(solved(matrix, own.sigmas.double().numpy(), prediction=prediction))[1])
    denoiser = ds.load(Linear(matrix), scheduler=own, shape=(1, 1, 6), dtype="float64", device="cpu")
    x_T = np.random.default_rng(1).standard_normal((1, 1, 1, 6)) * drawn
    found = spectrum(denoiser, x_T, 6, steps=steps)
    wrong = set(np.flatnonzero(np.abs(found.exponents - expected) > 5e-3))
    assert wrong <= named(found)
    # After more than one step the deep ones are sums of far larger numbers in float32.
    deep = {3, 4, 5} if steps > 1 and prediction == "sample" else set()
    assert named(found) == deep


def jordan(a: float, size: int) -> np.ndarray:
    return np.eye(size) + a * np.eye(size, k=1)


def triangular(size: int) -> np.ndarray:
    draws = np.random.default_rng(0)
    return np.diag(draws.uniform(0.5, 2, size)) + np.triu(3 * draws.standard_normal((size, size)), 1)


@pytest.mark.parametrize(
    "matrix", [jordan(5, 30), jordan(-9, 24), triangular(20)], ids=["5", "-9", "triangle"]
)
def test_the_determinant_of_a_triangular_map_is_the_product_of_its_diagonal(matrix):
    found, expected = measured(matrix, len(matrix)), float(np.log(np.abs(np.diag(matrix))).sum())
    # The singular values span 12 decades and more: an SVD by NumPy is off by 2e-6, and log_det may be by its AGREEMENT.
    assert found.log_det == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm"])
def test_a_determinant_that_rounding_spoils_is_none(scheduler):
    deep = with_exponents([0, -20, -40, -41, -45, -50], 6)
    assert measured(deep, 6, scheduler=scheduler).log_det is None
    fine = with_exponents([0, -5, -10, -12, -13, -13.5], 6)
    assert measured(fine, 6, scheduler=scheduler).log_det == pytest.approx(-53.5, abs=1e-6)


def test_a_determinant_is_that_of_numpy_or_none():
    for seed in range(5):
        matrix = np.random.default_rng(seed).standard_normal((8, 8))
        expected = np.linalg.slogdet(matrix)[1]
        assert measured(matrix, 8).log_det == pytest.approx(expected, abs=1e-9)
    flat = np.outer(np.arange(1.0, 5), np.arange(1.0, 5))  # of rank 1
    found = measured(flat, 4)
    assert found.exponents[0] == pytest.approx(np.log(30)) and named(found) == {1, 2, 3}
    assert found.log_det is None or found.log_det < -30


def test_the_whole_spectrum_in_float32_names_the_exponents_that_are_lost():
    network = Linear(np.diag(np.exp([0, -4, -20.0])).astype("float32"))
    own = DDIMScheduler(clip_sample=False, prediction_type="sample")
    denoiser = ds.load(network, scheduler=own, shape=(1, 1, 3), device="cpu")
    found = full_spectrum(denoiser, torch.zeros(1, 1, 1, 3), steps=1)
    assert named(found) == {2}
