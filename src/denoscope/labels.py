"""Which digit each image shows, by LeNet-5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.errors import UserError
from denoscope.zoo import lenet

DIGIT = (1, 28, 28)
"""The shape of an image that can be classified."""
ROWS = 256
"""Of every network call. Matrix products of few or odd numbers of rows treat rows by their place."""
AXES = ("sample", "channel", "height", "width")


@dataclass(frozen=True)
class Labels:
    """The answers for n images, one row each."""

    label: np.ndarray
    """[n] int64, the digit."""
    confidence: np.ndarray
    """[n] float32, the digit's softmax."""
    margin: np.ndarray
    """[n] float32, the digit's softmax less that of the runner-up."""
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
        }


def classify(images: Any, *, weights: str | Path | lenet.LeNet5 | None = None) -> Labels:
    """The digit shown by each image, with the classifier's confidence.

    The softmax says how sure this network is, which is no probability of being right: an image that is no
    digit gets a label too, often a confident one. An image's answer never depends on the images beside it:
    the network always gets the same number of rows, the last call filled up.

    Args:
        images: [n, 1, 28, 28] or [1, 28, 28], white on black in [-1, 1]; a floating-point tensor, numpy
            array or xarray.DataArray. Of the last, a `sample` coordinate gives the names.
        weights: a state dict (.safetensors or .pt) or a LeNet5; the bundled weights unless given.

    Raises: UserError if the shape or dtype is another, or an image holds NaN or Inf.
    """
    rows, names = _rows(images)
    model = weights if isinstance(weights, lenet.LeNet5) else lenet.load(weights)
    parts = [
        _top_two(model, _tensor(rows[start : start + ROWS], start, names))
        for start in range(0, len(rows), ROWS)
    ]
    label, first, second = (
        (torch.cat(column).numpy() for column in zip(*parts, strict=True)) if parts else _NONE
    )
    return Labels(label=label, confidence=first, margin=first - second, names=names)


def classify_finite(images: torch.Tensor, *, weights: str | Path | lenet.LeNet5 | None = None) -> Labels:
    """The labels of the images [n, 1, 28, 28] that are finite; of the others −1, with NaN as confidence."""
    check_images(images)
    finite = images.isfinite().flatten(1).all(1)
    known, chosen = classify(images[finite], weights=weights), finite.numpy()
    label = np.full(len(images), -1)
    confidence, margin = (np.full(len(images), np.nan, np.float32) for _ in range(2))
    label[chosen], confidence[chosen], margin[chosen] = known.label, known.confidence, known.margin
    return Labels(label, confidence, margin)


def check_images(images: Any) -> None:
    """Refuse images of a shape or dtype that the classifier does not take."""
    _rows(images)


def summary(labels: Labels) -> str:
    """How many images show which digit, and the mean confidence, in a few lines."""
    if not len(labels):
        return "no images"
    finite = labels.label >= 0
    counts = np.bincount(labels.label[finite], minlength=10)
    lines = [f"digit {digit}: {count:6,d}  {count / len(labels):6.1%}" for digit, count in enumerate(counts)]
    if wrong := int((~finite).sum()):
        lines.append(f"NaN or Inf: {wrong:,d}, labelled -1")
    if not finite.any():
        return "\n".join(lines)
    sure = np.mean(labels.confidence >= 0.9)
    mean = np.mean(labels.confidence[finite], dtype=np.float64)
    return "\n".join([*lines, f"mean confidence {mean:.3f}; at least 0.9 for {sure:.1%} of {len(labels):,}"])


_NONE = np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32)


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


@torch.no_grad()
def _top_two(model: lenet.LeNet5, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Label, top softmax and runner-up of each row."""
    # Matrix products of another height may add in another order, so the height is always the same.
    filled = torch.zeros(ROWS, *DIGIT)
    filled[: len(rows)] = rows
    training = model.training
    values, digits = model.eval()(filled).softmax(1)[: len(rows)].topk(2, dim=1)
    model.train(training)
    return digits[:, 0], values[:, 0], values[:, 1]


def _written(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
