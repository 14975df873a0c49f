"""Classifiers of images: LeNet-5, or a function of your own."""

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

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.models.classifier import labels
from denoscope.models.classifier.digit_images import DIGIT
from denoscope.models.denoiser import Denoiser
from denoscope.models.fingerprint import weights_sha256

LENET = "lenet"
ClassifierSource = str | os.PathLike[str] | Callable[[torch.Tensor], Any]
"""A classifier: "lenet", a file of weights of LeNet-5, or a function from images to labels."""


class ImageClassifier(Protocol):
    """A function from images [n, C, H, W], finite or not, to named arrays [n], `label` among them."""

    @property
    def description(self) -> dict[str, Any]:
        """Everything that determines its answers, as JSON values."""

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class LeNetClassifier:
    """Label, confidence and margin by LeNet-5, and the likeness if it rejects."""

    classifier: labels.Classifier

    @property
    def description(self) -> dict[str, Any]:
        networks = (self.classifier.network, self.classifier.likeness)
        weights = nn.ModuleList([network for network in networks if network is not None])
        return {
            "classifier": LENET,
            "classifier_sha256": weights_sha256(weights),
            "reject": self.classifier.likeness is not None,
        }

    def __call__(self, images: torch.Tensor) -> dict[str, np.ndarray]:
        answers = labels.classify_finite(images.float(), self.classifier)
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
        if reject:
            raise UserError(
                f"{spelled('reject', True)} needs LeNet-5; a function of your own rejects an image by the label −1"
            )
        return FunctionClassifier(source)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            f"{spelled('classifier')} is {describe(source)}; allowed: 'lenet', a file of its weights, or a function from "
            "images to integers"
        )
    if tuple(denoiser.shape) != DIGIT:
        raise UserError(
            f"{denoiser.name} makes images {list(denoiser.shape)}, and LeNet-5 takes {list(DIGIT)}; give "
            f"{spelled('classifier')} a function from images to integers"
        )
    if reject and source != LENET:
        raise UserError(
            f"{spelled('classifier')} is {describe(str(source))}, and {spelled('reject', True)} needs the bundled "
            f"LeNet-5, which knows the statistics of digits; leave out {spelled('classifier')} or {spelled('reject')}"
        )
    weights = None if source == LENET else Path(source)
    return LeNetClassifier(labels.Classifier.of(weights, reject=reject))
