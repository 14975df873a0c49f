"""Addresses, shapes and calls of modules against plain PyTorch hooks."""

import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.hooks.module_survey import (
    aliases_of,
    first_and_last_convolution,
    first_tensor,
    modules_of,
    output_hooks,
    survey,
    unwrapped,
)
from denoscope.hooks.queries import choose


class Odd(nn.Module):
    """Calls `b` before `a`, `a` twice, `unused` never; `table` returns two rows for any batch."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 1, 1)
        self.b = nn.Conv2d(1, 1, 1)
        self.unused = nn.Conv2d(1, 1, 1)
        self.pair = Pair()
        self.table = Table()

    def forward(self, x, timestep):  # noqa: ARG002
        return self.a(self.a(self.pair(self.b(x))[1])) + self.table(x).sum()


class Pair(nn.Module):
    def forward(self, x):
        return "a text", x + 1


class Table(nn.Module):
    def forward(self, _x):
        return torch.ones(2, 5)


@pytest.fixture
def odd(make_scheduler):
    return ds.load(Odd(), scheduler=make_scheduler("ddim"), shape=(1, 4, 4), device="cpu")


def test_the_survey_equals_what_plain_hooks_see_in_the_order_of_calls(tiny, hooks_of):
    seen: list[tuple] = []
    handles = [
        module.register_forward_hook(
            lambda module, _a, output, name=name: seen.append((name, type(module).__name__, output))
        )
        for name, module in tiny.network.named_modules()
        if name
    ]
    with torch.no_grad():
        tiny.network(torch.zeros(3, 2, 8, 8), torch.tensor(0))
    for handle in handles:
        handle.remove()
    fresh = ds.load(tiny.network, scheduler=tiny.scheduler, device="cpu")
    layers = fresh.layers()
    assert [layer.address for layer in layers] == list(dict.fromkeys(name for name, _, _ in seen))
    outputs = {name: (kind, first_tensor(output)) for name, kind, output in seen}
    for layer in layers:
        kind, output = outputs[layer.address]
        assert layer.kind == kind and layer.dtype == output.dtype
        shapes = {first_tensor(found).shape[1:] for name, _, found in seen if name == layer.address}
        assert layer.shape == (tuple(output.shape[1:]) if len(shapes) == 1 else None)
        assert layer.calls == sum(name == layer.address for name, _, _ in seen)
    assert hooks_of(tiny.network) == 0


def test_the_survey_reports_calls_and_outputs_without_a_row_for_each_sample(odd):
    found = {layer.address: layer for layer in odd.layers()}
    assert list(found) == ["b", "pair", "a", "table"]
    assert [layer.calls for layer in found.values()] == [1, 1, 2, 1]
    assert found["pair"].shape == (1, 4, 4)
    assert found["table"].shape is None, "two rows by chance are not a batch of two"
    assert repr(found["a"]) == "<Layer a: Conv2d, [1, 4, 4] float32, 2 calls a step>"
    assert repr(found["table"]) == "<Layer table: Table, not recordable>"


def test_the_first_and_last_convolution_are_taken_in_the_order_of_calls(odd, tiny):
    assert first_and_last_convolution(odd.layers()) == ["b", "a"]
    assert first_and_last_convolution(tiny.layers()) == ["conv_in", "conv_out"]
    with pytest.raises(ds.UserError, match="no convolution"):
        first_and_last_convolution([])


def test_a_layer_that_is_never_called_or_has_no_rows_is_an_error(odd):
    with pytest.raises(ds.UserError, match="unknown layer 'unused'"):
        odd.chosen_layers(["unused"])
    with pytest.raises(ds.UserError, match="'table'"):
        odd.chosen_layers(["table"])


@pytest.mark.parametrize("output", [lambda x: x[:, :0], lambda x: x.to_sparse()], ids=["empty", "sparse"])
def test_a_layer_whose_states_hold_no_numbers_or_are_sparse_is_refused(make_scheduler, output):
    class Inner(nn.Module):
        def forward(self, x):
            return output(x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x, timestep):  # noqa: ARG002
            return x + self.inner(x).to_dense().sum()

    denoiser = ds.load(Outer(), scheduler=make_scheduler("ddim"), shape=(1, 4, 4), device="cpu")
    with pytest.raises(
        ds.UserError, match="layer 'inner' has no dense tensor with one row of numbers per sample"
    ):
        ds.record(denoiser, torch.ones(1, 1, 4, 4), steps=1, layers="inner")


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (None, x), lambda x: [[x]]])
def test_the_first_tensor_of_an_output_is_found(wrap):
    x = torch.zeros(1)
    assert first_tensor(wrap(x)) is x
    assert first_tensor(("text", None)) is None


def test_hooks_are_removed_at_the_end_of_the_block_and_after_an_error(tiny, hooks_of):
    modules = list(tiny.network.named_modules())
    before = [dict(module._forward_hooks) for _, module in modules]
    with pytest.raises(RuntimeError, match="inside"), output_hooks(modules, lambda *_: None):
        assert hooks_of(tiny.network) == len(modules)
        raise RuntimeError("inside")
    with pytest.raises(AttributeError), output_hooks([*modules, ("none", None)], lambda *_: None):
        pass
    assert [dict(module._forward_hooks) for _, module in modules] == before


def test_a_failed_survey_leaves_no_hook(make_unet, make_scheduler, dies_at, hooks_of):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")
    dies_at(denoiser.network, 0)
    before = hooks_of(denoiser.network)
    with pytest.raises(ds.UserError, match="on purpose"):
        denoiser.layers()
    assert hooks_of(denoiser.network) == before
    assert len(denoiser.layers()) > 10


def test_modules_are_listed_in_the_order_of_definition_without_a_run():
    network = Odd()
    network.listed = nn.ModuleList([nn.Conv2d(1, 1, 1)])
    found = modules_of(network)
    assert [layer.address for layer in found] == ["a", "b", "unused", "pair", "table", "listed.0"]
    assert {(layer.shape, layer.dtype, layer.calls) for layer in found} == {(None, None, 0)}
    assert first_and_last_convolution(found) == ["a", "listed.0"]


class MyConv(nn.Conv2d):
    """A convolution under another name."""


def test_convolutions_are_found_by_inheritance_and_under_parametrizations():
    network = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1)), nn.Conv2d(1, 1, 1), MyConv(1, 1, 1)
    )
    layers = survey(network, lambda rows: network(torch.zeros(rows, 1, 2, 2)))
    own = [layer for layer in layers if "." not in layer.address]
    assert [layer.kind for layer in own] == ["Conv2d", "Conv2d", "MyConv"]
    assert first_and_last_convolution(layers) == ["0", "2"]
    assert [str(address) for address in choose(["type:Conv2d"], layers)] == ["0", "1", "2"]
    assert [str(address) for address in choose(["type:MyConv"], layers)] == ["2"]


def test_a_module_named_like_an_element_is_read_and_written(make_scheduler):
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    network.add_module("c[0]", nn.Conv2d(1, 1, 1))
    denoiser = ds.load(Called(network), scheduler=make_scheduler("ddim"), shape=(1, 4, 4), device="cpu")
    address, x_T = "inside.c[0]", torch.ones(1, 1, 4, 4)
    doubled = [ds.Intervention(address, "scale", 2.0)]
    (step,) = ds.denoise(denoiser, x_T, steps=1, layers=[address, f"{address}:before"], interventions=doubled)
    assert torch.equal(step.states[address], 2 * step.states[f"{address}:before"])
    (plain,) = ds.denoise(denoiser, x_T, steps=1, layers=address)
    assert torch.equal(plain.states[address], step.states[f"{address}:before"])


class Called(nn.Module):
    """Calls a module with x alone."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x, timestep):  # noqa: ARG002
        return self.inside(x)


