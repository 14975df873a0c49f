"""The classifiers that come with the package, each for images of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from denoscope.models import bundled
from denoscope.models.classifier import lenet
from denoscope.models.classifier.digits_cnn import DigitsCNN
from denoscope.models.classifier.lenet import LeNet5
from denoscope.models.classifier.state_dicts import load_into

AUTO = "auto"
"""The name that stands for the classifier of the images' shape."""


@dataclass(frozen=True)
class BundledClassifier:
    """A network that classifies digits of one shape, with its weights.

    Args:
        name: in arguments and in stored files.
        title: in messages.
        shape: (C, H, W) of the images.
        weights: file of its weights; the statistics of its likeness lie beside it.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    network: type[nn.Module]
    weights: Path

    @property
    def likeness(self) -> Path:
        """The file of the statistics by which it rejects images."""
        return self.weights.with_name("likeness.safetensors")

    def load(self, path: Path | None = None) -> nn.Module:
        """The network with the weights of a file; by default the bundled ones."""
        return load_into(self.network(), path or self.weights)


LENET = BundledClassifier("lenet", "LeNet-5", (1, 28, 28), LeNet5, lenet.WEIGHTS)
DIGITS_CNN = BundledClassifier(
    "digits-cnn", "DigitsCNN", (1, 8, 8), DigitsCNN, bundled.ROOT / "digits-cnn" / "digits_cnn.safetensors"
)
ALL = (LENET, DIGITS_CNN)
NAMES = tuple(each.name for each in ALL)
SHAPES = tuple(each.shape for each in ALL)
WHAT_THEY_TAKE = "; ".join(f"{each.title} takes {list(each.shape)}" for each in ALL)
"""The shapes of the images that each takes, for messages."""


def of_shape(shape: Sequence[int], name: str = AUTO) -> BundledClassifier | None:
    """The classifier of images of a shape (C, H, W); None if there is none, or the one of this name takes others."""
    fitting = (each for each in ALL if each.shape == tuple(shape) and name in (AUTO, each.name))
    return next(fitting, None)
