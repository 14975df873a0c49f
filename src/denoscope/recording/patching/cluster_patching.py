"""Patching whose runs the workers of a cluster compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from distributed import Client

from denoscope.cluster.shared_work import SharedWork, shared_run
from denoscope.cluster.worker import Beat
from denoscope.foundation.spelling import counted
from denoscope.foundation.threads import threads_set_to
from denoscope.models.loading import SharedModel
from denoscope.recording.opening import open, place_for_workers
from denoscope.recording.patching.patch_work import Batch, Moved, PatchWork
from denoscope.recording.provenance import fingerprint
from denoscope.storage.places import Place


@contextmanager
def patched_by(
    client: Client, work: PatchWork, *, allow_different_devices: bool, kept: str
) -> Iterator[tuple[Patched, Mapping[str, Any]]]:
    """What the workers of a client compute, and the entries of the identity that are those of their devices.

    Raises: UserError if a recording is in memory, or a worker would compute something else.
    """
    recipe = PatchRecipe(
        SharedModel.of(work.denoiser, torch.get_num_threads()),
        place_for_workers(work.a),
        place_for_workers(work.b),
        work.layers,
        work.steps,
    )
    with shared_run(
        client, recipe, _description(work), allow_different_devices=allow_different_devices, kept=kept
    ) as run:
        # The hash of a call of the network is no part of the identity.
        yield Patched(run.work), {name: run.elsewhere[name] for name in run.elsewhere if name in IN_IDENTITY}


IN_IDENTITY = ("device", "different_devices")


@dataclass(frozen=True, eq=False)
class Patched:
    """Batches of cells that workers compute."""

    work: SharedWork

    def __call__(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Moved]]:
        waiting: dict[int, Batch] = {}

        def contents() -> Iterator[tuple[str, Batch]]:
            for position, batch in enumerate(batches):
                waiting[position] = batch
                step, cells = batch
                yield f"{counted(len(cells), 'cell')} of step {step}", batch

        for position, (moved, digits) in self.work.as_finished(contents(), 1):
            yield waiting.pop(position), (np.array(moved), None if digits is None else np.array(digits))


def _description(work: PatchWork) -> dict[str, Any]:
    """What must be the same on all workers."""
    return {**fingerprint(work.denoiser, work.loop), **work.identity()}


@dataclass(frozen=True, eq=False)
class PatchRecipe:
    """What a worker prepares the runs from."""

    model: SharedModel
    a: Place
    b: Place
    layers: tuple[str, ...]
    steps: tuple[int, ...]

    def prepare(self) -> PreparedPatches:
        """The loaded model with both recordings.

        Raises: UserError if this worker cannot load or read them.
        """
        with self.model.loaded() as denoiser:
            work = PatchWork.planned(denoiser, open(self.a), open(self.b), self.layers, self.steps)
            return PreparedPatches(work, self.model.threads, _description(work))


@dataclass(frozen=True, eq=False)
class PreparedPatches:
    """Runs that this worker can make."""

    work: PatchWork
    threads: int
    description: Mapping[str, Any]

    def do(self, content: Batch, beat: Beat) -> tuple[list[float], list[int] | None]:  # noqa: ARG002
        """How far each cell of a batch moved, and its digits."""
        with threads_set_to(self.threads), self.work.denoiser.running(), torch.inference_mode():
            moved, digits = self.work.compute(*content)
        return moved.tolist(), None if digits is None else digits.tolist()
