"""Labels of images, by LeNet-5 or by a function of your own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import check_callable
from denoscope.models.classifier.digit_images import DIGIT
from denoscope.models.classifier.labels import classify_finite

LabelOf = Callable[[torch.Tensor], Any]
"""A function from images [n, C, H, W] to integers [n], −1 for no class."""


def parse_label_of(label_of: LabelOf | None, shape: Sequence[int], model: str) -> LabelOf:
    """The function that labels images of a shape: the given one, or LeNet-5 if it is None.

    Raises: UserError if it is not a function, or LeNet-5 does not take the images of this model.
    """
    if label_of is not None:
        check_callable(label_of, "label_of", "images [n, C, H, W] to integers [n]")
        return label_of
    if tuple(shape) != DIGIT:
        raise UserError(
            f"{model} makes images {list(shape)}, and LeNet-5 takes {list(DIGIT)}; give label_of, a function from images "
            "to integers"
        )
    return lambda images: classify_finite(images).label
