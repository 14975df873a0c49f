"""Whether the same samples get the same bits however they are run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from denoscope import noise
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.hooks.taps import tapped
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from denoscope.models.schedulers import config_of, scheduler_from
from denoscope.recording.verify.gap import gap
from denoscope.sampling.loop import Loop, steps_of

SAMPLES = 19  # two full lanes of eight and a padded one
OTHER_LANES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Check:
    """One way of running the same samples: whether the bits are the reference's, and what is promised."""

    name: str
    same_bits: bool
    largest_difference: float
    promised: bool

    @property
    def holds(self) -> bool:
        return self.same_bits or not self.promised

    def __str__(self) -> str:
        promise = "same bits" if self.promised else "part of the fingerprint"
        found = "same bits" if self.same_bits else f"{self.largest_difference:.3g}"
        return f"{self.name:<34}{promise:<26}{found:<14}{'ok' if self.holds else 'FAILS'}"


@accepts_num_steps
def determinism(
    denoiser: Denoiser, *, steps: int, seed: int = SystemConfig.seed, **options: Any
) -> list[Check]:
    """Run the same samples in many ways and compare every state and every step, bit for bit.

    The promise is that batch sizes, orders, neighbours, positions, repeats and processes change nothing.
    Other numbers of lanes and of threads are measured too; they may differ and belong to the fingerprint.

    Args:
        options: further fields of `InferenceConfig`: lanes, noise, sampler_dtype, tf32, fast.
    """
    chosen = InferenceConfig.from_arguments(num_steps=steps, **options)
    lanes = chosen.lanes
    x = noise.random(SAMPLES, denoiser.shape, seed=seed)
    others = noise.random(lanes, denoiser.shape, seed=seed + 1)
    everything = range(SAMPLES)
    with _running(denoiser, chosen) as numbers:

        def run(rows: Sequence[int], lanes: int = lanes) -> dict[int, np.ndarray]:
            names = [x.names[row] for row in rows]
            return dict(zip(rows, numbers(x.batch(rows), names, lanes), strict=True))

        reference = run(everything)

        def check(name: str, found: Mapping[int, np.ndarray], promised: bool = True) -> Check:
            return _compared(name, [(values, reference[row]) for row, values in found.items()], promised)

        checks = [check("the same again", run(everything))]
        for size in dict.fromkeys((1, 3, lanes, 2 * lanes)):
            parts = [run(everything[k : k + size]) for k in range(0, SAMPLES, size)]
            checks.append(check(f"batch size {size}", {row: part[row] for part in parts for row in part}))
        checks.append(check("reverse order", run(everything[::-1])))
        placed = []
        for place in range(lanes):
            batch, names = others.batch(range(lanes)), [f"other {name}" for name in others.names]
            batch[place], names[place] = x.tensor(0), x.names[0]
            placed.append((numbers(batch, names, lanes)[place], reference[0]))
        checks.append(_compared("other neighbours, every position", placed, True))
        if denoiser.bundled or Path(denoiser.name).is_dir():
            there = _in_another_process(denoiser, chosen, seed)
            checks.append(_compared("another process", [(there, run([0])[0])], True))
        for count in OTHER_LANES:
            if count != lanes:
                checks.append(check(f"{count} lanes", run(everything, count), promised=False))
        with threads_set_to(1 if torch.get_num_threads() > 1 else 2) as threads:
            checks.append(check(f"{threads} threads", run(everything), promised=False))
    return checks


def _compared(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], promised: bool) -> Check:
    same = all(found.tobytes() == wanted.tobytes() for found, wanted in pairs)
    return Check(name, same, max(gap(found, wanted) for found, wanted in pairs), promised)


class _Numbers(Protocol):
    """For each sample, all its states and those of its first and last layer in one vector."""

    def __call__(self, x_T: torch.Tensor, names: Sequence[str], lanes: int) -> list[np.ndarray]: ...


@contextmanager
def _running(denoiser: Denoiser, options: InferenceConfig) -> Iterator[_Numbers]:
    """The loop as these options ask for it, over a network that is tapped, and compiled, only once."""
    whole = [layer.address for layer in denoiser.layers() if layer.shape is not None]
    ends = list(dict.fromkeys([*whole[:1], *whole[-1:]]))
    layers = denoiser.chosen_layers(ends) if ends else []
    with (
        denoiser.running(),
        torch.inference_mode(),
        tapped(denoiser.network, denoiser.call, layers, fast=options.fast) as network,
    ):

        def numbers(x_T: torch.Tensor, names: Sequence[str], lanes: int) -> list[np.ndarray]:
            loop, parts = Loop.of(replace(options, lanes=lanes), SystemConfig.seed), []
            for step in steps_of(denoiser, network, x_T, loop, names):
                parts += [state.flatten(1) for state in (step.x_after, *step.states.values())]
            # In double precision, to which every other one widens without a loss.
            return list(torch.cat([part.double() for part in parts], dim=1).cpu().numpy())

        yield numbers


def _in_another_process(denoiser: Denoiser, options: InferenceConfig, seed: int) -> np.ndarray:
    """All numbers of the first sample as a fresh process computes them."""
    wanted = {
        "threads": torch.get_num_threads(),
        "model": denoiser.name,
        "scheduler": type(denoiser.scheduler).__name__,
        "scheduler_config": config_of(denoiser.scheduler),
        "shape": denoiser.shape,
        "dtype": str(denoiser.dtype).removeprefix("torch."),
        "device": str(denoiser.device),
        "options": vars(options),
        "seed": seed,
    }
    program = (
        "import sys; from denoscope.recording.verify.bits import compute_alone; compute_alone(*sys.argv[1:])"
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "numbers.npy"
        command = [sys.executable, "-c", program, json.dumps(wanted, default=str), str(target)]
        subprocess.run(command, check=True)
        return np.load(target)


def compute_alone(wanted: str, target: str) -> None:
    """What the other process does: the numbers of one sample, as `wanted` (JSON) says, to a file."""
    told = json.loads(wanted)
    torch.set_num_threads(told["threads"])
    denoiser = load(
        told["model"],
        scheduler=scheduler_from(told["scheduler"], told["scheduler_config"]),
        shape=tuple(told["shape"]),
        dtype=told["dtype"],
        device=told["device"],
    )
    x, options = noise.random(1, denoiser.shape, seed=told["seed"]), InferenceConfig(**told["options"])
    with _running(denoiser, options) as numbers:
        np.save(target, numbers(x.batch([0]), x.names, options.lanes)[0])


@contextmanager
def threads_set_to(count: int) -> Iterator[int]:
    """Let PyTorch compute with so many threads while the block runs."""
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(former)
