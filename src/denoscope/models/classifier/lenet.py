"""LeNet-5, the classifier of MNIST digits, and its bundled weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from denoscope.models import bundled
from denoscope.models.classifier.state_dicts import load_into

WEIGHTS = bundled.ROOT / "lenet" / "lenet5.safetensors"


class LeNet5(nn.Module):
    """Logits [n, 10] of digits [n, 1, 28, 28], white on black in [-1, 1].

    It has the layers and widths of LeNet-5 and 61,706 parameters. Deviations: max pooling and ReLU instead of trained
    subsampling and tanh; each map of the second convolution is connected to all six maps of the first; the last layer
    is linear, for a softmax, instead of radial basis functions.

    Source: LeCun et al., Proc. IEEE 86, 2278 (1998), fig. 2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


def load(path: str | Path | None = None) -> LeNet5:
    """A LeNet-5 in eval mode with the weights of a .safetensors or .pt state dict; by default the bundled ones.

    Raises: UserError naming the file if it cannot be read or does not fit LeNet-5.
    """
    return load_into(LeNet5(), WEIGHTS if path is None else Path(path))
