"""The digit that each image shows, by LeNet-5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.config import ClassifierConfig
from denoscope.foundation import html_repr
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import check_callable
from denoscope.models.classifier import lenet
from denoscope.models.classifier.digit_images import DIGIT, check_images, finite_rows, parse_images
from denoscope.models.classifier.likeness import Likeness
from denoscope.models.running import evaluating

REJECTED = -1
"""The label of an image that belongs to no class."""
ROWS = 256
"""Rows of every network call: with few or odd numbers of rows, matrix products round a row by its position."""


@dataclass(frozen=True, repr=False)
class Labels:
    """The digits of n images, with the classifier's confidence."""

    label: np.ndarray
    """[n] int64, the digit; −1 for an image that was rejected or is not finite (`classify_finite`)."""
    confidence: np.ndarray
    """[n] float32, the softmax of the best digit."""
    margin: np.ndarray
    """[n] float32, that softmax minus the second largest."""
    likeness: np.ndarray | None = None
    """[n] float32, below 1 for rejected images (see `models.classifier.likeness`); None without `reject`."""
    names: tuple[str, ...] | None = None
    """The samples' names, if the images had some."""

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"<Labels of {len(self)} images: {self._described}>"

    def _repr_html_(self) -> str:
        rows = {"images": len(self), "digits": self._described}
        if len(self):
            rows["mean confidence"] = (
                f"{np.nanmean(self.confidence, dtype=np.float64):.3f}" if self._known else "none"
            )
        histogram = html_repr.sparkline(self.counts) if len(self) else ""
        return html_repr.table("Labels", rows, picture=histogram)

    @property
    def counts(self) -> np.ndarray:
        """[10] int64, the number of images of each digit."""
        return np.bincount(self.label[self.label != REJECTED], minlength=10)

    @property
    def _known(self) -> bool:
        return bool(np.isfinite(self.confidence).any())

    @property
    def _described(self) -> str:
        """How many images show which digit, in one line."""
        digits = [f"{count} of {digit}" for digit, count in enumerate(self.counts) if count]
        rejected = len(self) - int(self.counts.sum())
        return ", ".join([*digits, *([f"{rejected} of no digit"] if rejected else [])]) or "none"

    def to_dict(self) -> dict[str, list | None]:
        """The fields as lists, for JSON."""
        return {
            "names": None if self.names is None else list(self.names),
            "label": self.label.tolist(),
            "confidence": self.confidence.tolist(),
            "margin": self.margin.tolist(),
            "likeness": None if self.likeness is None else self.likeness.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Classifier:
    """A function from images [n, 1, 28, 28] to labels; it rejects images if it has a `likeness`."""

    network: lenet.LeNet5
    likeness: Likeness | None = None

    @classmethod
    def of(
        cls,
        weights: str | Path | lenet.LeNet5 | None = None,
        *,
        reject: bool = ClassifierConfig.reject,
    ) -> Classifier:
        """The bundled network, or one with other weights, which cannot reject."""
        if reject and weights is not None:
            raise UserError(
                f"{spelled('reject')} needs statistics of digits, which only the bundled classifier has; leave out "
                f"{spelled('weights')} or {spelled('reject')}"
            )
        network = weights if isinstance(weights, lenet.LeNet5) else lenet.load(weights)
        return cls(network, Likeness.read() if reject else None)

    def __call__(self, images: Any) -> Labels:
        """The labels of images, all of which must be finite."""
        rows, names = parse_images(images)
        parts = [
            self._answers(finite_rows(rows[start : start + ROWS], start, names))
            for start in range(0, len(rows), ROWS)
        ]
        columns: list[np.ndarray] = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
        label, first, second, like = columns or _NONE
        if self.likeness is None:
            return Labels(label, first, first - second, names=names)
        return Labels(np.where(like >= 1, label, REJECTED), first, first - second, like, names)

    @torch.no_grad()
    def _answers(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Label, largest softmax, second largest softmax and likeness of each row."""
        # A product of another number of rows may add in another order, so this number never varies.
        filled = torch.zeros(ROWS, *DIGIT)
        filled[: len(rows)] = rows
        with evaluating(self.network):
            logits = self.network(filled)
        values, digits = logits.softmax(1)[: len(rows)].topk(2, dim=1)
        like = torch.ones(ROWS) if self.likeness is None else self.likeness(filled, logits).float()
        return digits[:, 0], values[:, 0], values[:, 1], like[: len(rows)]


@arguments_checked
def classify(
    images: Any,
    *,
    weights: str | Path | lenet.LeNet5 | None = None,
    reject: bool = ClassifierConfig.reject,
) -> Labels:
    """The digit shown by each image, with the classifier's confidence.

    An image's result never depends on the other images, because every call of the network has the same number of rows.

    Caveats: the confidence is the network's softmax, not a probability of being right. An image that shows no digit
    also gets a label, often a confident one, unless `reject` is True.

    Args:
        images: [n, 1, 28, 28] or [1, 28, 28], white on black in [-1, 1]; a floating-point tensor, numpy
            array or xarray.DataArray, whose `sample` coordinate gives the names.
        weights: a state dict (.safetensors or .pt) or a LeNet5; the bundled weights unless given.
        reject: label images unlike the digits of MNIST −1; their confidence and margin are those of the best digit.
            `likeness` is the measure, whose misses `models.classifier.likeness` describes. 1 % of real digits are
            rejected.

    Raises: UserError if the shape or dtype is wrong, an image holds NaN or Inf, or `reject` is used with `weights`.
    """
    return Classifier.of(weights, reject=reject)(images)


def of_images(label_of: Callable[[torch.Tensor], Any], images: torch.Tensor) -> np.ndarray:
    """The integers [n] that the caller's function `label_of` returns for images [n, C, H, W].

    It is called with the finite images only; the label of the others is −1.
    """
    check_callable(label_of, "label_of", "images to integers")
    finite = images.float().isfinite().flatten(1).all(1)
    label = np.full(len(images), REJECTED)
    if finite.any():
        label[finite.numpy()] = _parse_labels(label_of(images[finite]), int(finite.sum()))
    return label


def _parse_labels(returned: Any, images: int) -> np.ndarray:
    """The labels that a function of the caller's returned.

    Raises: UserError if they are not one integer per image.
    """
    try:
        label = np.asarray(returned.cpu() if isinstance(returned, torch.Tensor) else returned)
    except ValueError:  # rows of unequal length
        label = np.asarray(None)
    if label.shape != (images,) or label.dtype.kind not in "iub":
        raise UserError(
            f"the classifier returned {label.dtype} {list(label.shape)} for {images} images; allowed: one integer per "
            "image"
        )
    return label


def classify_finite(images: torch.Tensor, classifier: Classifier | None = None) -> Labels:
    """The labels of images [n, 1, 28, 28]; −1 with confidence NaN for those that are not finite."""
    check_images(images)
    finite = images.isfinite().flatten(1).all(1)
    known, chosen = (classifier or Classifier.of())(images[finite]), finite.numpy()

    def spread(values: np.ndarray) -> np.ndarray:
        for_all = np.full(len(images), REJECTED if values.dtype.kind == "i" else np.nan, values.dtype)
        for_all[chosen] = values
        return for_all

    like = None if known.likeness is None else spread(known.likeness)
    return Labels(spread(known.label), spread(known.confidence), spread(known.margin), like)


def summary(labels: Labels) -> str:
    """The number of images of each digit and the mean confidence, in a few lines."""
    if not len(labels):
        return "no images"
    digits, lost = labels.label != REJECTED, np.isnan(labels.confidence)
    lines = [
        f"digit {digit}: {count:6,d}  {count / len(labels):6.1%}" for digit, count in enumerate(labels.counts)
    ]
    if none := int((~digits & ~lost).sum()):
        lines.append(f"no digit: {none:,d}, labelled -1")
    if wrong := int(lost.sum()):
        lines.append(f"NaN or Inf: {wrong:,d}, labelled -1")
    if not digits.any():
        return "\n".join(lines)
    sure = np.mean(labels.confidence[digits] >= 0.9) * digits.mean()
    mean = np.mean(labels.confidence[digits], dtype=np.float64)
    return "\n".join([*lines, f"mean confidence {mean:.3f}; at least 0.9 for {sure:.1%} of {len(labels):,}"])


_NONE: list[np.ndarray] = [np.empty(0, kind) for kind in (np.int64, np.float32, np.float32, np.float32)]
