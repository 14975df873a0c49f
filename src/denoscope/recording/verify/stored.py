"""Whether a recording is undamaged: every checksum, and samples computed again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from denoscope import noise
from denoscope.config import SystemConfig
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.dtypes import widened
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import differences
from denoscope.foundation.random_streams import version_of
from denoscope.foundation.spelling import counted, spelled
from denoscope.foundation.threads import threads_set_to
from denoscope.models.denoiser import Denoiser
from denoscope.noise.array_noise import ArrayNoise
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.job import Job
from denoscope.recording.opening import open
from denoscope.recording.planning import sample_names
from denoscope.recording.recording import Recording
from denoscope.recording.replay import condition_of, denoiser_of, first_states, interventions_of, options_of
from denoscope.recording.verify.difference import largest_difference
from denoscope.recording.verify.noise_floor import NoiseFloor, precision
from denoscope.storage import formats
from denoscope.storage.completion import Mark
from denoscope.storage.inspection import inspect
from denoscope.storage.places import parse_place, store_at
from denoscope.storage.plan import as_array

LISTED = 20  # missing marks; the others are counted


@calls_checked
def precision_of(rec: Recording, *, device: str = SystemConfig.device) -> NoiseFloor:
    """The noise floor of the model, layers and options of a recording, under the condition of its first sample."""
    denoiser, options = denoiser_of(rec, device=device), options_of(rec)
    with threads_set_to(rec.attrs["fingerprint"]["threads"]):
        return precision(
            denoiser,
            steps=options.num_steps,
            layers=options.layers,
            condition=condition_of(rec, rec.samples[:1], denoiser),
            lanes=options.lanes,
            sampler_dtype=options.sampler_dtype,
            tf32=options.tf32,
            fast=options.fast,
        )


@dataclass(frozen=True)
class StoreReport:
    """The result of reading a recording again.

    `notes` are remarks that are not faults; `advice` says how it is repaired or, if nothing is damaged, finished. It is empty
    if the only problem is that samples were computed again with other results.
    """

    samples: int
    finished: int
    advice: str
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    recomputed: int = 0

    @property
    def sound(self) -> bool:
        return not self.problems and self.finished == self.samples

    def __str__(self) -> str:
        lines = [
            f"{self.finished} of {self.samples} samples are finished, {self.samples - self.finished} missing"
        ]
        lines += [f"  without {mark}" for mark in self.missing[:LISTED]]
        if (more := len(self.missing) - LISTED) > 0:
            lines.append(f"  and {more} more marks")
        lines += [f"  {line}" for line in (*self.problems, *self.notes)]
        if self.recomputed:
            lines.append(f"{counted(self.recomputed, 'sample')} computed again")
        if self.problems:
            advice = self.advice and f"; {self.advice}"
            lines.append(f"NOT SOUND: {counted(len(self.problems), 'problem')}{advice}")
        else:
            lines.append("sound" if self.sound else f"unfinished, {self.advice}")
        return "\n".join(lines)


@calls_checked
def store(
    path: str | os.PathLike[str],
    *,
    recompute: int = 0,
    inputs: str | os.PathLike[str] | None = None,
    source: Any = None,
    seed: int = 0,
    clean: bool = False,
) -> StoreReport:
    """Read every checksum of a recording again, and compute `recompute` random samples again.

    The samples are chosen among those whose checksums match.

    Args:
        inputs: the folder of noises that was recorded, if the recording does not hold x_T.
        source: what the model is loaded from, if its name does not say it (see `denoiser_of`).
        seed: of the choice of samples.
        clean: first remove temporary files that killed processes have left.

    Raises: UserError if there is no recording at `path` (or URL), or x_T of the samples to compute again is neither stored
        nor in `inputs`.
    """
    place = parse_place(path)
    removed = formats.remove_partial(place) if clean else 0
    inspected = inspect(store_at(place))
    problems, chosen = inspected.problems, list(inspected.sound)
    notes: tuple[str, ...] = (f"{removed} temporary files removed",) if removed else ()
    if recompute and chosen:
        picked = np.random.default_rng(seed).choice(len(chosen), min(recompute, len(chosen)), replace=False)
        chosen = [chosen[index] for index in sorted(picked)]
        different, reasons = _recompute(open(place), chosen, inputs, source)
        problems, notes = problems + different, notes + reasons
    return StoreReport(
        samples=inspected.samples,
        finished=len(inspected.finished),
        advice="" if problems and not inspected.problems else inspected.advice,
        missing=inspected.missing,
        problems=problems,
        notes=notes,
        recomputed=len(chosen) if recompute else 0,
    )


def _recompute(
    rec: Recording, chosen: Sequence[str], inputs: str | os.PathLike[str] | None, source: Any
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The differences in samples that are computed again with the recording's own options, and possible reasons."""
    denoiser = denoiser_of(rec, source=source)
    options = replace(options_of(rec), batch_size=1)
    x = _first_states(rec, chosen) if inputs is None else _noises(inputs, chosen, denoiser)
    condition = condition_of(rec, chosen, denoiser)
    stored = rec.attrs["fingerprint"]
    with threads_set_to(stored["threads"]):
        noise_seed = rec.attrs["config"]["noise_seed"]
        job = Job.prepared(
            denoiser,
            x,
            rec.path,
            options,
            noise_seed,
            condition,
            interventions_of(rec),
            streams=version_of(stored),
        )
        if job.plan.attrs["fingerprint"].get("interventions") != stored.get("interventions"):
            raise UserError(f"{rec.location}: a value or a recording that its interventions use has changed")
        comparer = _Comparer(rec, job)
        job.run_into(comparer, begin=0 if inputs is None else None)
    notes = [
        f"this differs now ({what}); different bits are not a fault of the recording"
        for what in differences(stored, job.plan.attrs["fingerprint"])
    ]
    return tuple(comparer.problems), tuple(notes)


