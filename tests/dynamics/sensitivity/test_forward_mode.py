"""Arithmetic with constants in forward mode: the derivatives of PyTorch itself, to the bit."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional

from denoscope.dynamics.sensitivity.forward_mode import ForwardRules, prepare_forward_mode

DRAWS = torch.Generator().manual_seed(0)
ROW, NUMBER = torch.randn(1, 3, generator=DRAWS), torch.tensor(0.3, dtype=torch.float64)
TALLER, DOUBLE = torch.randn(2, 4, 3, generator=DRAWS), torch.randn(4, 3, generator=DRAWS).double()
WEIGHT, BIAS = torch.randn(2, 3, generator=DRAWS), torch.randn(2, generator=DRAWS)

FUNCTIONS = {
    "sums": lambda x: [c + x + c for c in (0.7, NUMBER, ROW, TALLER, DOUBLE)],
    "differences": lambda x: [f for c in (0.7, NUMBER, ROW, TALLER, DOUBLE) for f in (x - c, c - x)],
    "multiples": lambda x: [c + x.add(c, alpha=2) for c in (0.7, ROW)],
    "products": lambda x: [f for c in (0.7, NUMBER, ROW, TALLER, DOUBLE) for f in (x * c, c * x)],
    "quotients": lambda x: [f for c in (0.7, NUMBER, ROW, TALLER, DOUBLE) for f in (x / c, c / x)],
    "of two": lambda x: [x + x, x - x * x, x / (x + 1)],
    "linear": lambda x: [functional.linear(x, WEIGHT, bias) for bias in (None, BIAS)],
    "constants": lambda x: [ROW + ROW, x.detach() * ROW],
}


@pytest.fixture(scope="module", autouse=True)
def _prepared():
    prepare_forward_mode()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arithmetic_has_the_derivatives_of_pytorch(name):
    x, v = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(x, v)
        expected = [forward_ad.unpack_dual(value) for value in FUNCTIONS[name](dual)]
        with ForwardRules():
            found = [forward_ad.unpack_dual(value) for value in FUNCTIONS[name](dual)]
    for (primal, tangent), (known, slope) in zip(found, expected, strict=True):
        assert primal.dtype == known.dtype and torch.equal(primal, known)
        assert (tangent is None) == (slope is None)
        assert slope is None or (tangent.dtype == slope.dtype and torch.equal(tangent, slope))


def test_a_sum_that_is_changed_in_place_leaves_the_derivative_of_its_argument():
    with torch.no_grad(), forward_ad.dual_level(), ForwardRules():
        x = forward_ad.make_dual(torch.ones(3), torch.ones(3))
        total = x + 1
        total += x
        assert forward_ad.unpack_dual(total).tangent.tolist() == [2, 2, 2]
        assert forward_ad.unpack_dual(x).tangent.tolist() == [1, 1, 1]
