"""Make a bundled model of a trained `digits` or `digits-conditional` denoiser: its weights, its figures and its card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denoscope.figures import plots
from denoscope.models.classifier.classification import classify
from denoscope.models.conditioning import NOTHING, Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.loading import load
from training import digits_card, memorisation, quality, speed, train_digits
from training.digits_data import centred, dequantised
from training.split import Split

GUIDANCE = 2.0


def bundle(data: dict[str, Split], trained: Path, out: Path, *, samples: int = quality.SAMPLES) -> Path:
    """Copy a trained denoiser to a folder named as the model, measure it and write its card.

    Args:
        data: pixels 0 … 16 and labels.
        trained: the folder that `train_digits.train` wrote.
        out: for example src/denoscope/models/bundled/digits.
    """
    conditional, losses = _copy(trained, out)
    denoiser = load(out, scheduler="ddim")
    held_out = dequantised(data["test"][0], torch.Generator().manual_seed(1))
    images = centred(data["train"][0])
    figures: dict[str, Any] = {
        "samples": samples,
        "steps": quality.STEPS,
        "held out": quality.class_shares(held_out) | memorisation.measure(held_out, images),
    }
    sampled: dict[str, torch.Tensor] = {}
    for name, condition, asked in _conditions(denoiser, conditional, samples):
        x_0 = sampled[name] = quality.samples(denoiser, samples, condition)
        figures[name] = quality.class_shares(x_0) | memorisation.measure(x_0, images)
        if asked is not None:
            figures[name]["share_of_the_class_asked_for"] = float(np.mean(classify(x_0).label == asked))
    some = NOTHING if not conditional else denoiser.condition_of_labels([0])
    figures["rows_per_second"] = speed.rows_per_second(denoiser, some)
    quality.write(figures, next(iter(sampled.values())), out)
    _draw_losses(losses, out)
    return digits_card.write(out)


def _copy(trained: Path, out: Path) -> tuple[bool, list[float]]:
    """Copy a trained denoiser; whether it takes labels, and its losses."""
    from diffusers import UNet2DModel

    history = json.loads((trained / "training.json").read_text())
    recipe = train_digits.Recipe(**history["recipe"])
    network = UNet2DModel.from_pretrained(trained, use_safetensors=True, low_cpu_mem_usage=False)
    train_digits.save_denoiser(network, out)
    train_digits.save_history(recipe, history["losses"], out)
    return recipe.conditional, history["losses"]


def _conditions(
    denoiser: Denoiser, conditional: bool, samples: int
) -> Iterator[tuple[str, Condition, list[int] | None]]:
    """The ways to sample the denoiser: names in the card, conditions, and the digits that they ask for, if any."""
    if not conditional:
        yield "unconditional", NOTHING, None
        return
    labels = [k % train_digits.CLASSES for k in range(samples)]
    yield "under labels", denoiser.condition_of_labels(labels), labels
    yield f"guidance {GUIDANCE:g}", denoiser.condition_of_labels(labels, scale=GUIDANCE), labels
    null = torch.full((samples,), train_digits.CLASSES)
    yield "null class", Condition({"class_labels": null}), None


def _draw_losses(losses: list[float], folder: Path) -> None:
    figure, axes = plots.figure(6, 3.5)
    axes.semilogy(range(1, len(losses) + 1), losses)
    axes.set(xlabel=f"{train_digits.STEPS_A_LINE} steps", ylabel="mean squared error of the noise")
    plots.save(figure, folder / "loss.png")
