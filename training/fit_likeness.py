"""Fit what the bundled LeNet-5 rejects, and measure it beside other ways to tell digits from what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from denoscope.foundation.writing.atomic_files import write_output
from denoscope.models.classifier import lenet
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
    from safetensors.torch import save as serialized

    recipe = recipe or Recipe()
    pixels = data["train"][0].double().flatten(1)
    mean = pixels.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov(pixels.T))
    # Rounded as they are stored, before the thresholds are chosen.
    mean, components = mean.float(), vectors[:, -recipe.components :].T.float().contiguous()
    images = data["validation"][0]
    least, most = thresholds(evidence(logits_of(images)), residue(images, mean, components), recipe.rejected)
    found = Likeness(mean, components, least, most)
    with write_output(out / "likeness.safetensors") as file:
        file.write(serialized(found.state_dict(), metadata={"recipe": json.dumps(asdict(recipe))}))
    return found


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
    ways = ways_to_tell(data, found)
    digits = data["validation"][0]
    limits = {name: float(way(digits).quantile(1 - Recipe.rejected)) for name, way in ways.items()}
    limits["likeness"] = -1.0
    ways["softmax below 0.9"], limits["softmax below 0.9"] = ways["softmax"], -0.9
    figures: dict[str, object] = {
        images_of: {name: float((way(images) > limits[name]).double().mean()) for name, way in ways.items()}
        for images_of, images in sets(data["test"][0]).items()
    }
    with write_output(out / "rejection.json") as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())
    return figures


def ways_to_tell(
    data: dict[str, Split], found: Likeness
) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Ways to tell what is no digit: functions of images [n, 1, 28, 28], the larger [n] the stranger."""
    images, labels = data["train"]
    features = features_of(images)
    means = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
    spread = torch.cov((features - means[labels]).T, correction=0)
    spread += 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
    factor = torch.linalg.cholesky(torch.linalg.inv(spread))

    def softmax(images: torch.Tensor) -> torch.Tensor:
        return -logits_of(images).double().softmax(1).amax(1)

    def margin(images: torch.Tensor) -> torch.Tensor:
        first, second = logits_of(images).double().softmax(1).topk(2, 1).values.T
        return second - first

    def mahalanobis(images: torch.Tensor) -> torch.Tensor:
        """To the nearest class mean of the 84 last features, with the covariance that the classes share."""
        apart = (features_of(images)[:, None] - means) @ factor
        return apart.square().sum(2).amin(1)

    return {
        "softmax": softmax,
        "margin": margin,
        "Mahalanobis": mahalanobis,
        "evidence": lambda images: -evidence(logits_of(images)),
        "residue": lambda images: residue(images, found.mean, found.components),
        "likeness": lambda images: -found(images, logits_of(images)),
    }


def sets(digits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Digits never seen, what the bundled denoiser makes of noises near and far, and what is no digit."""
    denoiser, generator = load("mnist"), torch.Generator().manual_seed(0)
    seeds = (torch.Generator().manual_seed(seed) for seed in range(SAMPLES))
    x_T = torch.stack([torch.randn(denoiser.shape, generator=seed) for seed in seeds])
    some, others = digits[:COUNT], digits[COUNT : 2 * COUNT]
    made = {
        f"x_0 of {name}": torch.cat(
            [sample(denoiser, part, steps=STEPS) for part in (factor * x_T).split(40)]
        )
        for name, factor in (("x_T", 1), ("3 x_T", 3), ("10 x_T", 10), ("100 x_T", 100))
    }
    return {
        "test digits": digits,
        **made,
        "x_T itself": x_T,
        "Gaussian noise, clipped": torch.randn(COUNT, 1, 28, 28, generator=generator).clamp(-1, 1),
        "uniform noise": torch.rand(COUNT, 1, 28, 28, generator=generator) * 2 - 1,
        "blank, from black to white": torch.linspace(-1, 1, 21).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28),
        "left half erased": _erased(some, slice(None), slice(14)),
        "right half erased": _erased(some, slice(None), slice(14, 28)),
        "upper half erased": _erased(some, slice(14), slice(None)),
        "lower half erased": _erased(some, slice(14, 28), slice(None)),
        "black on white": -some,
        "a quarter of the contrast": (some + 1) / 4 - 1,
        "mean of two digits": (some + others) / 2,
        "two digits on top of each other": torch.maximum(some, others),
    }


def _erased(images: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    left = images.clone()
    left[..., rows, columns] = -1
    return left


@torch.no_grad()
def logits_of(images: torch.Tensor) -> torch.Tensor:
    network = lenet.load()
    return torch.cat([network(part) for part in images.split(COUNT)])


@torch.no_grad()
def features_of(images: torch.Tensor) -> torch.Tensor:
    """What the last layer of the network is given, [n, 84]."""
    network = lenet.load()
    last = network.classifier[:-1]
    return torch.cat([last(network.features(part)) for part in images.split(COUNT)]).double()
