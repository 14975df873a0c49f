"""From a plane of noises to a coloured plane of classes, in one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from denoscope.config import Geometry, Settings
from denoscope.figures import images, plots
from denoscope.figures.drawings.planes import draw_images_plane, draw_plane
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims
from denoscope.foundation.writing.staged_files import staged_files
from denoscope.models.classifier.classification import Classifier, classify_finite
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.job import Job
from denoscope.recording.predictions import PREDICTIONS, Predictions
from denoscope.recording.progress import RecordingProgress
from denoscope.storage.pt.layout import file_of

PLANE, CELLS = "classifications_plane.png", "plane.png"


def run(
    denoiser: Denoiser,
    plane: NoiseSet,
    settings: Settings,
    *,
    generate_png: bool,
    progress: RecordingProgress | None,
) -> list[Path]:
    """Denoise a plane, classify every cell and draw the classes; returns what was written.

    Below the output folder appear final_tensors/, predictions.json, classifications_plane.pt and
    images/classifications_plane.png; with `generate_png` also one picture for each cell, and all of them
    in their places as images/plane.png.
    """
    output, inference, pictures = settings.system.output, settings.inference, settings.pictures
    classifier = Classifier.configured(plane.shape, settings.classifier)
    plots.check_library()
    replaces = inference.overwrite or inference.resume
    claims.claim(pictures / PLANE)
    if not replaces:
        _check_free(output / PREDICTIONS, pictures / PLANE, *([pictures / CELLS] if generate_png else []))
    options = replace(inference, extract_states=False, extract_estimates=False, output_format="pt")
    job = Job.prepared(denoiser, plane, output, options, settings.system.seed)
    x_0 = torch.from_numpy(job.run(progress).final.to_numpy())
    predictions = Predictions(
        samples=tuple(plane.names),
        files=tuple(output / file_of("final", name, {}) for name in plane.names),
        labels=classify_finite(x_0, classifier),
        threads=torch.get_num_threads(),
    )
    written = predictions.write(output, overwrite=replaces)
    with staged_files(pictures / PLANE, overwrite=replaces) as staged:
        _draw_classes(predictions, plane, settings.system.class_colors, staged)
        if generate_png:
            for path in predictions.files:
                images.render(path, output_base_dir=staged)
            _draw_cells(x_0, plane, staged)
    cells = [pictures / "final_tensors", pictures / CELLS] if generate_png else []
    return [*written, pictures / PLANE, *cells]


def _check_free(*paths: Path) -> None:
    """Refuse results that exist, before anything is computed."""
    for path in filter(Path.exists, paths):
        raise UserError(f"{path} exists; replace it ({spelled('overwrite', True)}) or name another folder")


def _draw_classes(predictions: Predictions, plane: NoiseSet, colors: tuple[str, ...], folder: Path) -> None:
    (labels,) = predictions.planes().values()
    figure, axes = plots.figure()
    draw_plane(axes, labels, *_axes(plane), colors=colors, geometry=_geometry(plane))
    plots.save(figure, folder / PLANE)


def _draw_cells(x_0: torch.Tensor, plane: NoiseSet, folder: Path) -> None:
    u, v = _axes(plane)
    grid = x_0.reshape(len(u), len(v), *plane.shape).transpose(0, 1)
    figure, axes = plots.figure()
    draw_images_plane(axes, grid, u, v, geometry=_geometry(plane))
    plots.save(figure, folder / CELLS)


def _geometry(plane: NoiseSet) -> Geometry:
    return plane.parameters.get("geometry", "flat")


def _axes(plane: NoiseSet) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(plane.coords["u"]), np.unique(plane.coords["v"])
