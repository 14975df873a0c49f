"""Measuring on the machine at hand what the README promises: same bits, precision, sound stores."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope import noise, recording
from denoscope.config import InferenceConfig, SystemConfig
from denoscope.denoiser import Denoiser, load, scheduler_from
from denoscope.errors import UserError
from denoscope.noise import NoiseSet
from denoscope.sampling import denoise, sample
from denoscope.storage import marks, pt_folder, zarr_store
from denoscope.storage.plan import as_array
from denoscope.storage.target import differences

SAMPLES = 19  # two full lanes of eight and a padded one
OTHER_LANES = (1, 2, 4, 16)


@dataclass(frozen=True)
class Check:
    """One way of running the same samples: the largest difference to the reference, and what is promised."""

    name: str
    largest_difference: float
    promised: bool

    @property
    def holds(self) -> bool:
        return self.largest_difference == 0 or not self.promised

    def __str__(self) -> str:
        promise = "same bits" if self.promised else "part of the fingerprint"
        found = "same bits" if self.largest_difference == 0 else f"{self.largest_difference:.3g}"
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
        gaps = [_gap(values, reference[row]) for row, values in found.items()]
        return Check(name, max(gaps), promised)

    checks = [check("the same again", run(everything))]
    for size in (1, 3, lanes, 2 * lanes):
        parts = [run(everything[k : k + size]) for k in range(0, SAMPLES, size)]
        checks.append(check(f"batch size {size}", {row: part[row] for part in parts for row in part}))
    checks.append(check("reverse order", run(everything[::-1])))
    others = noise.random(lanes, denoiser.shape, seed=seed + 1).batch(range(lanes - 1)) if lanes > 1 else None
    placed = {}
    for place in range(lanes):
        batch = x.batch([0]) if others is None else torch.cat([others[:place], x.batch([0]), others[place:]])
        placed[place] = _all_numbers(denoiser, batch, steps, lanes)[place]
    worst = max(_gap(values, reference[0]) for values in placed.values())
    checks.append(Check("other neighbours, every position", worst, True))
    if denoiser.bundled:
        checks.append(Check("another process", _in_another_process(denoiser, steps, lanes, seed), True))
    for count in OTHER_LANES:
        if count != lanes:
            checks.append(check(f"{count} lanes", run(everything, count), promised=False))
    with _threads(1 if torch.get_num_threads() > 1 else 2) as threads:
        checks.append(check(f"{threads} threads", run(everything), promised=False))
    return checks


def _all_numbers(denoiser: Denoiser, x_T: torch.Tensor, steps: int, lanes: int) -> list[np.ndarray]:
    """For each sample, all its states and those of the default layers in one vector."""
    layers = [layer.address for layer in denoiser.chosen_layers(None)]
    parts = []
    for step in denoise(denoiser, x_T, steps=steps, layers=layers, lanes=lanes):
        parts += [state.flatten(1) for state in (step.x_after, *step.states.values())]
    return list(torch.cat(parts, dim=1).double().cpu().numpy())


def _gap(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference; infinite where only one side is NaN."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    gaps = np.nan_to_num(np.abs(first - second), nan=np.inf)
    return float(np.where(same, 0, gaps).max(initial=0))


def _in_another_process(denoiser: Denoiser, steps: int, lanes: int, seed: int) -> float:
    """The difference between x_0 of one sample here and in a fresh process."""
    scheduler = type(denoiser.scheduler).__name__
    program = (
        "import sys, torch; from denoscope import noise, sampling; from denoscope.denoiser import load; "
        f"torch.set_num_threads({torch.get_num_threads()}); "
        f"d = load({denoiser.name!r}, scheduler={scheduler!r}, device={str(denoiser.device)!r}); "
        f"x = noise.random(1, d.shape, seed={seed}).batch([0]); "
        f"torch.save(sampling.sample(d, x, steps={steps}, lanes={lanes}).cpu(), sys.argv[1])"
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "x_0.pt"
        subprocess.run([sys.executable, "-c", program, str(target)], check=True)
        there = torch.load(target, weights_only=True).double().numpy()
    x_T = noise.random(1, denoiser.shape, seed=seed).batch([0])
    return _gap(there, sample(denoiser, x_T, steps=steps, lanes=lanes).double().cpu().numpy())


@contextmanager
def _threads(count: int) -> Iterator[int]:
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(former)


@dataclass(frozen=True)
class NoiseFloor:
    """How far rounding alone moves a trajectory: below this, a separation means nothing.

    Each value is the largest absolute difference of one number. `per_state` counts from x_T to x_0.
    """

    between_lane_counts: float
    between_precisions: float
    per_state: list[float]
    samples: int

    @property
    def value(self) -> float:
        return max(self.between_lane_counts, self.between_precisions)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"value": self.value}


def precision(
    denoiser: Denoiser, *, steps: int, seed: int = SystemConfig.seed, samples: int = 8
) -> NoiseFloor:
    """The noise floor: the largest difference between lane counts, and between float32 and float64.

    Measured on random noises with common draws. A stochastic scheduler draws other numbers in double
    precision, so that there only the lane counts are compared.
    """
    x_T = noise.random(samples, denoiser.shape, seed=seed).batch(range(samples))

    def run(model: Denoiser, lanes: int) -> np.ndarray:
        states = [
            step.x_after.double().cpu().numpy() for step in denoise(model, x_T, steps=steps, lanes=lanes)
        ]
        return np.stack(states)

    reference = run(denoiser, InferenceConfig.lanes)
    lane_gaps = np.stack([np.abs(run(denoiser, lanes) - reference) for lanes in OTHER_LANES]).max(
        axis=(0, 2, 3, 4, 5)
    )
    if denoiser.is_stochastic:
        precision_gaps = np.zeros_like(lane_gaps)
    else:
        double = copy.copy(denoiser)
        double.network = copy.deepcopy(denoiser.network).double()
        precision_gaps = np.abs(run(double, InferenceConfig.lanes) - reference).max(axis=(1, 2, 3, 4))
    return NoiseFloor(
        between_lane_counts=float(lane_gaps.max()),
        between_precisions=float(precision_gaps.max()),
        per_state=[0.0, *np.maximum(lane_gaps, precision_gaps).tolist()],
        samples=samples,
    )


def denoiser_of(rec: recording.Recording, *, device: str = SystemConfig.device) -> Denoiser:
    """The denoiser that a recording was made with; refused where its weights are no longer the same."""
    stored = rec.attrs["fingerprint"]
    denoiser = load(
        rec.attrs["model"],
        scheduler=scheduler_from(stored["scheduler"], stored["scheduler_config"]),
        shape=tuple(stored["shape"]),
        dtype=stored["dtype"],
        device=device,
    )
    if denoiser.weights_hash != stored["weights_sha256"]:
        raise UserError(f"{rec.path} was made with other weights than {rec.attrs['model']!r} has now")
    return denoiser


@dataclass(frozen=True)
class StoreReport:
    """What re-reading a recording found."""

    samples: int
    finished: int
    problems: list[str] = field(default_factory=list)
    recomputed: int = 0

    @property
    def sound(self) -> bool:
        return not self.problems and self.finished == self.samples

    def __str__(self) -> str:
        lines = [
            f"{self.finished} of {self.samples} samples are finished, {self.samples - self.finished} missing"
        ]
        lines += [f"  {problem}" for problem in self.problems]
        if self.recomputed:
            lines.append(f"{self.recomputed} samples computed again")
        lines.append("sound" if self.sound else f"NOT SOUND: {len(self.problems)} problems")
        return "\n".join(lines)


def store(path: Path, *, recompute: int = 0, inputs: Path | None = None, seed: int = 0) -> StoreReport:
    """Re-read every checksum of a recording, and compute `recompute` random samples again.

    Raises: UserError if there is no recording at `path`, or x_T of the samples to compute again is neither
    stored nor in `inputs`.
    """
    rec = recording.open(path)
    folder = pt_folder.is_recording(path)
    found = marks.read(path / pt_folder.MARKS if folder else path / zarr_store.COMPLETE / "marks")
    check = pt_folder.damaged if folder else zarr_store.damaged
    problems = [problem for mark in found.values() for problem in check(path, mark)]
    finished = [name for mark in found.values() for name in mark.samples]
    chosen: list[str] = []
    if recompute and finished:
        picked = np.random.default_rng(seed).choice(
            len(finished), min(recompute, len(finished)), replace=False
        )
        chosen = [finished[index] for index in sorted(picked)]
        problems += _recomputed(rec, chosen, inputs)
    return StoreReport(rec.dataset.sizes["sample"], len(finished), problems, len(chosen))


def _recomputed(rec: recording.Recording, chosen: Sequence[str], inputs: Path | None) -> list[str]:
    """What differs in samples that are computed again with the recording's own options."""
    config = dict(rec.attrs["config"])
    noise_seed = config.pop("noise_seed")
    known = {item.name for item in fields(InferenceConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
        if name in known
    }
    layers = tuple(rec.attrs["fingerprint"]["layers"])
    options = InferenceConfig(
        **values | {"resume": False, "overwrite": False, "batch_size": 1, "layers": layers}
    )
    denoiser = denoiser_of(rec)
    job = recording.Job.prepared(
        denoiser, _noises_of(rec, chosen, inputs, denoiser), rec.path, options, noise_seed
    )
    own = job.plan.attrs["fingerprint"]
    problems = [
        f"this machine differs ({what}); other bits are no fault of the store"
        for what in differences(rec.attrs["fingerprint"], own)
    ]
    comparer = _Comparer(rec, job)
    job.run_into(comparer)
    return problems + comparer.problems


def _noises_of(
    rec: recording.Recording, chosen: Sequence[str], inputs: Path | None, denoiser: Denoiser
) -> NoiseSet:
    names = list(chosen)
    if inputs is not None:
        x = noise.read(inputs, shape=denoiser.shape)
        own = recording.sample_names(x.names)
        return x.subset([own.index(name) for name in names])
    scale = float(denoiser.new_scheduler(rec.dataset.sizes["state"] - 1).init_noise_sigma)
    if "sequence" not in rec.dataset or scale != 1:
        raise UserError(f"{rec.path} does not hold x_T; name the folder it was recorded from (--inputs)")
    first = rec.sequence.isel(state=0).sel(sample=names).to_numpy()
    return NoiseSet(tuple(names), denoiser.shape, lambda index: torch.from_numpy(first[index]))


class _Comparer:
    """A writer that compares with what is stored instead of writing."""

    def __init__(self, rec: recording.Recording, job: recording.Job):
        self.rec, self.job = rec, job
        self.problems: list[str] = []

    def finished(self) -> list[int]:
        return []

    @contextmanager
    def unit(self, groups: Sequence[int]) -> Iterator[_Comparison]:
        plan = self.job.plan
        names = [plan.samples[index] for group in groups for index in plan.samples_of(group)]
        yield _Comparison(self, names)


class _Comparison:
    def __init__(self, comparer: _Comparer, names: Sequence[str]):
        self.comparer, self.names = comparer, names
        self.arrays = {array.name: array for array in comparer.job.plan.arrays}
        self.done = dict.fromkeys(self.arrays, 0)
        stored = comparer.rec.dataset["sample"].to_numpy().tolist()
        self.rows = [stored.index(name) for name in names]

    def append(self, name: str, rows: torch.Tensor) -> None:
        array, entry = self.arrays[name], self.done[name]
        self.done[name] += 1
        fresh = as_array(rows, array.dtype)
        for row, place, name_of in zip(fresh, self.rows, self.names, strict=True):
            where = (place, entry) if array.time_dim else (place,)
            stored = self.comparer.rec.dataset[name][where].to_numpy()
            if stored.tobytes() != row.tobytes():
                gap = _gap(stored.astype(float), row.astype(float))
                self.comparer.problems.append(
                    f"{name}, sample {name_of}, entry {entry}: differs by up to {gap:.3g}"
                )

    def flag(self, nonfinite: np.ndarray) -> None: ...
