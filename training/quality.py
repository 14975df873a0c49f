"""How good a denoiser's samples of digits are, as its model card states it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from denoscope.figures import images, plots
from denoscope.models.classifier.classification import classify
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from denoscope.sampling.loop import sample
from training import mnist_card

SAMPLES, STEPS, CONFIDENT = 1000, 50, 0.9
ROWS_A_GROUP = 40
PICTURED = 100
"""The first samples, not chosen, of which a picture is written."""


def samples(denoiser: Denoiser, count: int = SAMPLES, condition: Condition = NOTHING) -> torch.Tensor:
    """x_0 of noises 0 … count − 1 by DDIM in 50 steps.

    Noise k is `torch.randn(C, H, W, generator=torch.Generator().manual_seed(k))`.
    """
    seeds = (torch.Generator().manual_seed(seed) for seed in range(count))
    x_T = torch.stack([torch.randn(denoiser.shape, generator=seed) for seed in seeds])
    groups = torch.arange(count).split(ROWS_A_GROUP)
    return torch.cat(
        [sample(denoiser, x_T[rows], steps=STEPS, condition=condition.of(rows.tolist())) for rows in groups]
    )


def class_shares(x_0: torch.Tensor) -> dict[str, object]:
    """How sure the bundled classifier is of images, and the share of each class."""
    labels = classify(x_0)
    shares = np.bincount(labels.label, minlength=10) / len(x_0)
    return {
        "share_with_top_softmax_of_at_least_0.9": float((labels.confidence >= CONFIDENT).mean()),
        "share_of_each_digit": [round(float(share), 4) for share in shares],
    }


def write(figures: dict[str, object], x_0: torch.Tensor, folder: Path) -> None:
    """Write quality.json and samples.png."""
    (folder / "quality.json").write_text(json.dumps(figures, indent=1) + "\n")
    images.contact_sheet(x_0[:PICTURED], folder / "samples.png", columns=20)


def measure(folder: Path) -> dict[str, object]:
    """Sample 1,000 digits of `mnist`, classify them, and write the figures beside the weights.

    Writes quality.json, samples.png and, where training.json lies there, loss.png and the model card.
    """
    x_0 = samples(load(folder, scheduler="ddim"))
    figures: dict[str, object] = {"samples": SAMPLES, "steps": STEPS, **class_shares(x_0)}
    write(figures, x_0, folder)
    training = folder / "training.json"
    if training.exists():
        figure, axes = plots.figure(6, 3.5)
        stages = json.loads(training.read_text())["stages"]
        first = 1
        for number, stage in enumerate(stages, 1):
            losses = stage["loss_per_epoch"]
            label = f"stage {number}, {stage['recipe'].get('noise_levels', 'uniform')} levels"
            axes.semilogy(range(first, first + len(losses)), losses, marker="o", markersize=3, label=label)
            first += len(losses)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.legend(fontsize="small")
        plots.save(figure, folder / "loss.png")
        mnist_card.write(folder)
    return figures
