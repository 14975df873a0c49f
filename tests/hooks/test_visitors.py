"""Visitors see what plain hooks see, and the network continues with the values they return."""

import pytest
import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.addresses import parse
from denoscope.hooks.visitors import visiting


class Pair(nn.Module):
    """Takes one positional tensor and one by name; returns a tuple of a string and two tensors."""

    def forward(self, x, *, skip):
        return "text", x + skip, (x - skip,)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.pair = Pair()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        _, total, (rest,) = self.pair(self.conv(x), skip=x)
        return self.relu(total) * 2 + rest


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def x():
    return torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def seen_at(network, address, x, answer=lambda _value: None):
    seen = []

    def visitor(value):
        seen.append(value.clone())
        return answer(value)

    with visiting(network, [(parse(address), visitor)]):
        output = network(x)
    return seen, output


@torch.no_grad()
def test_each_address_shows_the_value_computed_by_hand(network, x):
    inner = network.conv(x)
    expected = {
        "conv": inner,
        "conv:in": x,
        "conv:diff": inner - x,
        "pair": inner + x,
        "pair[1]": inner + x,
        "pair:out[2]": inner - x,
        "pair:in": inner,
        "pair:in[1]": x,
        "relu:in": inner + x,
        "relu": (inner + x).relu(),
        "relu:diff": (inner + x).relu() - (inner + x),
    }
    plain = network(x)
    for address, value in expected.items():
        seen, output = seen_at(network, address, x)
        assert len(seen) == 1 and torch.equal(seen[0], value), address
        assert torch.equal(output, plain), address


@pytest.mark.parametrize(
    ("address", "changed"),
    [
        ("conv", lambda x, inner: (2 * inner + x).relu() * 2 + 2 * inner - x),
        ("pair[1]", lambda x, inner: (2 * (inner + x)).relu() * 2 + inner - x),
        ("pair[2]", lambda x, inner: (inner + x).relu() * 2 + 2 * (inner - x)),
        ("pair:in[1]", lambda x, inner: (inner + 2 * x).relu() * 2 + inner - 2 * x),
        ("relu:in", lambda x, inner: (2 * (inner + x)).relu() * 2 + inner - x),
    ],
)
@torch.no_grad()
def test_an_answer_replaces_the_value(network, x, address, changed):
    _, output = seen_at(network, address, x, lambda value: 2 * value)
    torch.testing.assert_close(output, changed(x, network.conv(x)))


@torch.no_grad()
def test_visitors_at_one_address_follow_each_other(network, x):
    seen = []
    place = parse("conv")
    visits = [
        (place, lambda v: seen.append(v.clone())),
        (place, lambda v: v + 1),
        (place, lambda v: seen.append(v.clone())),
    ]
    with visiting(network, visits):
        network(x)
    assert torch.equal(seen[1], seen[0] + 1)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("pair[0]", "no tensor there"),
        ("pair[3]", r"'pair\[3\]' is a tuple of 3; allowed: \[0\] to \[2\]"),
        ("relu[1]", r"'relu\[1\]' is a single tensor.*leave out \[1\]"),
    ],
)
def test_an_address_without_a_tensor_is_an_error(network, x, address, message):
    with pytest.raises(UserError, match=message):
        seen_at(network, address, x)


def test_a_difference_of_two_shapes_is_an_error_with_both(x):
    network = nn.Sequential(nn.Conv2d(1, 2, 1))
    with pytest.raises(UserError, match=r"\[3, 2, 4, 4\].*\[3, 1, 4, 4\].*0:in"):
        seen_at(network, "0:diff", x)


@pytest.mark.parametrize("address", ["conv", "conv:in", "conv:diff", "conv:probs"])
def test_hooks_are_removed_at_the_end_of_the_block_and_after_an_error(network, x, hooks_of, address):
    with pytest.raises(RuntimeError, match="inside"), visiting(network, [(parse(address), lambda _: None)]):
        network(x)
        raise RuntimeError("inside")
    assert hooks_of(network) == 0
    assert torch.overrides._get_current_function_mode() is None


def test_a_call_after_a_failed_call_is_visited_correctly(mnist):
    seen = []
    address = parse("mid_block.attentions.0:probs")
    attention = mnist.network.get_submodule("mid_block.attentions.0")
    x, t = torch.zeros(2, 1, 28, 28), torch.tensor(0)
    with torch.no_grad(), visiting(mnist.network, [(address, lambda v: seen.append(v.shape))]):
        with pytest.raises(ValueError, match="unpack"):
            attention(torch.zeros(1, 5))
        mnist.network(x, t)
    assert seen == [(2, 6, 49, 49)], "other attention modules are not visited"
