"""What CUDA changes: differing bits between batch sizes, exact and fast, and the time that recording adds.

    python -m benchmarks.cuda

prints one table. Its networks have random weights and the layers of published models, so that nothing is downloaded.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import denoscope as ds
from denoscope.hooks.compiled import Compilation
from denoscope.models import matmul_precision

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
ROWS = 8
"""Rows of a network call, and the batch size with which the others are compared."""
WAYS = (False, True)
"""Whether the network is compiled."""
SECONDS = 150.0
"""Time after which no further batch size or network is begun."""


@dataclass(frozen=True)
class Options:
    """Where and how much is measured."""

    device: str = "cuda"
    quick: bool = False
    """Tiny networks, few samples and two steps: to see that the script runs."""


@dataclass(frozen=True)
class Row:
    """What was found of a network in one way of computing."""

    network: str
    way: str
    sizes: int
    """How many batch sizes were compared."""
    differing: int
    bits: int
    largest: float
    bare: float
    recorded: float

    def __str__(self) -> str:
        return (
            f"{self.network:<10}{self.way:<7}{self.sizes:>6}  {self.differing:>14,}{self.bits:>16,}{self.largest:>12.1e}"
            f"{self.bare:>9.2f}{self.recorded / self.bare:>18.3f}"
        )


HEADING = f"{'network':<10}{'way':<7}{'sizes':>6}  {'differing bits':>14}{'of':>16}{'largest':>12}{'bare s':>9}{'recording ÷ bare':>18}"


def options(quick: bool) -> dict[str, int]:
    """What both UNets have in common."""
    return {
        "sample_size": 8 if quick else 32,
        "layers_per_block": 1 if quick else 2,
        "norm_num_groups": 4 if quick else 32,
    }


def unet(quick: bool) -> torch.nn.Module:
    """A UNet2DModel of the size of google/ddpm-cifar10-32."""
    from diffusers import UNet2DModel

    widths = (8, 16) if quick else (128, 256, 256, 256)
    return UNet2DModel(
        **options(quick),
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * (len(widths) - 2)),
        up_block_types=(*["UpBlock2D"] * (len(widths) - 2), "AttnUpBlock2D", "UpBlock2D"),
    )


def conditional_unet(quick: bool) -> torch.nn.Module:
    """A UNet2DConditionModel like that of Stable Diffusion 1, at half its widths."""
    from diffusers import UNet2DConditionModel

    widths = (8, 16) if quick else (160, 320, 640, 640)
    return UNet2DConditionModel(
        **options(quick),
        block_out_channels=widths,
        cross_attention_dim=8 if quick else 768,
        attention_head_dim=2 if quick else 8,
        down_block_types=(*["CrossAttnDownBlock2D"] * (len(widths) - 1), "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * (len(widths) - 1)),
    )


def dit(quick: bool) -> torch.nn.Module:
    """A DiTTransformer2DModel of the size of DiT-B/2."""
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        sample_size=8 if quick else 32,
        num_layers=2 if quick else 12,
        num_attention_heads=2 if quick else 12,
        attention_head_dim=8 if quick else 64,
        out_channels=4,
    )


NETWORKS: dict[str, tuple[Callable[[bool], torch.nn.Module], str]] = {
    "UNet2D": (unet, "mid_block"),
    "SD-like": (conditional_unet, "mid_block"),
    "DiT": (dit, "transformer_blocks.0"),
}
"""How each network is made, and the layer of it that is recorded."""


class Heard:
    """A progress that keeps how long compiling took."""

    compiling = 0.0

    def begin(self, *_: object) -> None: ...
    def advance(self, *_: object) -> None: ...
    def skipped(self, *_: object) -> None: ...
    def unit_done(self, *_: object) -> None: ...
    def end(self, *_: object) -> None: ...

    def compiled(self, compilation: Compilation, _calls: int) -> None:
        self.compiling = compilation.seconds


@dataclass(frozen=True)
class Subject:
    """A network with random weights, the noises that it denoises, and the inputs of every sample."""

    denoiser: ds.Denoiser
    x: ds.NoiseSet
    layer: str
    inputs: dict[str, torch.Tensor]
    steps: int
    sizes: tuple[int, ...]

    @classmethod
    def made(cls, name: str, options: Options) -> Subject:
        from diffusers import DDIMScheduler

        make, layer = NETWORKS[name]
        torch.manual_seed(0)
        network: Any = make(options.quick).eval().to(options.device)
        denoiser = ds.load(network, scheduler=DDIMScheduler(clip_sample=False))
        examples = denoiser.family.example_inputs(network.config, torch.zeros(1, *denoiser.shape))
        inputs = {
            name: torch.randn_like(value) if value.is_floating_point() else value
            for name, value in examples.items()
        }
        sizes = BATCH_SIZES[:4] if options.quick else BATCH_SIZES
        x = ds.noise.random(sizes[-1], denoiser.shape, seed=0)
        return cls(denoiser, x, layer, inputs, 2 if options.quick else 10, sizes)

    def record(self, batch_size: int, *, fast: bool) -> tuple[list[torch.Tensor], float]:
        """The sequence and the states of the layer, as they are stored, and the seconds it took without compiling."""
        heard, began = Heard(), time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            rec = ds.record(
                self.denoiser,
                self.x,
                Path(folder) / "run.zarr",
                steps=self.steps,
                layers=self.layer,
                batch_size=batch_size,
                condition=ds.Condition(self.inputs),
                fast=fast,
                progress=heard,
            )
            seconds = time.perf_counter() - began - heard.compiling
            arrays = (rec.sequence, rec.states[self.layer])
            return [torch.from_numpy(array.to_numpy()) for array in arrays], seconds

    @torch.no_grad()
    def denoise(self) -> None:
        """The bare loop over groups of as many rows as recordings compute together, in the same arithmetic."""
        network, device = self.denoiser.network, self.denoiser.device
        scheduler = self.denoiser.new_scheduler(self.steps)
        inputs = {
            name: value.expand(ROWS, *value.shape[1:]).to(device) for name, value in self.inputs.items()
        }
        with matmul_precision.exact(device, tf32=False):
            for first in range(0, len(self.x), ROWS):
                x = self.x.batch(range(first, first + ROWS)).to(device)
                for timestep in scheduler.timesteps:
                    output = self.denoiser.family.call(network, x, timestep, inputs)
                    x = scheduler.step(output, timestep, x).prev_sample
                x.cpu()


def row(subject: Subject, name: str, *, fast: bool, deadline: float) -> Row:
    """What was found of a network; batch sizes for which no time is left are not compared."""
    subject.denoise()
    bare = seconds(subject.denoise, subject.denoiser.device)
    reference, first = subject.record(ROWS, fast=fast)
    # Each recording compiles: twice takes long enough.
    sizes = [
        size for size in (subject.sizes[:1] + subject.sizes[-1:] if fast else subject.sizes) if size != ROWS
    ]
    compared, differing, bits, largest, times = 1, 0, 0, 0.0, [first]
    for size in sizes:
        if time.monotonic() < deadline:
            states, took = subject.record(size, fast=fast)
            differing += sum(map(differing_bits, reference, states))
            bits += sum(8 * array.nbytes for array in states)
            largest = max(largest, *(gap(a, b) for a, b in zip(reference, states, strict=True)))
            compared += 1
            times.append(took)
    return Row(name, "fast" if fast else "exact", compared, differing, bits, largest, bare, min(times))


def differing_bits(a: torch.Tensor, b: torch.Tensor) -> int:
    """The number of bits in which two float32 arrays differ."""
    both = np.bitwise_xor(a.numpy().view(np.uint32), b.numpy().view(np.uint32))
    return int(np.bitwise_count(both).sum())


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long a work takes, with all that it left to the device."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main(options: Options) -> None:
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            "no CUDA device is visible; allowed: a machine with one, or --device cpu --quick", file=sys.stderr
        )
        raise SystemExit(2)
    deadline = time.monotonic() + SECONDS
    card = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    print(f"{card}, torch {torch.__version__}, batch sizes against {ROWS}")
    print(HEADING)
    for fast in WAYS:
        for name in NETWORKS:
            if time.monotonic() < deadline:
                print(row(Subject.made(name, options), name, fast=fast, deadline=deadline), flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(Options, use_underscores=True))
