"""The model card of the bundled classifier of 8×8 digits, from the figures that lie beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from denoscope.models.classifier.likeness import Likeness
from training.card import parameters_of, read, save, table

CARD = """\
# DigitsCNN for 8×8 handwritten digits

The classifier of the bundled `digits` and `digits-conditional` denoisers. It was trained apart from them and chose nothing
about them. Input: 1 × 8 × 8, white on black, in [-1, 1]. Output: ten logits. {parameters:,} parameters, float32, safetensors (`digits_cnn.safetensors`,
{kilobytes:.0f} kB).

| on the {test} images held out | |
|---|---|
| accuracy | {accuracy:.2%} |
| top softmax at least 0.9 | {confident:.2%} of the images |

{per_digit}

**Structure.** Three convolutions 3×3 of 16, 16 and 32 maps, maximum pooling after the second and the third, then 48 and 10
units; activations are ReLU.

**Data.** E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, licence CC BY 4.0: the {total:,} images of 8 × 8 pixels with levels 0 to 16 that scikit-learn's
wheel carries. {train:,} to train on, {test} held out, a seeded permutation. They are not part of denoscope. Pixels get uniform noise of one
level's width and are scaled to [-1, 1], as those of the denoisers.

**Recipe.** {epochs} epochs, batches of {batch}, AdamW with weight decay {decay:g}, learning rate {rate:g} falling to zero along a
cosine, cross entropy, float32, seed {seed}. Each image is shifted by up to {shift:g} pixels along each axis, turned by up to
{rotation:g}°, resized by up to {zoom:.0%}, and noised every time it is seen. The recipe was chosen by {folds}-fold cross-validation
within the {train:,} images ({folded:.2%} right); the images held out chose nothing. Minutes on one core. `training.json` holds the figures.

    pip download --no-deps scikit-learn==1.9.1
    python -m training digits_cnn --data scikit_learn-1.9.1-*.whl --out FOLDER
    python -m training digits_rejection --data scikit_learn-1.9.1-*.whl --out FOLDER{flag}

**Limits.** It knows ten digits and, unless asked to reject, gives one to everything. A softmax of 0.9 is how sure the network is,
not how often it is right.

**Rejection** (`ds.classify(images, reject=True)`, `denoscope classify --reject`). An image is no digit, label −1, where its
likeness is below 1:

    likeness = min(evidence / {least:.2f}, {most:.2f} / residue)

The evidence is ln Σ exp(logit); the residue is the L2 distance of the image from the affine space of the first {components}
principal components of the training images. Both thresholds are those at which 1 % of the training images are rejected, as many
by each, where evidence and residue of an image are those of the fold that had not seen it. The columns "evidence" and
"residue" apply one of the two thresholds. Rows have {test} held-out digits, {altered} images made of them, {noises} x_T, {noise:,} images of noise
and {greys} greys{made}.

{rejected}

What likeness misses: most blends of two digits, and parts of digits that are digits of another kind. There a softmax below 0.9
finds more.

Weights and code: Apache-2.0; data: CC BY 4.0.
"""


def write(folder: Path) -> Path:
    """Write README.md from training.json, rejection.json and the weights, which lie in `folder`."""
    training, weights = read(folder / "training.json"), folder / "digits_cnn.safetensors"
    recipe, test, images = training["recipe"], training["test"], training["images"]
    likeness, folds = Likeness.read(folder / "likeness.safetensors"), training["accuracy_per_fold"]
    card = CARD.format(
        parameters=parameters_of(weights),
        kilobytes=weights.stat().st_size / 1e3,
        accuracy=test["accuracy"],
        confident=test["share_confident"],
        per_digit=table(
            ["digit", *map(str, range(10))],
            [["accuracy", *(f"{share:.1%}" for share in test["accuracy_per_digit"])]],
        ),
        total=sum(images.values()),
        train=images["train"],
        test=images["test"],
        epochs=recipe["epochs"],
        batch=recipe["batch_size"],
        decay=recipe["weight_decay"],
        rate=recipe["learning_rate"],
        seed=recipe["seed"],
        shift=recipe["shift"],
        rotation=recipe["rotation"],
        zoom=recipe["zoom"],
        folds=len(folds),
        folded=sum(folds) / len(folds),
        least=float(likeness.least_evidence),
        most=float(likeness.most_residue),
        components=len(likeness.components),
        **_rejection(read(folder / "rejection.json")),
    )
    return save(card, folder)


def _rejection(figures: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the images that were rejected."""
    counts, rates, model = figures["images"], figures["rejected"], figures["model"]
    made = (
        f"; x_0 are {counts['x_0 of x_T']} images of `{model}` by {figures['steps']} DDIM steps"
        if model
        else ""
    )
    return {
        "flag": f" --model {model}" if model else "",
        "altered": counts["black on white"],
        "noises": counts["x_T itself"],
        "noise": counts["uniform noise"],
        "greys": counts["blank, from black to white"],
        "made": made,
        "rejected": table(
            ["% rejected of", *rates["test digits"]],
            [[name, *(f"{100 * rate:.1f}" for rate in of.values())] for name, of in rates.items()],
        ),
    }
