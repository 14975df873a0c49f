"""Recordings of single cells, made as their tiles are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from denoscope.config import InferenceConfig
from denoscope.explorer.atlas import Atlas
from denoscope.explorer.point_sequence import check_layers
from denoscope.explorer.tile_address import CellAddress
from denoscope.foundation.errors import UserError
from denoscope.recording.job import Job

MOST_RECORDINGS = 1000
"""Recordings of one folder."""


def record_point(
    atlas: Atlas, cell: CellAddress, layers: Sequence[str], folder: Path
) -> Iterator[dict[str, Any]]:
    """Record the sequence and layers of a cell in a new store of the folder; one answer, its path and label.

    The noise, lanes, precision and threads are those of the cell's tile, and so are all bits.

    Raises: UserError if the cell is too deep, a layer is unknown, or the folder is full or cannot be written.
    """
    check_layers(layers)
    scene, dtype = atlas.scene, atlas.dtype(cell.level)
    tile, (row, column) = atlas.plane.tile(cell.tile, dtype), cell.place
    center = (float(tile.u[column]), float(tile.v[row]))
    noise = dataclasses.replace(tile, counts=(1, 1), center=center)
    path = _free(folder, f"{scene.model.replace('/', '-')}-{cell.level}-{cell.i}-{cell.j}")
    options = InferenceConfig.from_arguments(
        num_steps=scene.steps,
        layers=tuple(layers),
        labels=scene.labels,
        guidance_scale=scene.guidance_scale,
        lanes=atlas.lanes,
    )
    job = Job.prepared(atlas.denoiser(cell.level), noise, path, options, scene.noise_seed, start=atlas.start)
    recording = job.run()
    final = torch.from_numpy(recording.final.to_numpy())
    labels = atlas.classifier(cell.level)(final)
    yield {"path": str(path), "label": int(labels["label"][0])}


def _free(folder: Path, stem: str) -> Path:
    """A store that does not exist yet.

    Raises: UserError if the folder holds too many.
    """
    for number in range(MOST_RECORDINGS):
        path = folder / (f"{stem}-{number}.zarr" if number else f"{stem}.zarr")
        if not path.exists():
            return path
    raise UserError(f"{folder} holds {MOST_RECORDINGS} recordings of this point; remove some")
