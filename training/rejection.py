"""The shares of digits and of other images that a classifier rejects, by rules to tell what is not a digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from denoscope.foundation.writing.atomic_files import write_output
from denoscope.models.classifier.likeness import Likeness, evidence, residue
from denoscope.models.loading import load
from denoscope.sampling.loop import sample

SAMPLES, STEPS, COUNT = 200, 50, 1000
GREYS = 21

Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Which images [n, C, H, W] with logits [n, 10] are rejected: [n] bool."""


def rules_of(found: Likeness) -> dict[str, Rule]:
    """A softmax below 0.9, either threshold of the likeness alone, and the likeness."""
    return {
        "softmax below 0.9": lambda _images, logits: logits.double().softmax(1).amax(1) < 0.9,
        "evidence": lambda _images, logits: evidence(logits) < found.least_evidence,
        "residue": lambda images, _logits: residue(images, found.mean, found.components) > found.most_residue,
        "likeness": lambda images, logits: found(images, logits) < 1,
    }


def measure(
    network: nn.Module, rules: Mapping[str, Rule], digits: torch.Tensor, out: Path, model: str | None
) -> dict[str, object]:
    """The share of digits and of other images that each rule rejects, written to `out`/rejection.json.

    Args:
        digits: those that chose neither the network nor a threshold.
        model: the denoiser whose images are judged too, if any.
    """
    images = sets(digits, model)
    figures: dict[str, object] = {
        "model": model,
        "steps": STEPS if model else None,
        "images": {name: len(some) for name, some in images.items()},
        "rejected": {name: shares(network, rules, some) for name, some in images.items()},
    }
    with write_output(out / "rejection.json") as file:
        file.write((json.dumps(figures, indent=1) + "\n").encode())
    return figures


def shares(network: nn.Module, rules: Mapping[str, Rule], images: torch.Tensor) -> dict[str, float]:
    """The share of images that each rule rejects."""
    logits = logits_of(network, images)
    return {name: float(rejects(images, logits).double().mean()) for name, rejects in rules.items()}


@torch.no_grad()
def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits [n, 10] of images [n, C, H, W]."""
    return torch.cat([network(part) for part in images.split(COUNT)])


def sets(digits: torch.Tensor, model: str | None) -> dict[str, torch.Tensor]:
    """Digits never seen, what a denoiser (if any) makes of noises near and far, and images that are not digits."""
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
        "blank, from black to white": torch.linspace(-1, 1, GREYS).reshape(-1, 1, 1, 1).expand(-1, *shape),
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
