"""How good a bundled digit model's samples are, as its model card states it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from denoscope.figures import images, plots
from denoscope.models.classifier.labels import classify
from denoscope.models.loading import load
from denoscope.sampling.loop import sample
from training import card

SAMPLES, STEPS, CONFIDENT = 1000, 50, 0.9


def measure(folder: Path) -> dict[str, object]:
    """Sample 1,000 digits (DDIM, 50 steps, seeds 0 … 999), classify them, and write the figures beside the weights.

    Noise k is `torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(k))`.

    Writes quality.json, samples.png (the first 100, not chosen) and, where training.json lies there,
    loss.png and the model card.
    """
    denoiser = load(folder, scheduler="ddim")
    seeds = (torch.Generator().manual_seed(seed) for seed in range(SAMPLES))
    x_T = torch.stack([torch.randn(denoiser.shape, generator=seed) for seed in seeds])
    x_0 = torch.cat([sample(denoiser, part, steps=STEPS) for part in x_T.split(40)])
    labels = classify(x_0)
    shares = np.bincount(labels.label, minlength=10) / SAMPLES
    figures: dict[str, object] = {
        "samples": SAMPLES,
        "steps": STEPS,
        "share_with_top_softmax_of_at_least_0.9": float((labels.confidence >= CONFIDENT).mean()),
        "share_of_each_digit": [round(float(share), 4) for share in shares],
    }
    (folder / "quality.json").write_text(json.dumps(figures, indent=1) + "\n")
    images.contact_sheet(x_0[:100], folder / "samples.png", columns=20)
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
        card.write(folder)
    return figures
