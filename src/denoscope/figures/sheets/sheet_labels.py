"""The label of each sample of a recording: as it is stored with the recording, or by a bundled classifier."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.figures.sheets.sheet import Sheet
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.models.classifier import bundled_classifiers
from denoscope.models.classifier.classification import Classifier, classify_finite
from denoscope.recording.predictions import PREDICTIONS

CLASS_LABEL = "class_label"
"""The coordinate of the class on which a sample was conditioned."""
Answer = tuple[int | None, float | None]
"""A label, −1 for no class and None if it is unknown, and its confidence."""
UNKNOWN: Answer = (None, None)


@dataclass(eq=False)
class SheetLabels:
    """The labels of a sheet's samples, each found once.

    They are those of `predictions.json` in the folder of the recording, otherwise those of the bundled classifier of the
    images' shape, otherwise the classes on which the samples were conditioned.
    """

    sheet: Sheet
    reject: bool = False
    _known: dict[int, Answer] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def classifier(self) -> Classifier | None:
        """The bundled classifier of the images' shape, if there is one."""
        shape = self.sheet.shape
        fits = bundled_classifiers.of_shape(shape) is not None
        return Classifier.of(shape, reject=self.reject) if fits else None

    @property
    def source(self) -> str | None:
        """Where the labels come from; None if there are none."""
        if self._stored is not None:
            return PREDICTIONS
        if self.classifier is not None:
            return self.classifier.kind.name
        return CLASS_LABEL if CLASS_LABEL in self.sheet.recording.dataset.coords else None

    def all(self) -> Iterator[dict[str, Any] | None]:
        """One answer, the label of each row, None where it is unknown, after None for each piece of work."""
        rows, together = self.sheet.rows, self.sheet.together
        for start in range(0, len(rows), together):
            self._find(rows[start : start + together])
            yield None
        labels: list[int | None] = [None] * len(self.sheet.recording.samples)
        for row in rows:
            labels[row] = self._known[row][0]
        yield {"labels": labels, "source": self.source}

    def __getitem__(self, row: int) -> Answer:
        """The label of a sample, with its confidence."""
        return self.of([row])[0]

    def of(self, rows: list[int]) -> list[Answer]:
        """The label of each of several finished samples, with its confidence."""
        self._find(rows)
        return [self._known[row] for row in rows]

    def probabilities(self, images: np.ndarray) -> list[list[float]]:
        """The softmax of each class for images [n, C, H, W], rounded to four decimals; empty lists if it cannot classify them."""
        if self.classifier is None or not np.isfinite(images).all():
            return [[] for _ in images]
        return self.classifier.probabilities(torch.from_numpy(images)).round(4).tolist()

    def _find(self, rows: list[int]) -> None:
        """Find the labels that are not known yet."""
        rows = [row for row in rows if row not in self._known]
        if self._stored is not None:
            names = self.sheet.recording.dataset["sample"].to_numpy()
            self._known |= {row: self._stored.get(str(names[row]), UNKNOWN) for row in rows}
        elif self.classifier is not None:
            self._classify(rows)
        else:
            coords = self.sheet.recording.dataset.coords
            given = coords[CLASS_LABEL].to_numpy() if CLASS_LABEL in coords else None
            self._known |= {row: UNKNOWN if given is None else (int(given[row]), None) for row in rows}

    def _classify(self, rows: list[int]) -> None:
        images, _ = self.sheet.finals(rows)
        self._known |= dict.fromkeys(rows, UNKNOWN)
        if images:
            answers = classify_finite(torch.from_numpy(np.stack(list(images.values()))), self.classifier)
            confidences = (None if value != value else float(value) for value in answers.confidence)
            labels = map(int, answers.label)
            self._known |= dict(zip(images, zip(labels, confidences, strict=True), strict=True))

    @functools.cached_property
    def _stored(self) -> dict[str, Answer] | None:
        """The answers of `predictions.json` by the names of samples; None if there is no such file.

        Raises: UserError if it is damaged.
        """
        path = self.sheet.recording.path
        if not isinstance(path, Path) or not (path / PREDICTIONS).is_file():
            return None
        content = json_files.read(path / PREDICTIONS, dict[str, dict[str, Any]])
        return {name: _answer(entry, f"{path / PREDICTIONS}: {name}") for name, entry in content.items()}


def _answer(entry: dict[str, Any], place: str) -> Answer:
    label, confidence = entry.get("label"), entry.get("confidence")
    if not isinstance(label, int) or not isinstance(confidence, (int, float, type(None))):
        raise UserError(
            f"{place}: label is not an integer, or confidence not a number; classify the recording again"
        )
    return label, confidence
