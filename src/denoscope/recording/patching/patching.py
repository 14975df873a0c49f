"""Activation patching: one recording's states in the run of another, layer by layer and step by step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from denoscope.cluster.connection import check_client
from denoscope.config import InferenceConfig
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.checkpoint import Checkpoint, parse_checkpoint
from denoscope.foundation.validation import parse_integer
from denoscope.models.denoiser import Denoiser, check_denoiser
from denoscope.recording.opening import parse_recording
from denoscope.recording.patching import patch_map
from denoscope.recording.patching.patch_work import Batch, Moved, PatchWork
from denoscope.recording.recording import Recording
from denoscope.storage.plan import IMAGES

if TYPE_CHECKING:
    import xarray
    from distributed import Client

Computed = Callable[[Iterable[Batch]], Iterator[tuple[Batch, Moved]]]
"""Computes batches of cells, in any order."""


@arguments_checked
def patch(
    denoiser: Denoiser,
    recording_a: Recording | str | os.PathLike[str],
    recording_b: Recording | str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    steps: int | Sequence[int] | None = None,
    batch_size: int = InferenceConfig.batch_size,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    cluster: Client | None = None,
    allow_different_devices: bool = False,
) -> xarray.Dataset:
    """How far x_0 moves from A's to B's when one layer in one step of A's run has B's states.

    `moved` (layer, step, sample) is 1 − ‖x_0' − x_0^B‖ / ‖x_0^A − x_0^B‖ in L2: 0 if nothing moved, 1 if x_0 became
    B's, below 0 if it moved away from B's, NaN if A and B end in the same image. If the model makes digits, `label` is
    the digit that x_0' shows, next to `label_a` and `label_b`.

    A sample of A is patched from the sample of B with the same name or, if the names differ, at the same position.
    Each run starts from A's state at the patched step or, if the scheduler keeps more than the state between steps,
    from x_T; this changes no bit. The cost of a cell is that of all steps from there on.

    Args:
        recording_a: with its sequence; its options are those of all runs.
        recording_b: with the whole states of the layers, from the same model, schedule and number of steps.
        layers: queries for layers recorded in B; all of these unless given.
        steps: all unless given.
        checkpoint: a file (.npz) to which finished work is saved and from which it resumes; see `Checkpoint`.
        cluster: a client of the workers that compute the cells, a dask.distributed.Client; they read both recordings under
            the same paths, and the map has the bits of one process.
        allow_different_devices: let workers with different devices share the work.

    Raises: UserError if the recordings do not fit each other or the denoiser, are damaged, or the checkpoint exists; also
        if a worker would compute something else.
    """
    check_denoiser(denoiser)
    batch_size = parse_integer(batch_size, "batch_size", minimum=1)
    a, b = parse_recording(recording_a), parse_recording(recording_b)
    work = PatchWork.planned(denoiser, a, b, layers, steps)
    a.check("sequence")
    b.check(*work.layers, *IMAGES)
    check_client(cluster, allow_different_devices=allow_different_devices)
    checkpoint = parse_checkpoint(checkpoint)
    checkpoint.check_free()
    shared = _by_this_process(work)
    if cluster is not None:
        from denoscope.recording.patching.cluster_patching import patched_by

        shared = patched_by(
            cluster,
            work,
            allow_different_devices=allow_different_devices,
            kept=checkpoint.how_to_continue,
        )
    with shared as (computed, elsewhere), checkpoint.open(work.empty(elsewhere)) as file:
        done = file.data["done"].values
        for (step, cells), moved in computed(work.batches(done, batch_size)):
            patch_map.put(file.data, step, cells, *moved)
            file.save()
            file.report(int(done.sum()), done.size)
    return file.data


@contextmanager
def _by_this_process(work: PatchWork) -> Iterator[tuple[Computed, Mapping[str, Any]]]:
    """Each batch of cells with what this process computes for it."""

    def computed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Moved]]:
        for batch in batches:
            yield batch, work.compute(*batch)

    with work.denoiser.running(), torch.inference_mode():
        yield computed, {}
