"""Tapped states equal what a bare PyTorch hook sees, and are copied when it sees them."""

import pytest
import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.taps import tapped


def plain_call(network, x, timestep, _inputs):
    return network(x, timestep)


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
    seen: dict[str, list[torch.Tensor]] = {address: [] for address in addresses}
    handles = [
        tiny.network.get_submodule(address).register_forward_hook(
            lambda _m, _a, output, address=address: seen[address].append(
                (output[0] if isinstance(output, tuple) else output).clone()
            )
        )
        for address in addresses
    ]
    with torch.no_grad():
        plain = tiny.network(x, torch.tensor(500)).sample
    for handle in handles:
        handle.remove()
    with torch.no_grad(), tapped(tiny.network, tiny.call, tiny.chosen_layers(addresses)) as run:
        output, states = run(x, torch.tensor(500), {})
    assert torch.equal(output, plain)
    assert set(states) == set(addresses)
    assert all(torch.equal(states[address], torch.stack(seen[address], 1)) for address in addresses)


def test_a_state_is_a_copy_that_later_changes_in_place_do_not_reach(x):
    network = InPlace()
    layers = [Layer("conv", "Conv2d", (2, 8, 8), x.dtype, 2), Layer("relu", "ReLU", (2, 8, 8), x.dtype, 1)]
    with torch.no_grad(), tapped(network, plain_call, layers) as run:
        output, states = run(x, torch.tensor(0), {})
        first = network.conv(x)
        assert torch.equal(states["relu"][:, 0], first.relu())
        assert torch.equal(states["conv"][:, 0], first)
        assert torch.equal(states["conv"][:, 1], network.conv(first.relu())), "each call of several"
    assert not output.any() and states["conv"].any()


def test_each_call_returns_its_own_states(tiny, x):
    with torch.no_grad(), tapped(tiny.network, tiny.call, tiny.chosen_layers(["conv_in"])) as run:
        _, first = run(x, torch.tensor(1), {})
        kept = first["conv_in"].clone()
        _, second = run(2 * x, torch.tensor(1), {})
    assert torch.equal(first["conv_in"], kept) and not torch.equal(second["conv_in"], kept)


def test_a_state_carries_no_graph(tiny, x):
    with tapped(tiny.network, tiny.call, tiny.chosen_layers(["conv_in"])) as run:
        _, states = run(x.requires_grad_(), torch.tensor(1), {})
    assert not states["conv_in"].requires_grad


def test_hooks_exist_only_during_a_call(tiny, x, hooks_of, dies_at):
    before = [dict(module._forward_hooks) for module in tiny.network.modules()]
    chosen = tiny.chosen_layers(["conv_in", "mid_block"])
    with tapped(tiny.network, tiny.call, chosen) as run:
        assert hooks_of(tiny.network) == 0
        run(x, torch.tensor(0), {})
        assert hooks_of(tiny.network) == 0
    dies_at(tiny.network, 0)
    with pytest.raises(RuntimeError, match="on purpose"), tapped(tiny.network, tiny.call, chosen) as run:
        run(x, torch.tensor(0), {})
    none = Layer("none", "Conv2d", (8, 8, 8), x.dtype, 1)
    with pytest.raises(KeyError), tapped(tiny.network, tiny.call, [*chosen, none]) as run:
        run(x, torch.tensor(0), {})
    assert [dict(module._forward_hooks) for module in tiny.network.modules()] == before


def test_a_layer_without_a_tensor_is_an_error_that_names_it(x):
    text = [Layer("text", "Text", None, None, 1)]
    with pytest.raises(UserError, match="'text'"), tapped(InPlace(), plain_call, text) as run:
        run(x, torch.tensor(0), {})


def test_states_of_a_layer_with_missing_calls_are_nan_and_reported(x):
    network = InPlace()
    layers = [Layer("conv", "Conv2d", (2, 8, 8), x.dtype, 3), Layer("relu", "ReLU", (2, 8, 8), x.dtype, 1)]
    with torch.no_grad(), tapped(network, plain_call, layers) as run:
        _, states = run(x, torch.tensor(0), {})
        assert run.skipped == ["conv"]
    assert states["conv"].shape == (3, 3, 2, 8, 8) and states["conv"].isnan().all()
    assert not states["relu"].isnan().any()


def test_a_state_of_another_shape_than_in_the_dry_run_is_an_error_with_both(x):
    layers = [Layer("relu", "ReLU", (2, 4, 4), x.dtype, 1)]
    with (
        pytest.raises(UserError, match=r"\[3, 2, 8, 8\].*\[3, 2, 4, 4\]"),
        tapped(InPlace(), plain_call, layers) as run,
    ):
        run(x, torch.tensor(0), {})
