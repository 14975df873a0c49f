"""A compiled recording equals the eager one up to rounding, and a wrong graph is never used."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.hooks.compiled import Compilation, CompiledNetwork
from denoscope.hooks.taps import tapped

STEPS = 3


def plain_call(network, x, timestep, _inputs):
    return network(x, timestep)


@pytest.fixture
def compiling(monkeypatch):
    """Replace torch.compile, which takes seconds."""
    return lambda stand_in: monkeypatch.setattr(torch, "compile", stand_in)


@pytest.fixture
def x(tiny):
    return ds.noise.random(10, tiny.shape, seed=3)


class Reports:
    """A progress that stores the report on compiling."""

    def begin(self, *_): ...
    def skipped(self, *_): ...
    def advance(self, *_): ...
    def unit_done(self, *_): ...
    def end(self, *_): ...
    def compiled(self, compilation, calls):
        self.compilation, self.calls = compilation, calls


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles for the CPU with g++")
def test_a_fast_recording_differs_from_the_exact_one_by_rounding_alone(tiny, x, tmp_path):
    layers, reports = ["conv_in", "mid_block", "conv_out"], Reports()
    exact = ds.record(tiny, x, tmp_path / "exact.zarr", steps=STEPS, layers=layers)
    fast = ds.record(tiny, x, tmp_path / "fast.zarr", steps=STEPS, layers=layers, fast=True, progress=reports)
    # float32 resolves 1.2e-7 of a value; some hundred sums and a few steps make that at most 1e-5.
    np.testing.assert_allclose(fast.sequence, exact.sequence, atol=1e-5)
    for layer in layers:
        np.testing.assert_allclose(fast.states[layer], exact.states[layer], atol=1e-5)
    assert reports.calls == STEPS * -(-len(x) // 8)
    assert reports.compilation.gap < 1e-5 and reports.compilation.seconds > reports.compilation.compiled > 0
    assert fast.attrs["fingerprint"]["fast"] and not exact.attrs["fingerprint"]["fast"]
    assert all(p.is_contiguous() for p in tiny.network.parameters())


def test_a_fast_recording_does_not_resume_an_exact_one(tiny, x, tmp_path):
    ds.record(tiny, x, tmp_path / "run.zarr", steps=STEPS)
    with pytest.raises(ds.UserError, match="fast: False → True"):
        ds.record(tiny, x, tmp_path / "run.zarr", steps=STEPS, fast=True, resume=True)


def test_a_graph_with_other_results_is_an_error(tiny, x, compiling):
    def wrong(network: nn.Module, **_):
        def call(*arguments):
            output, states = network(*arguments)
            return output, {"mid_block": states["mid_block"] * 1.001}

        return call

    compiling(wrong)
    with (
        pytest.raises(ds.UserError, match=r"mid_block differs.*without fast"),
        tiny.running(),
        tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})


def test_a_graph_that_skips_a_tap_is_an_error(tiny, x, compiling):
    compiling(lambda network, **_: lambda *arguments: (network(*arguments)[0], {}))
    with (
        pytest.raises(ds.UserError, match="does not run layer 'mid_block'"),
        tiny.running(),
        tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_diverged_sample_is_compared_like_any_other(value, x, compiling):
    """NaN in both is no difference; in one alone it is an infinite one."""

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


def test_a_network_that_cannot_be_compiled_is_an_error_of_one_line(x):
    class Branches(nn.Module):
        def forward(self, x, timestep):  # noqa: ARG002
            return x * 2 if x.sum() > 0 else x * 3

    with (
        pytest.raises(ds.UserError, match=r"cannot be compiled here: .*without fast") as caught,
        tapped(Branches(), plain_call, fast=True) as run,
    ):
        run(x.batch(range(2)), torch.tensor(500), {})
    assert "\n" not in str(caught.value)


def test_compilation_requests_one_whole_graph(tiny, x, compiling):
    requested = []

    def stand_in(network, **options):
        requested.append(options)
        return network

    compiling(stand_in)
    with tiny.running(), tapped(tiny.network, tiny.call, tiny.chosen_layers(["mid_block"]), fast=True) as run:
        assert isinstance(run, CompiledNetwork) and run.compilation is None
        _, states = run(x.batch(range(2)), torch.tensor(500), {})
    assert len(requested) == 1 and requested[0]["fullgraph"] and not requested[0]["dynamic"]
    assert run.compilation.gap == 0 and states["mid_block"].is_contiguous()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles for the CPU with g++")
def test_a_model_loaded_in_inference_mode_is_compiled_too(make_unet, make_scheduler, x, tmp_path):
    with torch.inference_mode():
        denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")
        fast = ds.record(denoiser, x, tmp_path / "fast.zarr", steps=1, fast=True)
    exact = ds.record(denoiser, x, tmp_path / "exact.zarr", steps=1)
    np.testing.assert_allclose(fast.sequence, exact.sequence, atol=1e-5)


def test_gradients_work_after_a_fast_recording(make_unet, make_scheduler, x, tmp_path, compiling):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")
    compiling(lambda network, **_: network)
    ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, fast=True)
    assert not any(p.is_inference() for p in denoiser.network.parameters())
    assert ds.gradient(denoiser, x.batch([0]), lambda x_0: x_0.square().sum(), steps=2).abs().max() > 0


@pytest.mark.parametrize(("calls", "saved"), [(100, -20.0), (300, 0.0), (1000, 70.0)])
def test_seconds_saved_by_compiling(calls, saved):
    compilation = Compilation(seconds=30, eager=0.4, compiled=0.3, gap=1e-6, floor=1e-6)
    assert compilation.saved(calls) == pytest.approx(saved)
    summary = compilation.summary(calls)
    assert "0.75 of the eager time" in summary
    assert ("saves about 70 s" in summary) == (calls == 1000)
