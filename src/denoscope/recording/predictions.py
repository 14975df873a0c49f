"""The classifier's labels for a folder of results, and for a plane as a grid."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from denoscope.config import ClassifierConfig
from denoscope.foundation import tensor_files
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.tensor_folders import tensors_in
from denoscope.foundation.writing.atomic_files import write_output
from denoscope.foundation.writing.staged_files import check_finished, staged_files
from denoscope.models.classifier.classification import Classifier, classify_finite
from denoscope.models.classifier.digit_images import check_images
from denoscope.models.classifier.labels import Labels
from denoscope.storage import formats
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.stores.local import LocalStore

PREDICTIONS = "predictions.json"
CELL = re.compile(r"(?P<plane>plane_.+)_x(?P<x>\d+)_y(?P<y>\d+)")
MOST_CELLS = 10**8
"""The most cells of a plane, ten thousand in both directions; each of its grids takes a gigabyte."""
RESULT_FOLDERS = ("final_tensors", "sequences")


@dataclass(frozen=True)
class Predictions:
    """Labels of named samples, with the file that each x_0 came from."""

    samples: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Labels
    threads: int
    """The number of CPU threads that computed the labels; the last bits of confidence and margin depend on it."""

    def planes(self) -> dict[str, np.ndarray]:
        """Each plane's label grid [ny, nx] by the plane's name; −1 where a cell is missing, or no digit."""
        return plane_grids(self.samples, self.labels.label)

    def write(self, folder: Path, *, overwrite: bool) -> list[Path]:
        """Write predictions.json and, for a plane, classifications_plane.pt; returns their paths.

        Raises: UserError if one exists with other content, and `overwrite` is not set.
        """
        content = {
            sample: {
                "file": str(file),
                "label": int(self.labels.label[row]),
                "confidence": _or_none(self.labels.confidence[row]),
                "margin": _or_none(self.labels.margin[row]),
                "threads": self.threads,
            }
            | ({} if self.labels.likeness is None else {"likeness": _or_none(self.labels.likeness[row])})
            for row, (sample, file) in enumerate(zip(self.samples, self.files, strict=True))
        }
        planes = self.planes()
        grids = {
            f"classifications_{name if len(planes) > 1 else 'plane'}.pt": grid
            for name, grid in planes.items()
        }
        with staged_files(folder / PREDICTIONS, overwrite=overwrite) as staged:
            with write_output(staged / PREDICTIONS) as file:
                file.write((json.dumps(content, indent=1) + "\n").encode())
            for name, grid in grids.items():
                tensor_files.save(torch.from_numpy(grid), staged / name)
        return [folder / name for name in (PREDICTIONS, *grids)]


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def plane_grids(samples: Sequence[str], values: np.ndarray) -> dict[str, np.ndarray]:
    """Values of plane cells as grids [ny, nx], row y and column x, by plane; −1 where a cell is missing."""
    cells: dict[str, list[tuple[int, int, int]]] = {}
    for sample, value in zip(samples, values, strict=True):
        if match := CELL.fullmatch(sample):
            cells.setdefault(match["plane"], []).append((int(match["y"]), int(match["x"]), int(value)))
    grids = {}
    for plane, entries in cells.items():
        rows, columns, labels = np.array(entries).T
        grids[plane] = np.full((rows.max() + 1, columns.max() + 1), -1, np.int64)
        grids[plane][rows, columns] = labels
    return grids


def predict(config: ClassifierConfig) -> Predictions:
    """Classify the x_0 of every sample in the configured folder of final tensors or sequences.

    An output folder stands for its final_tensors/ and sequences/; a sample in both is read from the one that
    the latest recording wrote.

    Raises: UserError naming the folder that holds no tensors, or whose files are being replaced, or the file that holds no
        digit image.
    """
    files = _results(config.tensors)
    _check_planes(files.values())
    images = [_image(path) for path in files.values()]
    for path, image in zip(files.values(), images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{path}: its image has shape {list(image.shape)}, that of {next(iter(files.values()))} "
                f"{list(images[0].shape)}; keep images of one shape in a folder"
            )
    classifier = Classifier.configured(images[0].shape, config)
    labels = classify_finite(torch.stack(images), classifier)
    return Predictions(tuple(files), tuple(files.values()), labels, torch.get_num_threads())


def _check_planes(files: Iterable[Path]) -> None:
    """Refuse a file that is named as a cell of a plane which nothing can hold.

    Raises: UserError naming the first.
    """
    for path in files:
        match = CELL.fullmatch(path.stem.removesuffix("_sequence"))
        cells = (int(match["x"]) + 1) * (int(match["y"]) + 1) if match else 0
        if cells > MOST_CELLS:
            raise UserError(
                f"{path} is named as a cell of a plane of {cells:,} cells; allowed: at most {MOST_CELLS:,}; rename it"
            )


def _image(path: Path) -> torch.Tensor:
    """The x_0 that a file holds, refused if it is not an image that the classifier takes."""
    tensor = tensor_files.load(path)
    if tensor.ndim not in (3, 4):
        raise UserError(f"{path}: holds shape {list(tensor.shape)}; allowed: [C, H, W] or [steps+1, C, H, W]")
    image = tensor if tensor.ndim == 3 else tensor[-1]
    try:
        check_images(image[None])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return image


def _latest_first(folder: Path) -> tuple[str, ...]:
    store = LocalStore(folder)
    root = pt_layout.FILE.read(store)
    if not root.is_recording:
        return RESULT_FOLDERS
    formats.check_layout(store)
    return RESULT_FOLDERS[::-1] if root.checked.attrs.config.extract_states else RESULT_FOLDERS


def _results(folder: Path) -> dict[str, Path]:
    """The file of each sample's x_0 by the sample's name."""
    if not os.path.isdir(folder):
        raise UserError(
            f"{folder}: no such folder of tensors; record some with main.py or `denoscope record`"
        )
    here = _classified_in(folder)
    places = [here] if here else [_classified_in(folder / name) for name in _latest_first(folder)]
    files: dict[str, Path] = {}
    for path in (path for place in places for path in place):
        files.setdefault(path.stem.removesuffix("_sequence"), path)
    if not files and os.path.isfile(folder / "zarr.json"):
        raise UserError(
            f"{folder}: is a Zarr store, without .pt files; write them with "
            f"ds.open({str(folder)!r}).export('outputs', format='pt')"
        )
    if not files:
        raise UserError(
            f"{folder}: holds no tensors, nor do its {' and '.join(RESULT_FOLDERS)}; record some with main.py"
        )
    return files


def _classified_in(folder: Path) -> list[Path]:
    """The tensors of a folder, without the grids that a classification left there.

    Raises: UserError if a writer stopped while it replaced some of them.
    """
    check_finished(folder, besides=folder / PREDICTIONS)
    return [path for path in tensors_in(folder) if not path.name.startswith("classifications_")]
