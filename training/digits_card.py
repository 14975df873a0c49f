"""The model cards of the denoisers `digits` and `digits-conditional`, from the figures beside their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.card import parameters_of, read, save, table
from training.train_digits import STEPS_A_LINE, Recipe

CARD = """\
# {name}

A diffusion model of 8×8 handwritten digits{conditional}, trained for denoscope: small enough for maps, spectra and closed loops on
a laptop. This folder is diffusers' own layout: `UNet2DModel.from_pretrained` and `DDIMScheduler.from_pretrained` load it
without denoscope.

| | |
|---|---|
| network | `UNet2DModel`, {parameters:,} parameters, {kilobytes:.0f} kB; blocks of {blocks} channels, one layer a block, attention at 4×4 |
| predicts | the noise ε in a state [1, 8, 8] (images in [−1, 1]), at 1000 timesteps, linear betas 1e-4 … 0.02 |
| scheduler | {scheduler}; any other may be named |
| data | 1,500 of the 1,797 images of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository (1998), https://doi.org/10.24432/C50P49, licence CC BY 4.0, as scikit-learn's wheel carries them; 297 are held out. The images are not part of denoscope |
| training | {steps:,} steps, batch {batch}, AdamW with learning rate {rate:g} one-cycle, gradients clipped at 1.0, average of the weights with decay {ema:g}, float32, seed {seed}; pixels with uniform noise of one level |
{labels}
The loss is the mean squared error of the noise, {loss:.4f} in the last {line} steps.

![Loss by step](loss.png)

    pip download --no-deps --dest data scikit-learn==1.9.1
    python -m training digits --data data/scikit_learn-1.9.1-*.whl --out FOLDER{flag}
    python -m training bundle --data data/scikit_learn-1.9.1-*.whl --trained FOLDER --out src/denoscope/models/bundled/{name}

## How good its samples are

{samples:,} samples, {ddim} DDIM steps, none left out, beside the 297 images held out; x_T of sample k is
`torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(k))`, k = 0 … {last}{classes}. They are judged by
[DigitsCNN](../digits-cnn/README.md), which was trained apart and chose nothing about this model.

{qualities}

A sample is memorised if its nearest training image is nearer than a third of the distance (L2) to the second nearest.

![The first hundred samples](samples.png)

Rows of the network a second: {slow:,} at 8 rows a call, {fast:,} at 64 (threads: {threads}, float32, not compiled).

## Limits

It knows digits of 8 × 8 pixels and nothing else. Some samples are no digit; the classifier names one all the same, often without
confidence. Noises far outside of the typical shell (norm √64 = 8) lead to images unlike the training data.

Weights and code: Apache-2.0; data: CC BY 4.0.
"""

CLIPPED = "DDIM with `clip_sample=True`, as diffusers has it by default"
UNCLIPPED = """\
DDIM with `clip_sample=False`: clipping, diffusers' default, changes x_0 and keeps ε, and with it 35.5 % of the samples under \
guidance 2 had the class of their label"""
LABELS = """| classes | `class_labels` 0 … 9; 10 is the null class, which {dropout:.0%} of the images had in training: guidance leads away from it |
"""


def write(folder: Path) -> Path:
    """Write README.md from config.json, training.json, quality.json and the weights, which lie in `folder`."""
    quality, training = read(folder / "quality.json"), read(folder / "training.json")
    recipe, weights = training["recipe"], folder / "diffusion_pytorch_model.safetensors"
    measured = {name: value for name, value in quality.items() if isinstance(value, dict) and name != SPEED}
    conditional = recipe["conditional"]
    card = CARD.format(
        name=folder.name,
        scheduler=CLIPPED if read(folder / "scheduler_config.json")["clip_sample"] else UNCLIPPED,
        conditional=" under class labels, and without" if conditional else "",
        parameters=parameters_of(weights),
        kilobytes=weights.stat().st_size / 1e3,
        blocks=", ".join(map(str, read(folder / "config.json")["block_out_channels"])),
        steps=recipe["steps"],
        batch=recipe["batch_size"],
        rate=recipe["learning_rate"],
        ema=recipe["ema"],
        seed=recipe["seed"],
        labels=LABELS.format(dropout=recipe["label_dropout"]) if conditional else "",
        loss=training["losses"][-1],
        line=STEPS_A_LINE,
        flag=" --conditional" * conditional
        + f" --steps {recipe['steps']}" * (recipe["steps"] != Recipe.steps),
        samples=quality["samples"],
        ddim=quality["steps"],
        last=quality["samples"] - 1,
        classes=", label k mod 10" if conditional else "",
        qualities=table(["", *measured], _rows(measured)),
        slow=quality[SPEED]["8"],
        fast=quality[SPEED]["64"],
        threads=quality[SPEED]["threads"],
    )
    return save(card, folder)


def _rows(measured: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The rows of the table of qualities."""
    rows = [
        [title, *(format(of[key], form) if key in of else "–" for of in measured.values())]
        for key, title, form in MEASURES
        if any(key in of for of in measured.values())
    ]
    shares = [of["share_of_each_digit"] for of in measured.values()]
    return rows + [[f"share of {digit}", *(f"{share[digit]:.1%}" for share in shares)] for digit in range(10)]


MEASURES = (
    ("share_with_top_softmax_of_at_least_0.9", "top softmax of at least 0.9", ".1%"),
    ("share_of_the_class_asked_for", "the class of the label", ".1%"),
    ("share_memorised", "memorised", ".1%"),
    ("median_distance_to_training_set", "median distance to the training images", ".2f"),
)
"""Figures of quality.json, their titles and formats."""
SPEED = "rows_per_second"
