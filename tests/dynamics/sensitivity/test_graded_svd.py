"""Graded matrices against arithmetic with 200 digits."""

import numpy as np
import pytest
import torch

from denoscope.dynamics.sensitivity.graded_svd import graded_svd


@pytest.mark.parametrize("seed", range(3))
def test_exponents_of_a_graded_product_are_exact(seed):
    """Against the same product with 200 digits."""
    mp = pytest.importorskip("mpmath")
    n, draws = 6, torch.Generator().manual_seed(seed)
    product, frame, triangle = mp.eye(n), torch.eye(n).double(), torch.eye(n).double()
    with mp.workdps(200):
        for _ in range(40):
            factor = torch.randn(n, n, dtype=torch.float64, generator=draws) @ torch.diag(
                10.0 ** -torch.arange(n).double()
            )
            product = mp.matrix(factor.tolist()) * product
            frame, upper = torch.linalg.qr(factor @ frame)
            triangle = upper @ triangle
        expected = [float(mp.log(value)) for value in mp.svd_r(product, compute_uv=False)]
    left, values, right = graded_svd(triangle)
    np.testing.assert_allclose(values.log(), expected, atol=1e-11)
    # An SVD whose error is relative to the largest value reaches a difference of 36.
    assert expected[0] - expected[-1] > 200
    for q in (left, right):
        np.testing.assert_allclose(q.T @ q, np.eye(n), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_an_ordinary_matrix_has_its_ordinary_svd(n):
    matrix = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    left, values, right = graded_svd(matrix)
    np.testing.assert_allclose(values, torch.linalg.svdvals(matrix), rtol=1e-12)
    np.testing.assert_allclose(left @ torch.diag(values) @ right.T, matrix, atol=1e-13)


def test_a_singular_matrix_has_a_singular_value_of_zero():
    _, values, _ = graded_svd(torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(values, [5, 0, 0], atol=1e-15)


@pytest.mark.parametrize("smallest", [1e-150, 1e-300, 1e-310])
def test_values_of_any_size_that_float64_holds_keep_their_digits(smallest):
    """diag(σ) times a matrix near 1: up to σ₂/σ₁, σ₁ is the norm of the first row and σ₁σ₂ the determinant."""
    rows = np.array([[1.0, 0.5], [0.3, 1.0]])
    matrix = torch.from_numpy(np.diag([1.0, smallest]) @ rows)
    _, values, _ = graded_svd(matrix)
    first = np.hypot(1, 0.5)
    digits = 1e-14 if smallest > 1e-308 else 1e-10  # denormal numbers have fewer
    np.testing.assert_allclose(values, [first, smallest * 0.85 / first], rtol=digits)


def test_a_zero_matrix_has_orthonormal_vectors():
    left, values, right = graded_svd(torch.zeros(3, 3))
    assert values.tolist() == [0, 0, 0]
    for q in (left, right):
        np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-14)
