"""LeNet-5, the classifier of MNIST digits, and its bundled weights."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import archives
from denoscope.foundation.reading.regular_files import open_regular
from denoscope.models import bundled

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
    path = WEIGHTS if path is None else Path(path)
    state = _read(path)
    model = LeNet5()
    needed = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name, shape in needed.items():
        stored = tuple(state[name].shape) if name in state else "missing"
        if stored != shape:
            raise UserError(
                f"{path} is not a state dict of LeNet5: {name} is {stored}; allowed: {shape}; "
                "`python -m training lenet` trains one"
            )
    if surplus := sorted(set(state) - set(needed)):
        raise UserError(
            f"{path} is not a state dict of LeNet5: it also holds {', '.join(surplus[:3])}; leave that out"
        )
    model.load_state_dict(state)
    return model.float().eval().requires_grad_(False)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not os.path.isfile(path):
        raise UserError(f"{path} does not exist; allowed: a .safetensors or .pt state dict of LeNet5")
    try:
        with open_regular(path) as file:
            archives.check_unpacked(file, path)
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a damaged file can make the readers fail in any way
        raise UserError(
            f"cannot read classifier weights {path}: not weights, damaged, or in need of code (which is never run); "
            "allowed: a .safetensors or .pt state dict of LeNet5"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(
            f"{path} does not hold a state dict; write one with torch.save(model.state_dict(), path)"
        )
    return state
