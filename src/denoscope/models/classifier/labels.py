"""Which digit each image shows, by LeNet-5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.config import ClassifierConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import check_callable
from denoscope.models.classifier import lenet
from denoscope.models.classifier.likeness import Likeness
from denoscope.models.running import evaluating

DIGIT = (1, 28, 28)
"""The shape of an image that can be classified."""
REJECTED = -1
"""The label of what belongs to no class."""
ROWS = 256
"""Of every network call. Matrix products of few or odd numbers of rows treat rows by their place."""
AXES = ("sample", "channel", "height", "width")


@dataclass(frozen=True)
class Labels:
    """The answers for n images, one row each."""

    label: np.ndarray
    """[n] int64, the digit; −1 for what was rejected, or is NaN or Inf (`classify_finite`)."""
    confidence: np.ndarray
    """[n] float32, the softmax of the best digit."""
    margin: np.ndarray
    """[n] float32, that softmax less the runner-up's."""
    likeness: np.ndarray | None = None
    """[n] float32, below 1 for what is rejected (`models.classifier.likeness`); where rejecting was asked for."""
    names: tuple[str, ...] | None = None
    """The samples' names, where the images came with them."""

    def __len__(self) -> int:
        return len(self.label)

    def to_dict(self) -> dict[str, list | None]:
        """The same as plain lists, ready for JSON."""
        return {
            "names": None if self.names is None else list(self.names),
            "label": self.label.tolist(),
            "confidence": self.confidence.tolist(),
            "margin": self.margin.tolist(),
            "likeness": None if self.likeness is None else self.likeness.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Classifier:
    """LeNet-5, and where it is to reject, what it knows of digits: images [n, 1, 28, 28] to their labels."""

    network: lenet.LeNet5
    likeness: Likeness | None = None

    @classmethod
    def of(
        cls,
        weights: str | Path | lenet.LeNet5 | None = None,
        *,
        reject: bool = ClassifierConfig.reject,
    ) -> Classifier:
        """The bundled network, or one with weights of your own, which cannot reject."""
        if reject and weights is not None:
            raise UserError(
                "reject needs statistics of digits, which there are for the bundled classifier alone; leave out the "
                "weights, or reject"
            )
        network = weights if isinstance(weights, lenet.LeNet5) else lenet.load(weights)
        return cls(network, Likeness.read() if reject else None)

    def __call__(self, images: Any) -> Labels:
        """Those of images that are all finite."""
        rows, names = _rows(images)
        parts = [
            self._answers(_tensor(rows[start : start + ROWS], start, names))
            for start in range(0, len(rows), ROWS)
        ]
        columns: list[np.ndarray] = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
        label, first, second, like = columns or _NONE
        if self.likeness is None:
            return Labels(label, first, first - second, names=names)
        return Labels(np.where(like >= 1, label, REJECTED), first, first - second, like, names)

    @torch.no_grad()
    def _answers(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Label, top softmax, runner-up and likeness of each row."""
        # Matrix products of another height may add in another order, so the height is always the same.
        filled = torch.zeros(ROWS, *DIGIT)
        filled[: len(rows)] = rows
        with evaluating(self.network):
            logits = self.network(filled)
        values, digits = logits.softmax(1)[: len(rows)].topk(2, dim=1)
        like = torch.ones(ROWS) if self.likeness is None else self.likeness(filled, logits).float()
        return digits[:, 0], values[:, 0], values[:, 1], like[: len(rows)]


def classify(
    images: Any,
    *,
    weights: str | Path | lenet.LeNet5 | None = None,
    reject: bool = ClassifierConfig.reject,
) -> Labels:
    """The digit shown by each image, with the classifier's confidence.

    The softmax says how sure this network is, which is no probability of being right: an image that is no
    digit gets a label too, often a confident one, unless it is rejected. An image's answer never depends on the
    images beside it: the network always gets the same number of rows, the last call filled up.

    Args:
        images: [n, 1, 28, 28] or [1, 28, 28], white on black in [-1, 1]; a floating-point tensor, numpy
            array or xarray.DataArray. Of the last, a `sample` coordinate gives the names.
        weights: a state dict (.safetensors or .pt) or a LeNet5; the bundled weights unless given.
        reject: label −1 what is unlike the digits of MNIST, with the best digit's confidence and margin; `likeness`
            says how unlike, and `models.classifier.likeness` what that misses. Of real digits 1 % are rejected.

    Raises: UserError if the shape or dtype is another, or an image holds NaN or Inf, or other weights are to reject.
    """
    return Classifier.of(weights, reject=reject)(images)


def of_images(label_of: Callable[[torch.Tensor], Any], images: torch.Tensor) -> np.ndarray:
    """The whole numbers [n] that a function of the user's makes of images [n, C, H, W]; −1 of those that are not finite,
    which it is not asked for."""
    check_callable(label_of, "label_of", "images to whole numbers")
    finite = images.float().isfinite().flatten(1).all(1)
    label = np.full(len(images), REJECTED)
    if finite.any():
        label[finite.numpy()] = _labels_given(label_of(images[finite]), int(finite.sum()))
    return label


def _labels_given(given: Any, images: int) -> np.ndarray:
    """What a function of the user's gave as labels, refused where it is none."""
    try:
        label = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    except ValueError:  # of rows of unequal length
        label = np.asarray(None)
    if label.shape != (images,) or label.dtype.kind not in "iub":
        raise UserError(
            f"the classifier returned {label.dtype} {list(label.shape)} for {images} images; needed is one whole "
            "number each"
        )
    return label


def classify_finite(images: torch.Tensor, by: Classifier | None = None) -> Labels:
    """The labels of the images [n, 1, 28, 28] that are finite; of the others −1, with NaN as confidence."""
    check_images(images)
    finite = images.isfinite().flatten(1).all(1)
    known, chosen = (by or Classifier.of())(images[finite]), finite.numpy()

    def spread(values: np.ndarray) -> np.ndarray:
        every = np.full(len(images), REJECTED if values.dtype.kind == "i" else np.nan, values.dtype)
        every[chosen] = values
        return every

    like = None if known.likeness is None else spread(known.likeness)
    return Labels(spread(known.label), spread(known.confidence), spread(known.margin), like)


def check_images(images: Any) -> None:
    """Refuse images of a shape or dtype that the classifier does not take."""
    _rows(images)


def summary(labels: Labels) -> str:
    """How many images show which digit, and the mean confidence, in a few lines."""
    if not len(labels):
        return "no images"
    digits, lost = labels.label != REJECTED, np.isnan(labels.confidence)
    counts = np.bincount(labels.label[digits], minlength=10)
    lines = [f"digit {digit}: {count:6,d}  {count / len(labels):6.1%}" for digit, count in enumerate(counts)]
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


def _rows(images: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The images as something of shape [n, 1, 28, 28] that slices along n, and their names."""
    names = None
    # Told by its looks: xarray needn't be imported to classify a tensor.
    if hasattr(images, "dims") and hasattr(images, "coords"):
        if set(images.dims) == set(AXES):
            images = images.transpose(*AXES)
        if "sample" in images.coords:
            names = tuple(str(name) for name in np.atleast_1d(images.coords["sample"].values))
    elif not isinstance(images, torch.Tensor):
        images = np.asarray(images)
    shape = tuple(images.shape)
    if shape[-3:] != DIGIT or len(shape) not in (3, 4):
        hint = "; take one state of a sequence first" if len(shape) == 5 else ""
        raise UserError(
            f"images have shape {_written(shape)}; [n, 1, 28, 28] or [1, 28, 28] is needed, "
            f"one channel in [-1, 1]{hint}"
        )
    dtype = str(images.dtype).removeprefix("torch.")
    if "float" not in dtype:
        raise UserError(
            f"images are {dtype}; floating point in [-1, 1] is needed: "
            "x / 127.5 - 1 makes it of pixels 0 to 255"
        )
    if len(shape) == 3:
        images = (images.values if hasattr(images, "coords") else images)[None]
    if names is not None and len(names) != len(images):
        names = None
    return images, names


def _tensor(rows: Any, start: int, names: tuple[str, ...] | None) -> torch.Tensor:
    if not isinstance(rows, torch.Tensor):
        # A copy: torch warns of arrays that can't be written to.
        rows = torch.from_numpy(np.array(rows, dtype=np.float32))
    rows = rows.detach().to("cpu", torch.float32)
    finite = rows.isfinite().flatten(1).all(1)
    if not finite.all():
        k = start + int(finite.long().argmin())
        which = f"image {k}" if names is None else f"image {k} ({names[k]})"
        raise UserError(
            f"{which} holds NaN or values beyond float32; finite values in [-1, 1] are needed: leave it out"
        )
    return rows


def _written(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
