"""Fit what a classifier rejects; compare LeNet-5's likeness with other ways to tell what is not a digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from denoscope.foundation.writing.atomic_files import write_output
from denoscope.models.classifier.bundled_classifiers import LENET
from denoscope.models.classifier.likeness import Likeness, evidence, residue
from training import rejection
from training.rejection import COUNT, Rule, logits_of
from training.split import Split

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""How strange images [n, C, H, W] with logits [n, 10] are: [n], larger for stranger images."""


@dataclass(frozen=True)
class Recipe:
    """How it is fitted; the model card repeats it."""

    components: int = 50
    rejected: float = 0.01
    """Share of the validation digits that lie beyond the thresholds."""


def fit(data: dict[str, Split], out: Path, recipe: Recipe | None = None) -> Likeness:
    """Principal components of "train", thresholds of "validation"; written to `out`/likeness.safetensors."""
    recipe = recipe or Recipe()
    mean, components = space_of(data["train"][0], recipe.components)
    images, network = data["validation"][0], LENET.load()
    found = Likeness(
        mean,
        components,
        *thresholds(evidence(logits_of(network, images)), residue(images, mean, components), recipe.rejected),
    )
    write(found, out, recipe)
    return found


def space_of(images: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean [d] of images and their first principal components [count, d], rounded as they are stored."""
    pixels = images.double().flatten(1)
    _, vectors = torch.linalg.eigh(torch.cov(pixels.T))
    return pixels.mean(0).float(), vectors[:, -count:].T.float().contiguous()


def write(found: Likeness, out: Path, recipe: Recipe) -> None:
    """Write `out`/likeness.safetensors."""
    from safetensors.torch import save as serialized

    with write_output(out / "likeness.safetensors") as file:
        file.write(serialized(found.state_dict(), metadata={"recipe": json.dumps(asdict(recipe))}))


def thresholds(evidence: torch.Tensor, residue: torch.Tensor, rejected: float) -> tuple[float, float]:
    """The least evidence and the most residue, both [n] of digits, that spare all but the share `rejected` of these.

    Each threshold alone rejects as many as the other.
    """
    weakest, farthest = evidence.argsort(descending=True), residue.argsort()
    ranks = torch.stack([weakest.argsort(), farthest.argsort()]).amax(0)
    last = int(ranks.sort().values[round(len(ranks) * (1 - rejected)) - 1])
    return float(evidence[weakest[last]]), float(residue[farthest[last]])


def measure(
    data: dict[str, Split], found: Likeness, out: Path, model: str | None = "mnist"
) -> dict[str, object]:
    """The shares of digits and of other images that LeNet-5 rejects by each rule, in `out`/rejection.json.

    All rules but softmax below 0.9 have the threshold that rejects 1 % of the validation digits.
    """
    network = LENET.load()
    return rejection.measure(network, rules(data, found, network), data["test"][0], out, model)


def rules(data: dict[str, Split], found: Likeness, network: Any) -> dict[str, Rule]:
    """Rules that reject 1 % of the validation digits, and softmax below 0.9."""
    digits, known = data["validation"][0], rejection.rules_of(found)
    logits = logits_of(network, digits)
    limited = {
        name: _beyond(score, float(score(digits, logits).quantile(1 - Recipe.rejected)))
        for name, score in scores(data["train"], found, network).items()
    }
    return limited | {name: known[name] for name in ("likeness", "softmax below 0.9")}


def _beyond(score: Score, limit: float) -> Rule:
    return lambda images, logits: score(images, logits) > limit


def scores(digits: Split, found: Likeness, network: Any) -> dict[str, Score]:
    """Ways to tell what is not a digit."""
    images, labels = digits
    features = features_of(network, images)
    means = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
    spread = torch.cov((features - means[labels]).T, correction=0)
    spread += 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
    factor = torch.linalg.cholesky(torch.linalg.inv(spread))

    def margin(_images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        first, second = logits.double().softmax(1).topk(2, 1).values.T
        return second - first

    def mahalanobis(images: torch.Tensor, _logits: torch.Tensor) -> torch.Tensor:
        """To the nearest class mean of the last features, with the covariance that the classes share."""
        apart = (features_of(network, images)[:, None] - means) @ factor
        return apart.square().sum(2).amin(1)

    return {
        "softmax": lambda _images, logits: -logits.double().softmax(1).amax(1),
        "margin": margin,
        "Mahalanobis": mahalanobis,
        "evidence": lambda _images, logits: -evidence(logits),
        "residue": lambda images, _logits: residue(images, found.mean, found.components),
    }


@torch.no_grad()
def features_of(network: Any, images: torch.Tensor) -> torch.Tensor:
    """What the last layer of a classifier is given, [n, k]."""
    last = network.classifier[:-1]
    return torch.cat([last(network.features(part)) for part in images.split(COUNT)]).double()
