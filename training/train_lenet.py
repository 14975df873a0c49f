"""Train the bundled LeNet-5."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from denoscope.models.classifier.lenet import LeNet5
from training.split import Split
from training.train_classifier import Recipe, measure, optimizer_of, run_epoch, write


def train(data: dict[str, Split], out: Path, recipe: Recipe | None = None) -> dict[str, object]:
    """Train on "train", write weights and figures to `out`, and return the figures.

    Nothing is chosen by the test split: the last epoch's weights are kept whatever they give, and recipes
    are to be compared by the validation accuracy.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    model = LeNet5()
    optimizer = optimizer_of(model, recipe)
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
    write(model, "lenet5", figures, out)
    return figures
