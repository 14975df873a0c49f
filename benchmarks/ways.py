"""Ways to denoise the same noises and keep the same states; each runs in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

LAYERS = ("conv_in", "mid_block", "conv_out")
ROWS = 8
"""Rows of a network call: denoscope's lanes and everybody's batch size."""


@dataclass(frozen=True)
class Work:
    """What is to be done: `samples` noises over `steps` steps, written below `out`."""

    out: str
    samples: int = 64
    steps: int = 50
    tiny: bool = False
    """A small random network instead of the bundled one, to see memory rather than time."""


@dataclass
class Outcome:
    """Seconds of the work alone (imports, loading and a first call excluded), bytes it left, peak memory."""

    seconds: float
    bytes: int = 0
    peak: int = 0
    notes: dict[str, float] = field(default_factory=dict)


def plain_model(work: Work) -> tuple[Any, Any]:
    """Network and scheduler as diffusers alone loads them."""
    from diffusers import DDIMScheduler, UNet2DModel

    from denoscope.models import bundled

    if not work.tiny:
        folder = bundled.folder("mnist")
        return UNet2DModel.from_pretrained(folder).eval(), DDIMScheduler.from_pretrained(folder)
    torch.manual_seed(0)
    blocks = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4, **blocks
    )
    return network.eval(), DDIMScheduler()


def noises(work: Work) -> Any:
    from denoscope import noise

    size = 8 if work.tiny else 28
    return noise.random(work.samples, (1, size, size), seed=0)


def denoise_plainly(network: Any, scheduler: Any, x: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """The states x_T … x_0 of one batch by diffusers' own loop."""
    scheduler.set_timesteps(steps)
    states = [x]
    for timestep in scheduler.timesteps:
        states.append(scheduler.step(network(states[-1], timestep).sample, timestep, states[-1]).prev_sample)
    return states


def bare(work: Work) -> Outcome:
    """Denoise and keep nothing."""
    network, scheduler = plain_model(work)
    x = noises(work).batch(range(work.samples))
    network(x[:ROWS], torch.tensor(0))
    began = time.perf_counter()
    for first in range(0, work.samples, ROWS):
        denoise_plainly(network, scheduler, x[first : first + ROWS], work.steps)
    return Outcome(time.perf_counter() - began)


def _denoscope(work: Work, name: str, **options: Any) -> Outcome:
    import denoscope as ds

    network, scheduler = plain_model(work)
    shape = tuple(noises(work).shape)
    denoiser = ds.load(network, scheduler=scheduler, shape=shape, device="cpu")
    heard = _Heard()
    # What is imported late is imported here, as the other ways have done by now.
    ds.record(denoiser, ds.noise.random(1, shape, seed=0), Path(work.out) / f"first {name}", steps=1)
    began = time.perf_counter()
    ds.record(
        denoiser,
        noises(work),
        Path(work.out) / name,
        steps=work.steps,
        layers=LAYERS,
        batch_size=ROWS,
        progress=heard,
        **options,
    )
    seconds = time.perf_counter() - began
    if options.get("fast"):
        return Outcome(seconds - heard.compiling, notes={"compiling": heard.compiling})
    return Outcome(seconds)


