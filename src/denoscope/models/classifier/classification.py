"""The digit that each image shows, by the bundled classifier of the images' shape or by one with weights of your own."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from denoscope.config import ClassifierConfig, check_rejection
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe, parse_choice
from denoscope.models.classifier import bundled_classifiers
from denoscope.models.classifier.bundled_classifiers import AUTO, NAMES, WHAT_THEY_TAKE, BundledClassifier
from denoscope.models.classifier.digit_images import check_images, computed_in, finite_rows, parse_images
from denoscope.models.classifier.digits_cnn import DigitsCNN
from denoscope.models.classifier.labels import REJECTED, Labels
from denoscope.models.classifier.lenet import LeNet5
from denoscope.models.classifier.likeness import Likeness
from denoscope.models.running import Running

ROWS = 256
"""Rows of every network call: with few or odd numbers of rows, matrix products round a row by its position."""
Weights = str | Path | LeNet5 | DigitsCNN | None


@dataclass(frozen=True, eq=False)
class Classifier:
    """A function from images [n, C, H, W] of one shape to labels; it rejects images if it has a `likeness`.

    Images in float64 are classified in float64: rounded to float32, neighbours on a fine grid would be the same image.
    """

    kind: BundledClassifier
    network: nn.Module
    likeness: Likeness | None = None

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        *,
        classifier: str = ClassifierConfig.classifier,
        weights: Weights = None,
        reject: bool = ClassifierConfig.reject,
    ) -> Classifier:
        """The classifier of images of a shape (C, H, W); with other weights than the bundled ones it cannot reject.

        Raises: UserError if the named classifier takes other images, or does not fit the weights.
        """
        kind = _parse_kind(shape, classifier)
        if weights is None:
            return cls(kind, kind.load(), Likeness.read(kind.likeness) if reject else None)
        check_rejection(reject, "weights", weights)
        if not isinstance(weights, nn.Module):
            return cls(kind, kind.load(Path(weights)))
        if not isinstance(weights, kind.network):
            raise UserError(
                f"{spelled('weights')} is {describe(weights)}, and the images have shape {list(shape)}; allowed: "
                f"{kind.network.__name__}, which takes them"
            )
        return cls(kind, weights)

    @classmethod
    def configured(cls, shape: Sequence[int], config: ClassifierConfig) -> Classifier:
        """The classifier of images of a shape (C, H, W) that a configuration names."""
        return cls.of(
            shape, classifier=config.classifier, weights=config.classifier_weights, reject=config.reject
        )

    def __call__(self, images: Any) -> Labels:
        """The labels of images, all of which must be finite."""
        return self.labels_of(*parse_images(images, (self.kind.shape,)))

    def labels_of(self, rows: Any, names: tuple[str, ...] | None) -> Labels:
        """The labels of images of this classifier's shape, as `parse_images` returns them."""
        parts = [
            self._answers(finite_rows(rows[start : start + ROWS], start, names))
            for start in range(0, len(rows), ROWS)
        ]
        columns: list[np.ndarray] = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
        label, confidence, margin, like = columns or _NONE
        if self.likeness is None:
            return Labels(label, confidence, margin, names=names)
        return Labels(np.where(like >= 1, label, REJECTED), confidence, margin, like, names)

    @torch.no_grad()
    def _answers(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Label, largest softmax, its lead over the second largest, and likeness of each row."""
        filled = self._filled(rows)
        logits = self._logits(filled)
        values, digits = logits.softmax(1)[: len(rows)].topk(2, dim=1)
        first, second = values.T
        like = torch.ones(ROWS) if self.likeness is None else self.likeness(filled, logits).float()
        return digits[:, 0], first.float(), (first - second).float(), like[: len(rows)]

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        """The softmax [n, 10] of each class for images [n, C, H, W], all finite."""
        rows_of_calls = images.to(computed_in(images.dtype)).split(ROWS)
        parts = [self._logits(self._filled(rows)).softmax(1)[: len(rows)].float() for rows in rows_of_calls]
        return torch.cat(parts).numpy()

    def _filled(self, rows: torch.Tensor) -> torch.Tensor:
        # A product of another number of rows may add in another order, so this number never varies.
        filled = torch.zeros(ROWS, *self.kind.shape, dtype=rows.dtype)
        filled[: len(rows)] = rows
        return filled

    @torch.no_grad()
    def _logits(self, filled: torch.Tensor) -> torch.Tensor:
        network = self._in_float64 if filled.dtype == torch.float64 else self.network
        with Running(network):
            return network(filled)

    @functools.cached_property
    def _in_float64(self) -> nn.Module:
        return copy.deepcopy(self.network).double()


@arguments_checked
def classify(
    images: Any,
    *,
    classifier: str = ClassifierConfig.classifier,
    weights: Weights = None,
    reject: bool = ClassifierConfig.reject,
) -> Labels:
    """The digit shown by each image, with the classifier's confidence.

    An image's result never depends on the other images, because every call of the network has the same number of rows.
    Images in float64 are classified in float64, all others in float32.

    Caveats: the confidence is the network's softmax, not a probability of being right. An image that shows no digit
    also gets a label, often a confident one, unless `reject` is True.

    Args:
        images: [n, 1, 28, 28] or [1, 28, 28], or the same of 8 × 8 pixels, white on black in [-1, 1]; a floating-point
            tensor, numpy array or xarray.DataArray, whose coordinate "sample" gives the names; `rec.final` of a recording.
        classifier: "lenet" for images of 28 × 28 pixels, "digits-cnn" for 8 × 8, or "auto": the one for these images.
        weights: a state dict (.safetensors or .pt) of that classifier, or the network; the bundled weights unless given.
        reject: label images unlike the digits that the classifier was trained on −1; their confidence and margin are
            those of the best digit. `likeness` is the measure, whose misses the classifiers' cards count. About 1 % of
            real digits are rejected.

    Raises: UserError if the shape or dtype is wrong, an image holds NaN or Inf, or `reject` is used with `weights`.
    """
    rows, names = parse_images(images)
    known = Classifier.of(rows.shape[1:], classifier=classifier, weights=weights, reject=reject)
    return known.labels_of(rows, names)


def classify_finite(images: torch.Tensor, classifier: Classifier | None = None) -> Labels:
    """The labels of images [n, C, H, W]; −1 with confidence NaN for those that are not finite.

    Args:
        classifier: that of the images' shape unless given.
    """
    check_images(images)
    finite = images.float().isfinite().flatten(1).all(1)
    known = (classifier or Classifier.of(images.shape[1:]))(images[finite])
    chosen = finite.numpy()

    def spread(values: np.ndarray) -> np.ndarray:
        for_all = np.full(len(images), REJECTED if values.dtype.kind == "i" else np.nan, values.dtype)
        for_all[chosen] = values
        return for_all

    like = None if known.likeness is None else spread(known.likeness)
    return Labels(spread(known.label), spread(known.confidence), spread(known.margin), like)


def _parse_kind(shape: Sequence[int], name: str) -> BundledClassifier:
    """The bundled classifier of images of a shape.

    Raises: UserError if the name is unknown, or that classifier takes other images.
    """
    parse_choice(name, "classifier", (AUTO, *NAMES))
    kind = bundled_classifiers.of_shape(shape, name)
    if kind is None:
        named = "" if name == AUTO else f"{spelled('classifier')} is {name!r}, and "
        raise UserError(f"{named}the images have shape {list(shape)}; {WHAT_THEY_TAKE}")
    return kind


_NONE: list[np.ndarray] = [np.empty(0, kind) for kind in (np.int64, np.float32, np.float32, np.float32)]
