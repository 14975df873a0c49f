"""Denoisers small enough for every test, one truth in closed form, and one computed by hand."""

import datetime
import functools
import gc
import itertools
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recorder import Recorder
from s3_server import S3Server
from torch import nn

import denoscope as ds


def pytest_collection_modifyitems(items):
    """Run the documentation's pages first: they take longest, and other workers run the rest meanwhile."""
    items.sort(key=lambda item: item.path.stem != "test_readme")


@pytest.fixture(scope="session", autouse=True)
def _imports_frozen():
    """Exclude imported objects from garbage collection, which would otherwise traverse them every time."""
    import xarray  # noqa: F401
    import zarr  # noqa: F401
    from diffusers import UNet2DModel  # noqa: F401

    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive():
    """Let Ctrl-C reach the commands that tests start: processes in the background ignore it by default."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_folder(tmp_path_factory):
    """Run in a folder of this process alone: commands claim their default outputs in the current folder."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("current"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HF_HUB_OFFLINE", "1")
        patched.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_flush():
    """Do not wait for the disk: no test survives a power failure, and a busy disk takes long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.fsync", lambda _file: None)
        yield


FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory, request) -> Path:
    """An empty folder. pytest's own fixture lists the folders of all earlier tests, which takes long for thousands."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}_{next(FOLDERS)}", numbered=False)


@pytest.fixture(scope="session")
def mnist():
    """The bundled denoiser of 28 × 28 pixels."""
    return ds.load("mnist", device="cpu")


@pytest.fixture(scope="session")
def digits():
    """The bundled denoiser of 8 × 8 pixels, a tenth of the work."""
    return ds.load("digits", device="cpu")


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., nn.Module]:
    """A random UNet2DModel of 8×8 pixels with `channels` channels and attention in its middle, the same for the same seed."""
    from diffusers import UNet2DModel

    def make(channels: int = 2, seed: int = 0, **config: object) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            small = {
                "sample_size": 8,
                "block_out_channels": (8, 16),
                "down_block_types": ("DownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "UpBlock2D"),
                "layers_per_block": 1,
                "norm_num_groups": 4,
                "attention_head_dim": 8,
            }
            return UNet2DModel(in_channels=channels, out_channels=channels, **small | config).eval()

    return make


@pytest.fixture(scope="session")
def make_small_unet(make_unet) -> Callable[..., nn.Module]:
    """The same with one block and no attention, for tests that call it many times."""
    return functools.partial(
        make_unet,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
    )


@pytest.fixture(scope="session")
def make_scheduler() -> Callable[..., object]:
    """The diffusers scheduler "ddim" or "ddpm", without clipping."""
    import diffusers

    kinds = {"ddim": diffusers.DDIMScheduler, "ddpm": diffusers.DDPMScheduler}
    return lambda name, **options: kinds[name](clip_sample=False, **options)


@pytest.fixture(scope="session")
def tiny(make_unet, make_scheduler):
    """A denoiser of [2, 8, 8] with DDIM."""
    return ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture(scope="session")
def tiny_ddpm(make_unet, make_scheduler):
    """The same network with DDPM."""
    return ds.load(make_unet(), scheduler=make_scheduler("ddpm"), device="cpu")


class GaussianData(nn.Module):
    """ε*(x, t) for data N(0, Σ) with Σ diagonal, in float64: √(1−ᾱ)·x / (ᾱ Σ + 1 − ᾱ)."""

    def __init__(self, variances: torch.Tensor, alphas_cumprod: torch.Tensor):
        super().__init__()
        self.variances, self.alphas_cumprod = variances.double(), alphas_cumprod.double()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        level = self.alphas_cumprod[int(timestep)]
        return ((1 - level).sqrt() * x / (level * self.variances + 1 - level)).to(x.dtype)


@pytest.fixture(scope="session")
def gaussian():
    """A denoiser of Gaussian data with the given variance along each pixel of [1, 1, W]."""

    def make(variances: tuple[float, ...], scheduler) -> ds.Denoiser:
        module = GaussianData(torch.tensor(variances), scheduler.alphas_cumprod)
        return ds.load(module, scheduler=scheduler, shape=(1, 1, len(variances)), device="cpu")

    return make


@pytest.fixture(scope="session")
def by_hand():
    """Sequences [n, steps+1, …] and states {layer: [n, steps, …]} from a plain loop with plain hooks."""

    @torch.no_grad()
    def run(network, scheduler, x_T, *, steps: int, rows: int, layers=()):
        groups = []
        for start in range(0, len(x_T), rows):
            part = x_T[start : start + rows]
            read: dict[str, list[torch.Tensor]] = {layer: [] for layer in layers}
            handles = [
                network.get_submodule(layer).register_forward_hook(
                    lambda _m, _a, output, layer=layer: read[layer].append(output.clone())  # noqa: B023
                )
                for layer in layers
            ]
            scheduler.set_timesteps(steps)
            x = torch.cat([part, torch.zeros(rows - len(part), *x_T.shape[1:])])
            sequence = [x]
            for timestep in scheduler.timesteps:
                x = scheduler.step(network(x, timestep).sample, timestep, x).prev_sample
                sequence.append(x)
            for handle in handles:
                handle.remove()
            groups.append(
                {
                    "sequence": torch.stack(sequence, 1)[: len(part)],
                    **{layer: torch.stack(states, 1)[: len(part)] for layer, states in read.items()},
                }
            )
        return {name: torch.cat([group[name] for group in groups]) for name in groups[0]}

    return run


@pytest.fixture(scope="session")
def hooks_of():
    """All hooks of a network's modules, to see that none is left behind."""

    def count(network: nn.Module) -> int:
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_always_called")
        return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)

    return count


