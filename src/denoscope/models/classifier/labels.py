"""Labels of images, by a bundled classifier or by a function of your own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.foundation import html_repr
from denoscope.foundation.errors import UserError
from denoscope.foundation.masked_arrays import check_unmasked
from denoscope.foundation.validation import check_callable

REJECTED = -1
"""The label of an image that belongs to no class."""


@dataclass(frozen=True, repr=False)
class Labels:
    """The digits of n images, with the classifier's confidence."""

    label: np.ndarray
    """[n] int64, the digit; −1 for an image that was rejected or is not finite (`classification.classify_finite`)."""
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
        counts = {f"digit {digit}": int(count) for digit, count in enumerate(self.counts) if count}
        if rejected := len(self) - sum(counts.values()):
            counts["no digit"] = rejected
        return ", ".join(f"{count} × {name}" for name, count in counts.items()) or "none"

    def to_dict(self) -> dict[str, list | None]:
        """The fields as lists, for JSON."""
        return {
            "names": None if self.names is None else list(self.names),
            "label": self.label.tolist(),
            "confidence": self.confidence.tolist(),
            "margin": self.margin.tolist(),
            "likeness": None if self.likeness is None else self.likeness.tolist(),
        }


def of_images(label_of: Callable[[torch.Tensor], Any], images: torch.Tensor) -> np.ndarray:
    """The integers [n] that the caller's function `label_of` returns for images [n, C, H, W].

    It is called with the finite images only; the label of the others is −1.
    """
    check_callable(label_of, "label_of", ("images",), "integers")
    finite = images.float().isfinite().flatten(1).all(1)
    label = np.full(len(images), REJECTED)
    if finite.any():
        label[finite.numpy()] = _parse_labels(label_of(images[finite]), int(finite.sum()))
    return label


def _parse_labels(returned: Any, images: int) -> np.ndarray:
    """The labels that a function of the caller's returned.

    Raises: UserError if they are not one integer per image, or a masked array.
    """
    check_unmasked(returned, "labels")
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
