"""Whether the same samples get the same bits in every way of running them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from denoscope import noise as noises
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.arguments import accepts_num_steps, calls_checked
from denoscope.foundation.dtypes import in_double, name_of
from denoscope.foundation.reading import json_files
from denoscope.foundation.threads import threads_set_to
from denoscope.hooks.taps import tapped
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from denoscope.models.schedulers import config_of, scheduler_from
from denoscope.recording.verify.difference import largest_difference
from denoscope.sampling.loop import steps_of
from denoscope.sampling.settings import Loop

SAMPLES = 19  # two full lanes of eight and a padded one
OTHER_LANES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Check:
    """One way of running the same samples: whether the bits are those of the reference, and whether this is promised."""

    name: str
    same_bits: bool
    largest_difference: float
    promised: bool

    @property
    def holds(self) -> bool:
        return self.same_bits or not self.promised

    def __str__(self) -> str:
        promise = "same bits" if self.promised else "part of the fingerprint"
        result = "same bits" if self.same_bits else f"{self.largest_difference:.3g}"
        return f"{self.name:<34}{promise:<26}{result:<14}{'ok' if self.holds else 'FAILS'}"


@accepts_num_steps
@calls_checked
def determinism(
    denoiser: Denoiser,
    *,
    steps: int,
    seed: int = SystemConfig.seed,
    noise: Literal["common", "independent"] = InferenceConfig.noise,
    lanes: int = InferenceConfig.lanes,
    sampler_dtype: Literal["auto", "float32", "float64"] = InferenceConfig.sampler_dtype,
    tf32: bool = InferenceConfig.tf32,
    fast: bool = InferenceConfig.fast,
) -> list[Check]:
    """One check for each of many ways to run the same samples, comparing every state of every step bit by bit.

    The promise is that batch sizes, orders, neighbours, positions, repetitions and processes change nothing. Other
    numbers of lanes and of threads are measured too; they may change bits and belong to the fingerprint.
    """
    options = InferenceConfig.from_arguments(
        num_steps=steps, noise=noise, lanes=lanes, sampler_dtype=sampler_dtype, tf32=tf32, fast=fast
    )
    with _running(denoiser, options) as numbers:
        ways = _Ways(denoiser, options, seed, numbers)
        return [
            *ways.batches(),
            ways.neighbours(),
            *ways.processes(),
            *ways.lane_counts(),
            ways.threads(),
        ]


class _Numbers(Protocol):
    """For each sample, a vector of all its states and those of its first and last layer."""

    def __call__(self, x_T: torch.Tensor, names: Sequence[str], lanes: int) -> list[np.ndarray]: ...


class _Ways:
    """The ways of running the same samples, each compared with all samples run at once."""

    def __init__(self, denoiser: Denoiser, options: InferenceConfig, seed: int, numbers: _Numbers):
        self.denoiser, self.options, self.seed, self.numbers = denoiser, options, seed, numbers
        self.x = noises.random(SAMPLES, denoiser.shape, seed=seed)
        self.everything = range(SAMPLES)
        self.reference = self._run(self.everything)

    def batches(self) -> Iterator[Check]:
        """Repetition, batch sizes, and the reverse order."""
        yield self._check("the same again", self._run(self.everything))
        lanes = self.options.lanes
        for size in dict.fromkeys((1, 3, lanes, 2 * lanes)):
            parts = [self._run(self.everything[k : k + size]) for k in range(0, SAMPLES, size)]
            merged = {row: values for part in parts for row, values in part.items()}
            yield self._check(f"batch size {size}", merged)
        yield self._check("reverse order", self._run(self.everything[::-1]))

    def neighbours(self) -> Check:
        """The first sample at each place among other samples."""
        lanes, pairs = self.options.lanes, []
        others = noises.random(lanes, self.denoiser.shape, seed=self.seed + 1)
        for place in range(lanes):
            batch, names = others.batch(range(lanes)), [f"other {name}" for name in others.names]
            batch[place], names[place] = self.x.tensor(0), self.x.names[0]
            pairs.append((self.numbers(batch, names, lanes)[place], self.reference[0]))
        return _compared("other neighbours, every position", pairs, True)

    def processes(self) -> Iterator[Check]:
        """The first sample in another process, if that can load the model."""
        if self.denoiser.bundled or Path(self.denoiser.name).is_dir():
            elsewhere = _in_another_process(self.denoiser, self.options, self.seed)
            yield _compared("another process", [(elsewhere, self._run([0])[0])], True)

    def lane_counts(self) -> Iterator[Check]:
        for count in OTHER_LANES:
            if count != self.options.lanes:
                yield self._check(f"{count} lanes", self._run(self.everything, count), promised=False)

    def threads(self) -> Check:
        with threads_set_to(1 if torch.get_num_threads() > 1 else 2) as threads:
            return self._check(f"{threads} threads", self._run(self.everything), promised=False)

    def _run(self, rows: Sequence[int], lanes: int | None = None) -> dict[int, np.ndarray]:
        names = [self.x.names[row] for row in rows]
        values = self.numbers(self.x.batch(rows), names, lanes or self.options.lanes)
        return dict(zip(rows, values, strict=True))

    def _check(self, name: str, result: Mapping[int, np.ndarray], promised: bool = True) -> Check:
        return _compared(name, [(values, self.reference[row]) for row, values in result.items()], promised)


def _compared(name: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]], promised: bool) -> Check:
    same = all(result.tobytes() == reference.tobytes() for result, reference in pairs)
    return Check(name, same, max(largest_difference(*pair) for pair in pairs), promised)


@contextmanager
def _running(denoiser: Denoiser, options: InferenceConfig) -> Iterator[_Numbers]:
    """The loop with these options, over a network that is tapped, and compiled, only once."""
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
                parts += [in_double(state) for state in (step.x_after, *step.states.values())]
            return list(torch.cat(parts, dim=1).cpu().numpy())

        yield numbers


def _in_another_process(denoiser: Denoiser, options: InferenceConfig, seed: int) -> np.ndarray:
    """All numbers of the first sample as a new process computes them."""
    task: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "model": denoiser.name,
        "scheduler": type(denoiser.scheduler).__name__,
        "scheduler_config": config_of(denoiser.scheduler),
        "shape": denoiser.shape,
        "dtype": name_of(denoiser.dtype),
        "device": str(denoiser.device),
        "options": vars(options),
        "seed": seed,
    }
    program = f"import sys; from {__name__} import compute_alone; compute_alone(*sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "numbers.npy"
        command = [sys.executable, "-c", program, json.dumps(task, default=str), str(target)]
        subprocess.run(command, check=True)
        return np.load(target)


def compute_alone(task: str, target: str) -> None:
    """The work of the other process: write the numbers of one sample, as `task` (JSON) describes it, to a file."""
    described = json_files.parse(task.encode(), dict[str, Any], "the task")
    torch.set_num_threads(described["threads"])
    denoiser = load(
        described["model"],
        scheduler=scheduler_from(described["scheduler"], described["scheduler_config"]),
        shape=tuple(described["shape"]),
        dtype=described["dtype"],
        device=described["device"],
    )
    x = noises.random(1, denoiser.shape, seed=described["seed"])
    options = InferenceConfig(**described["options"])
    with _running(denoiser, options) as numbers:
        np.save(target, numbers(x.batch([0]), x.names, options.lanes)[0])
