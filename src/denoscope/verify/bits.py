"""Whether the same samples get the same bits however they are run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from denoscope import noise
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser, load
from denoscope.sampling import denoise
from denoscope.schedulers import scheduler_from
from denoscope.verify.gap import gap

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


def determinism(
    denoiser: Denoiser, *, steps: int, lanes: int = InferenceConfig.lanes, seed: int = SystemConfig.seed
) -> list[Check]:
    """Run the same samples in many ways and compare every state and every step, bit for bit.

    The promise is that batch sizes, orders, neighbours, positions, repeats and processes change nothing.
    Other numbers of lanes and of threads are measured too; they may differ and belong to the fingerprint.
    """
    x = noise.random(SAMPLES, denoiser.shape, seed=seed)
    everything = range(SAMPLES)

    def run(rows: Sequence[int], lanes: int = lanes) -> dict[int, np.ndarray]:
        return dict(zip(rows, _all_numbers(denoiser, x.batch(rows), steps, lanes), strict=True))

    reference = run(everything)

    def check(name: str, found: Mapping[int, np.ndarray], promised: bool = True) -> Check:
        return _compared(name, [(values, reference[row]) for row, values in found.items()], promised)

    checks = [check("the same again", run(everything))]
    for size in dict.fromkeys((1, 3, lanes, 2 * lanes)):
        parts = [run(everything[k : k + size]) for k in range(0, SAMPLES, size)]
        checks.append(check(f"batch size {size}", {row: part[row] for part in parts for row in part}))
    checks.append(check("reverse order", run(everything[::-1])))
    others = noise.random(lanes, denoiser.shape, seed=seed + 1).batch(range(lanes))
    placed = []
    for place in range(lanes):
        batch = torch.cat([others[:place], x.batch([0]), others[place + 1 :]])
        placed.append((_all_numbers(denoiser, batch, steps, lanes)[place], reference[0]))
    checks.append(_compared("other neighbours, every position", placed, True))
    if denoiser.bundled or Path(denoiser.name).is_dir():
        here, there = run([0])[0], _in_another_process(denoiser, steps, lanes, seed)
        checks.append(_compared("another process", [(there, here)], True))
    for count in OTHER_LANES:
        if count != lanes:
            checks.append(check(f"{count} lanes", run(everything, count), promised=False))
    with threads_set_to(1 if torch.get_num_threads() > 1 else 2) as threads:
        checks.append(check(f"{threads} threads", run(everything), promised=False))
    return checks


def _compared(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], promised: bool) -> Check:
    same = all(found.tobytes() == wanted.tobytes() for found, wanted in pairs)
    return Check(name, same, max(gap(found, wanted) for found, wanted in pairs), promised)


def _all_numbers(denoiser: Denoiser, x_T: torch.Tensor, steps: int, lanes: int) -> list[np.ndarray]:
    """For each sample, all its states and those of its first and last layer in one vector.

    In double precision, to which every other one widens without a loss.
    """
    layers = [layer.address for layer in denoiser.layers() if layer.shape is not None]
    parts = []
    for step in denoise(
        denoiser, x_T, steps=steps, layers=list(dict.fromkeys([*layers[:1], *layers[-1:]])), lanes=lanes
    ):
        parts += [state.flatten(1) for state in (step.x_after, *step.states.values())]
    return list(torch.cat([part.double() for part in parts], dim=1).cpu().numpy())


def _in_another_process(denoiser: Denoiser, steps: int, lanes: int, seed: int) -> np.ndarray:
    """All numbers of the first sample as a fresh process computes them."""
    wanted = {
        "threads": torch.get_num_threads(),
        "model": denoiser.name,
        "scheduler": type(denoiser.scheduler).__name__,
        "scheduler_config": dict(denoiser.scheduler.config),
        "shape": denoiser.shape,
        "dtype": str(denoiser.dtype).removeprefix("torch."),
        "device": str(denoiser.device),
        "steps": steps,
        "lanes": lanes,
        "seed": seed,
    }
    program = "import sys; from denoscope.verify.bits import compute_alone; compute_alone(*sys.argv[1:])"
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
    x_T = noise.random(1, denoiser.shape, seed=told["seed"]).batch([0])
    np.save(target, _all_numbers(denoiser, x_T, told["steps"], told["lanes"])[0])


@contextmanager
def threads_set_to(count: int) -> Iterator[int]:
    """Let PyTorch compute with so many threads while the block runs."""
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(former)
