"""Training of a classifier: minutes on one core, so it starts from the beginning rather than resume."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from denoscope.foundation.writing.atomic_files import write_output
from training.split import Split


@dataclass(frozen=True)
class Recipe:
    """How the classifier is trained; the model card repeats it."""

    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    shift: float = 2.0
    """Largest random shift in pixels, along each axis."""
    rotation: float = 12.0
    """Largest random rotation in degrees."""
    zoom: float = 0.1
    """Largest random change of size, as a fraction."""
    noise: float = 0.0
    """Half width of the uniform noise added to each pixel."""
    seed: int = 0


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of all weights."""
    return torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def write(model: nn.Module, name: str, figures: dict[str, object], out: Path) -> None:
    """Write `out`/name.safetensors and `out`/training.json."""
    from safetensors.torch import save as serialized

    with write_output(out / f"{name}.safetensors") as file:
        file.write(serialized(model.state_dict()))
    with write_output(out / "training.json") as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    split: Split,
    epoch: int,
    recipe: Recipe,
    generator: torch.Generator,
) -> float:
    """Train on every image once, distorted at random; returns the mean loss."""
    images, labels = split
    batches = torch.randperm(len(images), generator=generator).split(recipe.batch_size)
    total_steps = recipe.epochs * len(batches)
    losses = []
    model.train()
    for k, rows in enumerate(batches):
        done = (epoch * len(batches) + k) / total_steps
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        loss = cross_entropy(model(distort(images[rows], recipe, generator)), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def distort(images: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Each image shifted, turned, resized and noised at random."""
    shift, turn, zoom = (torch.rand(len(images), k, generator=generator) * 2 - 1 for k in (2, 1, 1))
    angle = turn[:, 0] * math.radians(recipe.rotation)
    size = 1 + zoom[:, 0] * recipe.zoom
    cosine, sine = angle.cos() * size, angle.sin() * size
    # affine_grid counts in half widths of the image.
    move = shift * recipe.shift * 2 / images.shape[-1]
    matrix = torch.stack((cosine, -sine, move[:, 0], sine, cosine, move[:, 1]), 1).view(-1, 2, 3)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, padding_mode="border", align_corners=False)
    if not recipe.noise:
        return moved
    return moved + (torch.rand(moved.shape, generator=generator) * 2 - 1) * recipe.noise


@torch.no_grad()
def measure(model: nn.Module, split: Split) -> dict[str, object]:
    """Accuracy, accuracy by digit, and the share of images whose top softmax is at least 0.9."""
    images, labels = split
    model.eval()
    confidence, predicted = torch.cat([model(part).softmax(1) for part in images.split(1000)]).max(1)
    right = (predicted == labels).double()
    return {
        "accuracy": right.mean().item(),
        "accuracy_per_digit": [right[labels == digit].mean().item() for digit in range(10)],
        "share_confident": (confidence >= 0.9).double().mean().item(),
    }