@pytest.fixture
def dies_at(request):
    """Make a network raise at its call number `call`, counted from 0, until the test ends.

    The first call of a recording is the probe of its fingerprint, so that the loop begins with call 1.
    """

    def arm(network: nn.Module, call: int) -> None:
        calls = iter(range(10_000))

        def die(_module, _arguments):
            if next(calls) == call:
                raise RuntimeError("died on purpose")

        request.addfinalizer(network.register_forward_pre_hook(die).remove)

    return arm


@pytest.fixture(scope="session")
def saved(tmp_path_factory, make_scheduler) -> Callable[[nn.Module, str], str]:
    """Save a network with DDIM by plain diffusers, in a folder of that name; returns the folder."""

    def save(network: nn.Module, name: str) -> str:
        folder = tmp_path_factory.mktemp("models") / name
        network.save_pretrained(folder)
        make_scheduler("ddim").save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture(scope="session")
def model(saved, make_unet) -> str:
    """A folder with the tiny model of [1, 8, 8] and DDIM."""
    return saved(make_unet(channels=1), "tiny")


@pytest.fixture(scope="session")
def recorder(tmp_path_factory):
    """The command in forked processes that can be killed; see recorder.py."""
    running = Recorder(tmp_path_factory.mktemp("processes"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server on loopback, which starts with the first test that uses it."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The same with an empty bucket, its address and its credentials in the environment, and short pauses."""
    from denoscope.storage.stores import object_store

    s3_server.reset()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(object_store.BACKOFF, "init_backoff", datetime.timedelta(milliseconds=1))
    monkeypatch.setitem(object_store.BACKOFF, "max_backoff", datetime.timedelta(milliseconds=5))
    monkeypatch.setattr(object_store, "_ANSWERED", set())
    return s3_server


@pytest.fixture(scope="module")
def _local_workers():
    from denoscope.cli.from_settings import IMPORTED
    from denoscope.cluster.connection import connected

    with connected("local:2", preload=IMPORTED) as client:
        yield client


@pytest.fixture
def workers(_local_workers):
    """A client of two worker processes on this machine, as `--cluster local:2` starts them.

    They hold many files open, so they end with the module.
    """
    _local_workers.wait_for_workers(
        2, timeout=300
    )  # an earlier test may have killed some, which are replaced
    return _local_workers


@pytest.fixture(scope="session")
def browser():
    """A real browser, one for all tests: Playwright starts once in a process."""
    from chromium import launched

    with launched() as opened:
        yield opened


@pytest.fixture(scope="session")
def contents():
    """All files of a recording by name, without its date, the only difference between two runs."""

    def read(path: Path) -> dict[str, object]:
        found: dict[str, object] = {
            file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
        }
        for name, key in (("zarr.json", "attributes"), ("recording.json", "attrs")):
            if name in found:
                found[name] = json.loads(found[name])
                assert datetime.datetime.fromisoformat(found[name][key].pop("created"))
        return found

    return read
