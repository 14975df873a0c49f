"""States as a bare PyTorch forward hook sees them, and copied when it does."""

import pytest
import torch
from torch import nn

from denoscope.errors import UserError
from denoscope.taps import tapped


@pytest.fixture
def x():
    return torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class InPlace(nn.Module):
    """A convolution whose output is changed in place, and the same layer called again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.text = Text()

    def forward(self, x, timestep):  # noqa: ARG002
        first = self.relu(self.conv(x))
        self.text(first)
        return self.conv(first).mul_(0)


class Text(nn.Module):
    def forward(self, _x):
        return "a text"


def test_a_tapped_state_is_what_a_bare_hook_sees_bit_for_bit(tiny, x):
    addresses = [layer.address for layer in tiny.layers() if layer.shape]
    seen: dict[str, torch.Tensor] = {}
    handles = [
        tiny.network.get_submodule(address).register_forward_hook(
            lambda _m, _a, output, address=address: seen.__setitem__(
                address, (output[0] if isinstance(output, tuple) else output).clone()
            )
        )
        for address in addresses
    ]
    with torch.no_grad():
        plain = tiny.network(x, torch.tensor(500)).sample
    for handle in handles:
        handle.remove()
    with torch.no_grad(), tapped(tiny.network, addresses) as run:
        output, states = run(x, torch.tensor(500))
    assert torch.equal(output, plain)
    assert set(states) == set(addresses)
    assert all(torch.equal(states[address], seen[address]) for address in addresses)


def test_a_state_is_a_copy_that_a_later_change_in_place_does_not_reach(x):
    network = InPlace()
    with torch.no_grad(), tapped(network, ["conv", "relu"]) as run:
        output, states = run(x, torch.tensor(0))
        rectified = network.conv(x).relu()
        assert torch.equal(states["relu"], rectified)
        assert torch.equal(states["conv"], network.conv(rectified)), "the last call of several"
    assert not output.any() and states["conv"].any()
    assert states["conv"].data_ptr() != output.data_ptr()


def test_each_call_gives_its_own_states(tiny, x):
    with torch.no_grad(), tapped(tiny.network, ["conv_in"]) as run:
        _, first = run(x, torch.tensor(1))
        kept = first["conv_in"].clone()
        _, second = run(2 * x, torch.tensor(1))
    assert torch.equal(first["conv_in"], kept) and not torch.equal(second["conv_in"], kept)


def test_a_state_carries_no_graph(tiny, x):
    with tapped(tiny.network, ["conv_in"]) as run:
        _, states = run(x.requires_grad_(), torch.tensor(1))
    assert not states["conv_in"].requires_grad


def test_hooks_are_gone_after_the_block_and_after_an_error(tiny, x, hooks_of, dies_at):
    before = [dict(module._forward_hooks) for module in tiny.network.modules()]
    with tapped(tiny.network, ["conv_in", "mid_block"]):
        assert hooks_of(tiny.network) == 2
    dies_at(tiny.network, 0)
    with pytest.raises(RuntimeError, match="on purpose"), tapped(tiny.network, ["conv_in"]) as run:
        run(x, torch.tensor(0))
    with pytest.raises(KeyError), tapped(tiny.network, ["conv_in", "none"]):
        pass
    assert [dict(module._forward_hooks) for module in tiny.network.modules()] == before


def test_a_layer_without_a_tensor_is_refused_by_name(x):
    with pytest.raises(UserError, match="'text'"), tapped(InPlace(), ["text"]) as run:
        run(x, torch.tensor(0))
