"""Classifiers of images: a bundled one, or a function of your own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from denoscope.config import check_rejection
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.models.classifier import labels
from denoscope.models.classifier.bundled_classifiers import AUTO, NAMES, WHAT_THEY_TAKE, of_shape
from denoscope.models.classifier.classification import Classifier, classify_finite
from denoscope.models.classifier.digit_images import computed_in
from denoscope.models.denoiser import Denoiser
from denoscope.models.weights_hash import weights_sha256

ClassifierSource = str | os.PathLike[str] | Callable[[torch.Tensor], Any]
"""A classifier: "auto", the name of a bundled one, a file of its weights, or a function from images to labels."""


class ImageClassifier(Protocol):
    """A function from images [n, C, H, W], finite or not, to named arrays [n], `label` among them."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that determines its answers, as JSON values."""

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class DigitClassifier:
    """Label, confidence and margin by a bundled classifier, and the likeness if it rejects."""

    classifier: Classifier
    dtype: torch.dtype
    """The precision in which it computes; labels of float64 differ where rounding decides."""

    @property
    def description(self) -> dict[str, Any]:
        networks = (self.classifier.network, self.classifier.likeness)
        weights = nn.ModuleList([network for network in networks if network is not None])
        return {
            "classifier": self.classifier.kind.name,
            "classifier_sha256": weights_sha256(weights),
            "reject": self.classifier.likeness is not None,
            # Left out for float32, so that caches and checkpoints keep their keys.
            **({"classifier_dtype": "float64"} if self.dtype == torch.float64 else {}),
        }

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        answers = classify_finite(images.to(self.dtype), self.classifier)
        likeness = {} if answers.likeness is None else {"likeness": answers.likeness}
        return {"label": answers.label, "confidence": answers.confidence, "margin": answers.margin} | likeness


@dataclass(frozen=True)
class FunctionClassifier:
    """The label by a function of finite images; images that are not finite have the label −1."""

    function: Callable[[torch.Tensor], Any]

    @property
    def description(self) -> dict[str, Any]:
        named = inspect.isroutine(self.function) or inspect.isclass(self.function)
        name = self.function.__qualname__ if named else type(self.function).__name__
        return {"classifier": name, "reject": False}

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        return {"label": labels.of_images(self.function, images)}


def parse_classifier(source: ClassifierSource, *, reject: bool, denoiser: Denoiser) -> ImageClassifier:
    """The classifier for the images of a denoiser.

    Raises: UserError if the source is not a classifier, does not take these images, or cannot reject.
    """
    if callable(source):
        check_rejection(reject, "classifier", source)
        return FunctionClassifier(source)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            f"{spelled('classifier')} is {describe(source)}; allowed: {', '.join((AUTO, *NAMES))}, a file of weights, or "
            "a function from images to integers"
        )
    is_name = source in (AUTO, *NAMES)
    if of_shape(denoiser.shape, str(source) if is_name else AUTO) is None:
        raise UserError(
            f"{denoiser.name} makes images {list(denoiser.shape)}, and {WHAT_THEY_TAKE}; give {spelled('classifier')} "
            "one that takes these images, or a function from images to integers"
        )
    dtype = computed_in(denoiser.dtype)
    if is_name:
        return DigitClassifier(Classifier.of(denoiser.shape, classifier=str(source), reject=reject), dtype)
    check_rejection(reject, "classifier", Path(source))
    return DigitClassifier(Classifier.of(denoiser.shape, weights=Path(source)), dtype)
