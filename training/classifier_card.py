"""The model card of the bundled classifier of 8×8 digits, from the figures that lie beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from denoscope.models.classifier.digits_cnn import DigitsCNN
from denoscope.models.classifier.likeness import Likeness
from training.card import read

CARD = """\
# DigitsCNN for 8×8 handwritten digits

The classifier of the bundled `digits` and `digits-conditional` denoisers. It was trained apart from them and chose nothing
about them. Input: 1 × 8 × 8, white on black, in [-1, 1]. Output: ten logits. {parameters:,} parameters, float32, safetensors
(`digits_cnn.safetensors`, {kilobytes:.0f} kB).

| on the 297 images held out | |
|---|---|
| accuracy | {accuracy:.2%} |
| top softmax at least 0.9 | {confident:.2%} of the images |

| digit | {digits} |
|---|{lines}|
| accuracy | {per_digit} |

**Structure.** Three convolutions 3×3 of 16, 16 and 32 maps, maximum pooling after the second and the third, then 48 and 10
units; activations are ReLU.

**Data.** E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, licence CC BY 4.0: the 1,797 images of 8 × 8 pixels with levels 0 to 16 that scikit-learn's
wheel carries. 1,500 to train on, 297 held out, a seeded permutation. They are not part of denoscope. Pixels get uniform noise of one
level's width and are scaled to [-1, 1], as those of the denoisers.

**Recipe.** {epochs} epochs, batches of {batch}, AdamW with weight decay {decay:g}, learning rate {rate:g} falling to zero along a
cosine, cross entropy, float32, seed {seed}. Each image is shifted by up to {shift:g} pixels along each axis, turned by up to
{rotation:g}°, resized by up to {zoom:.0%}, and noised every time it is seen. The recipe was chosen by five-fold cross-validation
within the 1,500 images ({folded:.2%} right); the images held out chose nothing. Minutes on one core. `training.json` holds the figures.

    pip download --no-deps scikit-learn==1.9.1
    python -m training digits_cnn --data scikit_learn-1.9.1-*.whl --out FOLDER
    python -m training digits_rejection --data scikit_learn-1.9.1-*.whl --out FOLDER --model digits

**Limits.** It knows ten digits and, unless asked to reject, gives one to everything. A softmax of 0.9 is how sure the network is,
not how often it is right.

**Rejection** (`ds.classify(images, reject=True)`, `denoscope classify --reject`). An image is no digit, label −1, where its
likeness is below 1:

    likeness = min(evidence / {least:.2f}, {most:.2f} / residue)

The evidence is ln Σ exp(logit); the residue is the L2 distance of the image from the affine space of the first {components}
principal components of the training images. Both thresholds are those at which 1 % of the training images are rejected, as many
by each, where evidence and residue of an image are those of the fold that had not seen it. The columns "evidence" and
"residue" apply one of the two thresholds. Rows have 297 held-out digits, 148 images made of them, 200 x_T, 1,000 images of noise
and 21 greys{made}.

| % rejected of | {ways} |
|---|{way_lines}|
{rates}

What likeness misses: most blends of two digits, and parts of digits that are digits of another kind. There a softmax below 0.9
finds more.

Weights and code: Apache-2.0; data: CC BY 4.0.
"""


def write(folder: Path) -> Path:
    """Write README.md from training.json, rejection.json and the weights, which lie in `folder`."""
    training, rates = read(folder / "training.json"), read(folder / "rejection.json")
    recipe, test = training["recipe"], training["test"]
    likeness, weights = Likeness.read(folder / "likeness.safetensors"), folder / "digits_cnn.safetensors"
    folds = training["accuracy_per_fold"]
    ways = list(next(iter(rates.values())))
    card = CARD.format(
        parameters=sum(parameter.numel() for parameter in DigitsCNN().parameters()),
        kilobytes=weights.stat().st_size / 1e3,
        accuracy=test["accuracy"],
        confident=test["share_confident"],
        digits=" | ".join(map(str, range(10))),
        lines="|".join(["---"] * 10),
        per_digit=" | ".join(f"{share:.1%}" for share in test["accuracy_per_digit"]),
        epochs=recipe["epochs"],
        batch=recipe["batch_size"],
        decay=recipe["weight_decay"],
        rate=recipe["learning_rate"],
        seed=recipe["seed"],
        shift=recipe["shift"],
        rotation=recipe["rotation"],
        zoom=recipe["zoom"],
        folded=sum(folds) / len(folds),
        least=float(likeness.least_evidence),
        most=float(likeness.most_residue),
        components=len(likeness.components),
        made="; x_0 are 200 images of `digits` by 50 DDIM steps" if "x_0 of x_T" in rates else "",
        ways=" | ".join(ways),
        way_lines="|".join(["---"] * len(ways)),
        rates="\n".join(row(name, of_images) for name, of_images in rates.items()),
    )
    path = folder / "README.md"
    path.write_text(card)
    return path


def row(name: str, rates: Mapping[str, float]) -> str:
    """The row of the table for one kind of images."""
    return f"| {name} | " + " | ".join(f"{100 * rate:.1f}" for rate in rates.values()) + " |"