class _Heard:
    """A progress that keeps how long compiling took, its check and the timing of it included."""

    compiling = 0.0

    def __init__(self) -> None:
        self.units: list[float] = []

    def begin(self, *_: Any) -> None: ...
    def skipped(self, *_: Any) -> None: ...
    def advance(self, *_: Any) -> None: ...
    def compiled(self, compilation: Any, calls: int) -> None: ...

    def unit_done(self, _samples: int, seconds: float) -> None:
        self.units.append(seconds)

    def end(self, *_: Any) -> None:
        later = sorted(self.units[1:])
        if later:  # what the first batch took longer than the others
            self.compiling = max(0.0, self.units[0] - later[len(later) // 2])


def zarr(work: Work) -> Outcome:
    """denoscope to a Zarr store."""
    return _denoscope(work, "run.zarr")


def pt(work: Work) -> Outcome:
    """denoscope to .pt files."""
    return _denoscope(work, "run")


def fast(work: Work) -> Outcome:
    """denoscope to a Zarr store, compiled and with channels last; compiling apart."""
    return _denoscope(work, "run.zarr", fast=True)


def by_hand(work: Work) -> Outcome:
    """Hooks that append clones; stacked; one file with a clone for each sample and layer."""
    return _by_hand(work, lambda output: output.clone(), lambda states: states.clone())


def as_often_written(work: Work) -> Outcome:
    """The same without clones: each saved view drags its whole batch along."""
    return _by_hand(work, lambda output: output.detach(), lambda states: states)


def _by_hand(work: Work, keep: Callable[..., torch.Tensor], own: Callable[..., torch.Tensor]) -> Outcome:
    network, scheduler = plain_model(work)
    x, out = noises(work).batch(range(work.samples)), Path(work.out)
    network(x[:ROWS], torch.tensor(0))
    read: dict[str, list[torch.Tensor]] = {layer: [] for layer in LAYERS}
    for layer in LAYERS:
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: read[layer].append(keep(output))
        )
    began = time.perf_counter()
    for first in range(0, work.samples, ROWS):
        states = denoise_plainly(network, scheduler, x[first : first + ROWS], work.steps)
        _save(out, first, {"sequence": states, **read}, own)
        for kept in read.values():
            kept.clear()
    return Outcome(time.perf_counter() - began)


def _save(
    out: Path, first: int, kept: dict[str, list[torch.Tensor]], own: Callable[..., torch.Tensor]
) -> None:
    for name, entries in kept.items():
        stacked = torch.stack(entries)  # [steps, rows, …]
        (out / name).mkdir(parents=True, exist_ok=True)
        for row in range(stacked.shape[1]):
            torch.save(own(stacked[:, row]), out / name / f"{first + row:04d}.pt")


def nnsight(work: Work) -> Outcome:
    """nnsight traces each call and saves the same layers; files as by hand."""
    network, scheduler = plain_model(work)
    # After diffusers' schedulers, one of which cannot be imported once nnsight has put itself into PyTorch.
    from nnsight import NNsight

    model = NNsight(network)
    x, out = noises(work).batch(range(work.samples)), Path(work.out)

    def call(states: torch.Tensor, timestep: torch.Tensor) -> tuple[Any, ...]:
        with model.trace(states, timestep):
            first = model.conv_in.output.save()
            middle = model.mid_block.output.save()
            last = model.conv_out.output.save()
            result = model.output.save()
        return first, middle, last, result.sample

    call(x[:ROWS], torch.tensor(0))
    began = time.perf_counter()
    for start in range(0, work.samples, ROWS):
        scheduler.set_timesteps(work.steps)
        kept: dict[str, list[torch.Tensor]] = {name: [] for name in ("sequence", *LAYERS)}
        kept["sequence"].append(x[start : start + ROWS])
        for timestep in scheduler.timesteps:
            before = kept["sequence"][-1]
            *states, predicted = call(before, timestep)
            for layer, state in zip(LAYERS, states, strict=True):
                kept[layer].append(state.clone())
            kept["sequence"].append(scheduler.step(predicted, timestep, before).prev_sample)
        _save(out, start, kept, lambda states: states.clone())
    return Outcome(time.perf_counter() - began)


def raw(work: Work) -> Outcome:
    """Write as many bytes as the recording holds, one after the other."""
    import denoscope as ds
    from denoscope.config import InferenceConfig
    from denoscope.recording.job import Job

    network, scheduler = plain_model(work)
    x = noises(work)
    denoiser = ds.load(network, scheduler=scheduler, shape=tuple(x.shape), device="cpu")
    options = InferenceConfig(num_steps=work.steps, layers=LAYERS)
    total = Job.prepared(denoiser, x, Path(work.out) / "run.zarr", options, 0).plan.total_bytes
    block = os.urandom(1 << 20)
    began = time.perf_counter()
    with open(Path(work.out) / "raw", "wb", buffering=0) as file:
        for _ in range(-(-total // len(block))):
            file.write(block)
    return Outcome(time.perf_counter() - began)


WAYS: dict[str, Callable[[Work], Outcome]] = {
    way.__name__: way for way in (bare, zarr, pt, fast, by_hand, as_often_written, nnsight, raw)
}


def main() -> None:
    """Do one way, named with its work in the arguments, and print its outcome as JSON."""
    way, work = sys.argv[1], Work(**json.loads(sys.argv[2]))
    Path(work.out).mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        outcome = WAYS[way](work)
    outcome.bytes = sum(path.stat().st_size for path in Path(work.out).rglob("*") if path.is_file())
    outcome.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
