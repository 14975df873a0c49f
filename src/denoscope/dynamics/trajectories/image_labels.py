"""Labels of images, by the bundled classifier of their shape or by a function of your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import check_callable
from denoscope.models.classifier.bundled_classifiers import WHAT_THEY_TAKE, of_shape
from denoscope.models.classifier.classification import Classifier, classify_finite

LabelOf = Callable[[torch.Tensor], Any]
"""A function from images [n, C, H, W] to integers [n], −1 for no class."""


def parse_label_of(label_of: LabelOf | None, shape: Sequence[int], model: str) -> LabelOf:
    """The function that labels images of a shape: the given one, or the bundled classifier of this shape if it is None.

    Raises: UserError if it is not a function, or no bundled classifier takes the images of this model.
    """
    if label_of is not None:
        check_callable(label_of, "label_of", ("images [n, C, H, W]",), "integers [n]")
        return label_of
    if of_shape(shape) is None:
        raise UserError(
            f"{model} makes images {list(shape)}, and {WHAT_THEY_TAKE}; give label_of, a function from images to integers"
        )
    classifier = Classifier.of(shape)
    return lambda images: classify_finite(images, classifier).label
