"""How near samples of a denoiser are to the images that it was trained on."""

from __future__ import annotations

import torch

NEARER = 1 / 3
"""A sample is memorised if its nearest training image is nearer than this share of the distance to the second nearest."""


def measure(images: torch.Tensor, training: torch.Tensor) -> dict[str, float]:
    """The median L2 distance of images [n, C, H, W] to the training images, and the share that is memorised.

    Source: the ratio of the two nearest distances: Yoon et al., Diffusion probabilistic models generalize when they fail
    to memorize, ICML workshop (2023), with the threshold 1/3.
    """
    distances = torch.cdist(images.double().flatten(1), training.double().flatten(1))
    first, second = distances.topk(2, dim=1, largest=False).values.T
    return {
        "median_distance_to_training_set": float(first.median()),
        "share_memorised": float((first < NEARER * second).double().mean()),
    }
