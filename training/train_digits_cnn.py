"""Train the bundled classifier of 8×8 digits, fit what it rejects, and measure both on images never seen."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from denoscope.models.classifier.bundled_classifiers import DIGITS_CNN
from denoscope.models.classifier.digits_cnn import DigitsCNN
from denoscope.models.classifier.likeness import Likeness, evidence, residue
from training import classifier_card, fit_likeness, rejection
from training.digits_data import HALF_LEVEL, centred, dequantised
from training.rejection import logits_of
from training.split import Split
from training.train_classifier import Recipe, measure, optimizer_of, run_epoch, write

NAME = "digits_cnn"
RECIPE = Recipe(epochs=100, batch_size=64, shift=0.5, rotation=10.0, noise=HALF_LEVEL)
LIKENESS = fit_likeness.Recipe(components=20)
FOLDS = 5


def train(
    data: dict[str, Split], out: Path, recipe: Recipe = RECIPE, likeness: fit_likeness.Recipe = LIKENESS
) -> dict[str, object]:
    """Train on all of "train", write weights, likeness and figures to `out`, and return the figures.

    Recipes are to be compared by the accuracy of cross-validation within "train": "test" chooses nothing.

    Args:
        data: pixels 0 … 16 and labels.
    """
    accuracies, seen, far = cross_validated(data["train"], recipe, likeness.components)
    network, losses = fitted(data["train"], recipe)
    figures: dict[str, object] = {
        "test": measure(network, noised(data["test"], seed=1)),
        "images": {name: len(images) for name, (images, _labels) in data.items()},
        "accuracy_per_fold": accuracies,
        "loss_per_epoch": losses,
        "recipe": asdict(recipe),
        "torch": torch.__version__,
    }
    write(network, NAME, figures, out)
    space = fit_likeness.space_of(noised(data["train"], seed=0)[0], likeness.components)
    found = Likeness(*space, *fit_likeness.thresholds(seen, far, likeness.rejected))
    fit_likeness.write(found, out, likeness)
    return figures


def cross_validated(
    split: Split, recipe: Recipe, components: int
) -> tuple[list[float], torch.Tensor, torch.Tensor]:
    """The accuracy of each fold, and evidence and residue [n] of images that network and components had not seen."""
    accuracies, unseen = [], []
    parts = torch.randperm(len(split[0]), generator=torch.Generator().manual_seed(recipe.seed)).chunk(FOLDS)
    for k, part in enumerate(parts):
        others = torch.cat(parts[:k] + parts[k + 1 :])
        rest = (split[0][others], split[1][others])
        left = noised((split[0][part], split[1][part]), seed=2 + k)
        network, _losses = fitted(rest, recipe)
        space = fit_likeness.space_of(noised(rest, seed=0)[0], components)
        logits = logits_of(network, left[0])
        accuracies.append(float((logits.argmax(1) == left[1]).double().mean()))
        unseen.append(torch.stack([evidence(logits), residue(left[0], *space)]))
        print(f"fold {k + 1}/{FOLDS}: accuracy {accuracies[-1]:.4f}", flush=True)
    seen, far = torch.cat(unseen, 1)
    return accuracies, seen, far


def measure_rejection(data: dict[str, Split], out: Path, model: str | None) -> dict[str, object]:
    """The shares of digits and of other images that softmax and likeness reject, in `out`/rejection.json and the card.

    Args:
        model: the denoiser whose images are judged too, if any.
    """
    network, found = DIGITS_CNN.load(out / f"{NAME}.safetensors"), Likeness.read(out / "likeness.safetensors")
    images, _labels = noised(data["test"], seed=1)
    figures = rejection.measure(network, rejection.rules_of(found), images, out, model)
    classifier_card.write(out)
    return figures


def fitted(split: Split, recipe: Recipe) -> tuple[nn.Module, list[float]]:
    """A network trained on pixels 0 … 16 and labels, and the loss of each epoch."""
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    network, images = DigitsCNN(), (centred(split[0]), split[1])
    optimizer = optimizer_of(network, recipe)
    losses = [
        run_epoch(network, optimizer, images, epoch, recipe, generator) for epoch in range(recipe.epochs)
    ]
    return network.eval(), losses


def noised(split: Split, *, seed: int) -> Split:
    """Images as the denoiser's data are, with uniform noise of one level, and their labels."""
    return dequantised(split[0], torch.Generator().manual_seed(seed)), split[1]
