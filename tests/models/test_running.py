"""A module that the caller holds is the same after a run as before, and runs see it in eval mode, frozen and placed."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.hooks.compiled import channels_last
from denoscope.models.running import Running

SHAPE = (2, 4, 4)


class Noisy(nn.Module):
    """A network whose output shows whether dropout is on and whether its batch statistics are in use."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(2, 4, 3, padding=1),
                nn.BatchNorm2d(4),
                nn.Dropout(0.5),
                nn.Conv2d(4, 2, 3, padding=1),
            )
            self.shared = nn.Parameter(torch.randn(2, 1, 1))
        self.alias = nn.Module()
        self.alias.weight = self.shared
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("absent", None)
        self.seen = None

    def forward(self, x, _timestep):
        self.seen = {
            "training": any(module.training for module in self.modules()),
            "learning": any(parameter.requires_grad for parameter in self.parameters()),
            "dtype": self.body[0].weight.dtype,
            "alias": self.alias.weight is self.shared,
        }
        return self.body(x) + self.shared * 0.1


RUNNING = {"training": False, "learning": False, "dtype": torch.float32, "alias": True}


@pytest.fixture
def network():
    """In training mode, except one submodule; one parameter is frozen, another has a gradient and a hook."""
    network = Noisy().train()
    network.body[1].eval()
    network.body[3].weight.requires_grad_(False)
    network.body[0].weight.grad = torch.ones_like(network.body[0].weight)
    network.body[0].weight.register_hook(lambda gradient: gradient)
    return network


def state_of(network: nn.Module) -> dict[str, object]:
    """Everything that a run could change, compared by identity where possible."""
    return {
        "training": [module.training for module in network.modules()],
        "tensors": [
            (
                name,
                id(tensor),
                tensor.data_ptr(),
                tensor.requires_grad,
                tensor.dtype,
                tensor.device,
                tensor.stride(),
            )
            for name, tensor in itertools.chain(
                network.named_parameters(remove_duplicate=False),
                network.named_buffers(remove_duplicate=False),
            )
        ],
        "gradients": [(id(parameter.grad), parameter._backward_hooks) for parameter in network.parameters()],
        "values": [tensor.tolist() for tensor in network.state_dict().values()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in network.modules()
        ],
    }


def broken_off(denoiser, x_T):
    for _ in ds.denoise(denoiser, x_T, steps=3, layers=["body.0"]):
        break


def interleaved(denoiser, x_T):
    runs = [ds.denoise(denoiser, x_T, steps=steps, layers=["body.0"]) for steps in (2, 3)]
    list(itertools.zip_longest(*runs))


def failing(denoiser, x_T):
    def fail(*_):
        raise RuntimeError("on the way")

    handle = denoiser.network.body[3].register_forward_hook(fail)
    try:
        with pytest.raises(ds.UserError, match="on the way"):
            ds.sample(denoiser, x_T, steps=2)
    finally:
        handle.remove()


RUNS = {
    "layers": lambda denoiser, _x: denoiser.layers(),
    "one layer": lambda denoiser, _x: denoiser.one_layer("body.0:in"),
    "predict": lambda denoiser, x_T: denoiser.predict(x_T.to(denoiser.dtype), torch.tensor(5)),
    "weights": lambda denoiser, _x: denoiser.weights_hash,
    "sample": lambda denoiser, x_T: ds.sample(denoiser, x_T, steps=2),
    "denoise": lambda denoiser, x_T: list(ds.denoise(denoiser, x_T, steps=2, layers=["body.0"])),
    "broken off": broken_off,
    "interleaved": interleaved,
    "failing": failing,
    "gradient": lambda denoiser, x_T: ds.gradient(denoiser, x_T, lambda x_0: x_0.sum(), steps=2),
    "layer gradient": lambda denoiser, x_T: ds.gradient(
        denoiser, x_T, lambda x_0: x_0.sum(), wrt="body.0", steps=2
    ),
    "spectrum": lambda denoiser, x_T: ds.dynamics.spectrum(denoiser, x_T[:1], 2, steps=2),
    "closed loop": lambda denoiser, x_T: ds.dynamics.closed_loop(denoiser, 0.5, steps=2)(x_T[:1]),
}


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_leaves_the_callers_module_as_it_was(network, run, dtype):
    before = state_of(network)
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE, dtype=dtype, device="cpu")
    assert state_of(network) == before
    run(denoiser, torch.ones(2, *SHAPE))
    assert state_of(network) == before
    assert network.seen in (None, RUNNING | ({} if dtype is None else {"dtype": torch.float64}))


