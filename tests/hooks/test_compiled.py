"""A compiled recording is the eager one up to rounding, and a wrong graph is never used."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.hooks.compiled import Compilation, Compiled
from denoscope.hooks.taps import tapped

STEPS = 3


def plain_call(network, x, timestep, _inputs):
    return network(x, timestep)


@pytest.fixture
def compiling(monkeypatch):
    """Let something else stand for torch.compile, which takes seconds."""
    return lambda stand_in: monkeypatch.setattr(torch, "compile", stand_in)


@pytest.fixture
def x(tiny):
    return ds.noise.random(10, tiny.shape, seed=3)


class Heard:
    """A progress that keeps what it is told of compiling."""

    def begin(self, *_): ...
    def advance(self, *_): ...
    def unit_done(self, *_): ...
    def end(self, *_): ...
    def compiled(self, compilation, calls):
        self.compilation, self.calls = compilation, calls


@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles for the CPU with g++")
def test_a_fast_recording_differs_from_the_exact_one_by_rounding_alone(tiny, x, tmp_path):
    layers, heard = ["conv_in", "mid_block", "conv_out"], Heard()
    exact = ds.record(tiny, x, tmp_path / "exact.zarr", steps=STEPS, layers=layers)
    fast = ds.record(tiny, x, tmp_path / "fast.zarr", steps=STEPS, layers=layers, fast=True, progress=heard)
    # float32 resolves 1.2e-7 of a value; some hundred sums and a few steps make that at most 1e-5.
    np.testing.assert_allclose(fast.sequence, exact.sequence, atol=1e-5)
    for layer in layers:
        np.testing.assert_allclose(fast.states[layer], exact.states[layer], atol=1e-5)
    assert heard.calls == STEPS * -(-len(x) // 8)
    assert heard.compilation.gap < 1e-5 and heard.compilation.seconds > heard.compilation.compiled > 0
    assert fast.attrs["fingerprint"]["fast"] and not exact.attrs["fingerprint"]["fast"]
    assert all(p.is_contiguous() for p in tiny.network.parameters())


def test_fast_and_exact_do_not_go_on_with_one_another(tiny, x, tmp_path):
    ds.record(tiny, x, tmp_path / "run.zarr", steps=STEPS)
    with pytest.raises(ds.UserError, match="fast: False → True"):
        ds.record(tiny, x, tmp_path / "run.zarr", steps=STEPS, fast=True, resume=True)


def test_a_graph_that_computes_something_else_is_refused(tiny, x, compiling):
    def wrong(network: nn.Module, **_):
        def call(*arguments):
            output, states = network(*arguments)
            return output, {"mid_block": states["mid_block"] * 1.001}

        return call

    compiling(wrong)
    with (
        pytest.raises(ds.UserError, match=r"mid_block differs.*--fast"),
        tiny.running(),
        tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})


def test_a_graph_that_skips_a_tap_is_refused(tiny, x, compiling):
    compiling(lambda network, **_: lambda *arguments: (network(*arguments)[0], {}))
    with (
        pytest.raises(ds.UserError, match="does not run layer 'mid_block'"),
        tiny.running(),
        tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_sample_that_went_wrong_is_compared_like_any_other(value, x, compiling):
    """NaN in both is no difference; in one alone it is the largest there is."""

    class Overflows(nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return torch.cat([x[:1] * value, x[1:]])

    def finite(network: nn.Module, **_):
        return lambda *arguments: (network(*arguments)[0].nan_to_num(0.5, 0.5, 0.5), {})

    compiling(lambda network, **_: network)
    with tapped(Overflows(), plain_call, fast=True) as run:
        run(x.batch(range(2)), torch.tensor(500), {})
        assert run.compilation.gap == 0
    compiling(finite)
    with (
        pytest.raises(ds.UserError, match="the output differs by inf"),
        tapped(Overflows(), plain_call, fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})


def test_a_network_that_cannot_be_compiled_is_told_in_one_line(x):
    class Branches(nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x * 2 if x.sum() > 0 else x * 3

    with (
        pytest.raises(ds.UserError, match=r"cannot be compiled here: .*--fast") as told,
        tapped(Branches(), plain_call, fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})
    assert "\n" not in str(told.value)


def test_only_a_whole_graph_is_asked_for(tiny, x, compiling):
    asked = []

    def stand_in(network, **options):
        asked.append(options)
        return network

    compiling(stand_in)
    with tiny.running(), tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run:
        assert isinstance(run, Compiled) and run.compilation is None
        _, states = run(x.batch(range(2)), torch.tensor(500), {})
    assert len(asked) == 1 and asked[0]["fullgraph"] and not asked[0]["dynamic"]
    assert run.compilation.gap == 0 and states["mid_block"].is_contiguous()


@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles for the CPU with g++")
def test_a_model_that_was_loaded_in_inference_mode_is_compiled_too(make_unet, make_scheduler, x, tmp_path):
    with torch.inference_mode():
        denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")
        fast = ds.record(denoiser, x, tmp_path / "fast.zarr", steps=1, fast=True)
    exact = ds.record(denoiser, x, tmp_path / "exact.zarr", steps=1)
    np.testing.assert_allclose(fast.sequence, exact.sequence, atol=1e-5)


def test_gradients_can_be_taken_after_a_fast_recording(make_unet, make_scheduler, x, tmp_path, compiling):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")
    compiling(lambda network, **_: network)
    ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, fast=True)
    assert not any(p.is_inference() for p in denoiser.network.parameters())
    assert ds.gradient(denoiser, x.batch([0]), lambda x_0: x_0.square().sum(), steps=2).abs().max() > 0


@pytest.mark.parametrize(("calls", "saved"), [(100, -20.0), (300, 0.0), (1000, 70.0)])
def test_what_compiling_saves(calls, saved):
    compilation = Compilation(seconds=30, eager=0.4, compiled=0.3, gap=1e-6, floor=1e-6)
    assert compilation.saved(calls) == pytest.approx(saved)
    told = compilation.told(calls)
    assert "0.75 of its time" in told and ("saves about 70 s" in told) == (calls == 1000)
