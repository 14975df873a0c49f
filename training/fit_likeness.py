"""Fit what a classifier rejects, and measure it beside other ways to tell digits from what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoscope.foundation.writing.atomic_files import write_output
from denoscope.models.classifier.bundled_classifiers import LENET
from denoscope.models.classifier.likeness import Likeness, evidence, residue
from denoscope.models.loading import load
from denoscope.sampling.loop import sample

Split = tuple[torch.Tensor, torch.Tensor]
SAMPLES, STEPS, COUNT = 200, 50, 1000


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


def measure(data: dict[str, Split], found: Likeness, out: Path) -> dict[str, object]:
    """The share of digits and of what is none that each way rejects, written to `out`/rejection.json.

    All ways but softmax below 0.9 have the threshold that rejects 1 % of the validation digits.
    """
    ways = ways_to_tell(data, found, LENET.load())
    digits = data["validation"][0]
    limits = {name: float(way(digits).quantile(1 - Recipe.rejected)) for name, way in ways.items()}
    limits["likeness"] = -1.0
    ways["softmax below 0.9"], limits["softmax below 0.9"] = ways["softmax"], -0.9
    figures: dict[str, object] = {
        images_of: {name: float((way(images) > limits[name]).double().mean()) for name, way in ways.items()}
        for images_of, images in sets(data["test"][0], "mnist").items()
    }
    write_rates(figures, out)
    return figures


def write_rates(figures: dict[str, object], out: Path) -> None:
    """Write `out`/rejection.json."""
    with write_output(out / "rejection.json") as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())


def ways_to_tell(
    data: dict[str, Split], found: Likeness, network: Any
) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Ways to tell what is no digit: functions of images [n, C, H, W], the larger [n] the stranger."""
    images, labels = data["train"]
    features = features_of(network, images)
    means = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
    spread = torch.cov((features - means[labels]).T, correction=0)
    spread += 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
    factor = torch.linalg.cholesky(torch.linalg.inv(spread))

    def softmax(images: torch.Tensor) -> torch.Tensor:
        return -logits_of(network, images).double().softmax(1).amax(1)

    def margin(images: torch.Tensor) -> torch.Tensor:
        first, second = logits_of(network, images).double().softmax(1).topk(2, 1).values.T
        return second - first

    def mahalanobis(images: torch.Tensor) -> torch.Tensor:
        """To the nearest class mean of the 84 last features, with the covariance that the classes share."""
        apart = (features_of(network, images)[:, None] - means) @ factor
        return apart.square().sum(2).amin(1)

    return {
        "softmax": softmax,
        "margin": margin,
        "Mahalanobis": mahalanobis,
        "evidence": lambda images: -evidence(logits_of(network, images)),
        "residue": lambda images: residue(images, found.mean, found.components),
        "likeness": lambda images: -found(images, logits_of(network, images)),
    }


def sets(digits: torch.Tensor, model: str | None) -> dict[str, torch.Tensor]:
    """Digits never seen, what a denoiser (if any) makes of noises near and far, and what is no digit."""
    generator, shape = torch.Generator().manual_seed(0), digits.shape[1:]
    middle, count = shape[-1] // 2, min(COUNT, len(digits) // 2)
    seeds = (torch.Generator().manual_seed(seed) for seed in range(SAMPLES))
    x_T = torch.stack([torch.randn(shape, generator=seed) for seed in seeds])
    some, others = digits[:count], digits[count : 2 * count]
    return {
        "test digits": digits,
        **(_made(model, x_T) if model else {}),
        "x_T itself": x_T,
        "Gaussian noise, clipped": torch.randn(COUNT, *shape, generator=generator).clamp(-1, 1),
        "uniform noise": torch.rand(COUNT, *shape, generator=generator) * 2 - 1,
        "blank, from black to white": torch.linspace(-1, 1, 21).reshape(-1, 1, 1, 1).expand(-1, *shape),
        "left half erased": _erased(some, slice(None), slice(middle)),
        "right half erased": _erased(some, slice(None), slice(middle, None)),
        "upper half erased": _erased(some, slice(middle), slice(None)),
        "lower half erased": _erased(some, slice(middle, None), slice(None)),
        "black on white": -some,
        "a quarter of the contrast": (some + 1) / 4 - 1,
        "mean of two digits": (some + others) / 2,
        "two digits on top of each other": torch.maximum(some, others),
    }


def _made(model: str, x_T: torch.Tensor) -> dict[str, torch.Tensor]:
    """The images that a denoiser makes of noises and of their multiples."""
    denoiser = load(model)
    return {
        f"x_0 of {name}": torch.cat(
            [sample(denoiser, part, steps=STEPS) for part in (factor * x_T).split(40)]
        )
        for name, factor in (("x_T", 1), ("3 x_T", 3), ("10 x_T", 10), ("100 x_T", 100))
    }


def _erased(images: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    left = images.clone()
    left[..., rows, columns] = -1
    return left


@torch.no_grad()
def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([network(part) for part in images.split(COUNT)])


@torch.no_grad()
def features_of(network: Any, images: torch.Tensor) -> torch.Tensor:
    """What the last layer of a classifier is given, [n, k]."""
    last = network.classifier[:-1]
    return torch.cat([last(network.features(part)) for part in images.split(COUNT)]).double()