@pytest.mark.parametrize("fast", [False, True])
def test_a_recording_leaves_the_callers_module_as_it_was(network, tmp_path, monkeypatch, fast):
    monkeypatch.setattr("torch.compile", lambda network, **_: network)
    before = state_of(network)
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE, device="cpu")
    x = ds.noise.random(3, SHAPE, seed=0)
    ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["body.0"], fast=fast)
    assert state_of(network) == before and network.seen == RUNNING


def test_between_two_steps_the_module_is_the_callers(network):
    before = state_of(network)
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE, dtype="float64")
    for step in ds.denoise(denoiser, torch.ones(1, *SHAPE), steps=2):
        assert step.x_after.dtype == torch.float64
        assert state_of(network) == before


def test_a_run_begun_before_another_goes_on_with_its_own_precision(network):
    x_T, load = torch.ones(1, *SHAPE), {"scheduler": "ddim", "shape": SHAPE, "device": "cpu"}
    single, double = ds.load(network, **load), ds.load(network, dtype="float64", **load)
    alone = [ds.sample(denoiser, x_T, steps=3) for denoiser in (single, double)]
    runs = [ds.denoise(denoiser, x_T, steps=3) for denoiser in (single, double)]
    *_, last = zip(*runs, strict=True)
    assert [step.x_after.dtype for step in last] == [torch.float32, torch.float64]
    assert all(torch.equal(step.x_after, x_0) for step, x_0 in zip(last, alone, strict=True))


def test_a_module_in_training_gives_the_numbers_of_eval_mode(network):
    x_T = torch.ones(2, *SHAPE)
    training = ds.sample(ds.load(network, scheduler="ddim", shape=SHAPE), x_T, steps=2)
    evaluated = ds.sample(ds.load(Noisy().eval(), scheduler="ddim", shape=SHAPE), x_T, steps=2)
    assert torch.equal(training, evaluated)


def test_another_precision_gives_the_numbers_of_a_module_converted_by_hand(network):
    x_T = torch.ones(2, *SHAPE)
    converted = ds.sample(ds.load(Noisy().double(), scheduler="ddim", shape=SHAPE), x_T.double(), steps=2)
    run = ds.load(network, scheduler="ddim", shape=SHAPE, dtype="float64")
    assert torch.equal(ds.sample(run, x_T, steps=2), converted)


def test_training_can_go_on_in_the_midst_of_a_run(network):
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE)
    run = ds.denoise(denoiser, torch.ones(1, *SHAPE), steps=3)
    next(run)
    network(torch.ones(2, *SHAPE), None).sum().backward()
    assert network.seen["training"] and network.seen["learning"]
    assert network.shared.grad.abs().sum() > 0


def test_the_hash_of_a_callers_module_follows_its_training(network):
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE)
    before = denoiser.weights_hash
    network.shared.data.neg_()  # counted by no version counter
    after = denoiser.weights_hash
    network.shared.data.neg_()
    assert before != after and denoiser.weights_hash == before


def test_a_block_inside_another_ends_nothing(network):
    running = Running(network)
    with running:
        with running, Running(network):
            assert running.entered
        assert running.entered and not any(module.training for module in network.modules())
    assert not running.entered and network.training