def test_aliases_of_shared_modules_name_the_module_that_is_surveyed():
    network = nn.Module()
    network.encoder = nn.Sequential(nn.Conv2d(1, 1, 1))
    network.decoder = network.encoder
    assert aliases_of(network) == {"decoder": "encoder", "decoder.0": "encoder.0"}


def wrappers():
    yield nn.DataParallel
    yield lambda network: torch.compile(network)
    yield lambda network: nn.DataParallel(nn.DataParallel(network))


@pytest.mark.parametrize("wrap", wrappers())
def test_wrappers_are_taken_off(wrap, make_unet, make_scheduler):
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    assert unwrapped(wrap(network)) is network
    denoiser = ds.load(wrap(make_unet()), scheduler=make_scheduler("ddim"), device="cpu")
    assert denoiser.shape == (2, 8, 8)
    assert [layer.address for layer in denoiser.chosen_layers("h-space")] == ["mid_block"]


def test_another_path_of_a_shared_module_names_the_one_to_use(make_scheduler):
    network = Odd()
    network.shared = network.a
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), shape=(1, 4, 4), device="cpu")
    with pytest.raises(ds.UserError, match=r"'shared' is another name of .* name 'a'"):
        denoiser.chosen_layers("shared")


@pytest.mark.slow
def test_a_network_that_is_compiled_already_is_surveyed_and_tapped_as_it_is(tiny, make_unet, make_scheduler):
    network = make_unet()
    network.compile(backend="eager")
    network.mid_block.compile(backend="eager")
    with torch.no_grad():
        network(torch.zeros(2, 2, 8, 8), torch.tensor(0))
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")
    assert [layer.address for layer in denoiser.layers()] == [layer.address for layer in tiny.layers()]
    x_T = torch.ones(1, 2, 8, 8)
    (step,) = ds.denoise(denoiser, x_T, steps=1, layers=["mid_block.resnets.0"])
    (expected,) = ds.denoise(tiny, x_T, steps=1, layers=["mid_block.resnets.0"])
    assert torch.equal(step.states["mid_block.resnets.0"], expected.states["mid_block.resnets.0"])
    assert torch.equal(step.x_after, expected.x_after)