def _first_states(rec: Recording, chosen: Sequence[str]) -> NoiseSet:
    """The states that the recording begins with."""
    if "sequence" not in rec.dataset:
        raise UserError(
            f"{rec.location} does not hold x_T; name the folder that was recorded ({spelled('inputs')})"
        )
    return ArrayNoise(first_states(rec, chosen), tuple(chosen))


def _noises(inputs: str | os.PathLike[str], chosen: Sequence[str], denoiser: Denoiser) -> NoiseSet:
    """The noises x_T of samples, from a folder."""
    x = noise.read(inputs, shape=denoiser.shape)
    samples = sample_names(x.names)
    if missing := [name for name in chosen if name not in samples]:
        raise UserError(
            f"{inputs} lacks the noise of {missing[0]}; name the folder that was recorded ({spelled('inputs')})"
        )
    return x.subset([samples.index(name) for name in chosen])


class _Comparer:
    """A writer that compares with a recording instead of writing."""

    def __init__(self, rec: Recording, job: Job):
        self.rec, self.job = rec, job
        self.problems: list[str] = []
        self.finished: dict[int, Mark] = {}

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
        stored = comparer.rec.samples
        self.rows = [stored.index(name) for name in names]

    def append(self, name: str, rows: torch.Tensor) -> None:
        array, entry = self.arrays[name], self.done[name]
        self.done[name] += 1
        again = as_array(rows, array.dtype)
        for row, place, sample in zip(again, self.rows, self.names, strict=True):
            where = (place, entry) if array.time_dim else (place,)
            stored = self.comparer.rec.dataset[name][where].to_numpy()
            if stored.tobytes() != row.tobytes():
                most = largest_difference(widened(stored), widened(row))
                self.comparer.problems.append(
                    f"{name}, sample {sample}, entry {entry}: differs by up to {most:.3g}"
                )

    def flag(self, nonfinite: np.ndarray) -> None: ...
