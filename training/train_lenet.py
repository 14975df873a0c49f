"""Train the bundled LeNet-5: minutes on one core, so it starts from the beginning rather than resume."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from denoscope.foundation.writing.atomic_files import write_output
from denoscope.models.classifier.lenet import LeNet5

Split = tuple[torch.Tensor, torch.Tensor]


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
    seed: int = 0


def train(data: dict[str, Split], out: Path, recipe: Recipe | None = None) -> dict[str, object]:
    """Train on "train", write weights and figures to `out`, and return the figures.

    Nothing is chosen by the test split: the last epoch's weights are kept whatever they give, and recipes
    are to be compared by the validation accuracy.
    """
    from safetensors.torch import save as serialized

    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = LeNet5()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    losses, validation = [], []
    for epoch in range(recipe.epochs):
        losses.append(run_epoch(model, optimizer, data["train"], epoch, recipe, generator))
        validation.append(measure(model, data["validation"])["accuracy"])
        print(
            f"epoch {epoch + 1}/{recipe.epochs}: loss {losses[-1]:.5f} validation {validation[-1]:.4f}",
            flush=True,
        )
    figures: dict[str, object] = {
        "test": measure(model, data["test"]),
        "validation_accuracy_per_epoch": validation,
        "loss_per_epoch": losses,
        "recipe": asdict(recipe),
        "torch": torch.__version__,
    }
    with write_output(out / "lenet5.safetensors") as file:
        file.write(serialized(model.state_dict()))
    with write_output(out / "training.json") as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())
    return figures


def run_epoch(
    model: LeNet5,
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
    """Each image shifted, turned and resized at random."""
    shift, turn, zoom = (torch.rand(len(images), k, generator=generator) * 2 - 1 for k in (2, 1, 1))
    angle = turn[:, 0] * math.radians(recipe.rotation)
    size = 1 + zoom[:, 0] * recipe.zoom
    cosine, sine = angle.cos() * size, angle.sin() * size
    # affine_grid counts in half widths of the image.
    move = shift * recipe.shift * 2 / images.shape[-1]
    matrix = torch.stack((cosine, -sine, move[:, 0], sine, cosine, move[:, 1]), 1).view(-1, 2, 3)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def measure(model: LeNet5, split: Split) -> dict[str, object]:
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