def test_a_block_that_fails_restores_the_module(network):
    before = state_of(network)
    with pytest.raises(KeyboardInterrupt), Running(network, dtype=torch.float64):
        raise KeyboardInterrupt
    assert state_of(network) == before


def test_in_inference_mode_the_copies_can_still_be_derived_by(network):
    running = Running(network, dtype=torch.float64)
    with torch.inference_mode(), running:
        network(torch.ones(2, *SHAPE, dtype=torch.float64), None)
    x = torch.ones(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    with running:
        output = network(x, None)
    output.sum().backward()  # after the block, when the copies are no longer in use
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "run", ["sample", "record", "classify", "layers", "gradient", "expansion", "spectrum"]
)
def test_autocast_of_the_caller_changes_nothing(tiny, run):
    """A half of the digits would be lost, and what is stored would name a precision that was not used."""
    x = ds.noise.random(2, tiny.shape, seed=1)
    small, small_x = ds.load(Noisy(), scheduler="ddim", shape=SHAPE), ds.noise.random(1, SHAPE, seed=1)
    measure = {
        "sample": lambda: ds.sample(tiny, x, steps=2),
        "record": lambda: torch.tensor(ds.record(tiny, x, steps=2, layers=["conv_in"])["conv_in"].to_numpy()),
        "classify": lambda: torch.tensor(
            ds.classify(torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))).confidence
        ),
        "layers": lambda: [
            layer.dtype for layer in ds.load(tiny.network, scheduler=tiny.scheduler, device="cpu").layers()
        ],
        "gradient": lambda: ds.gradient(small, small_x, lambda x_0: x_0.square().sum(), steps=2),
        "expansion": lambda: torch.tensor(ds.dynamics.local_expansion(small, small_x, 2, steps=2).rates),
        "spectrum": lambda: torch.tensor(ds.dynamics.full_spectrum(small, small_x, steps=2).exponents),
    }[run]
    expected = measure()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measure()
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected


@pytest.mark.parametrize("own", [torch.contiguous_format, torch.channels_last])
def test_a_channels_last_block_restores_each_weight(network, own):
    network.to(memory_format=own)
    before = state_of(network)
    with channels_last(network):
        assert network.body[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert state_of(network) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_module_on_the_cpu_runs_on_cuda_and_stays_on_the_cpu(network):
    before, x_T = state_of(network), torch.ones(2, *SHAPE)
    denoiser = ds.load(network, scheduler="ddim", shape=SHAPE, device="cuda")
    assert ds.sample(denoiser, x_T, steps=2).device.type == "cuda"
    assert state_of(network) == before
    stays = ds.load(network, scheduler="ddim", shape=SHAPE)
    assert ds.sample(stays, x_T, steps=2).device.type == "cpu"


def test_a_network_stays_as_runs_need_it_until_the_last_thread_ends(make_small_unet):
    """Another thread that ends changes nothing: kernels, and so bits, depend on what is frozen and on the precision."""
    network = make_small_unet().train()
    denoisers = [ds.load(network, scheduler="ddim", device="cpu", dtype="float64") for _ in range(2)]
    entered, left, seen = threading.Barrier(2, timeout=60), threading.Event(), []

    def short():
        with denoisers[0].running():
            entered.wait()
        left.set()

    def long():
        with torch.autocast("cpu"), denoisers[1].running():
            entered.wait()
            assert left.wait(60)
            weights = list(network.parameters())
            seen.append({(p.requires_grad, p.dtype) for p in weights})
            seen.append((network.training, torch.is_autocast_enabled("cpu"), denoisers[1].dtype))

    threads = [threading.Thread(target=target) for target in (short, long)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{(False, torch.float64)}, (False, False, torch.float64)]
    assert {(p.requires_grad, p.dtype) for p in network.parameters()} == {(True, torch.float32)}
    assert network.training and all(module.training for module in network.modules())
