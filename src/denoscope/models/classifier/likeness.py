"""How much an image resembles a digit: the logits of a classifier, and the distance from the space of digits."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


class Likeness(nn.Module):
    """The likeness of images to the digits of a data set: at least 1 for 99 % of these, below 1 for other images.

    likeness = min(evidence / `least_evidence`, `most_residue` / residue); it has no unit. The evidence is
    ln Σ_k exp(logit k) of the classifier of these digits, which is small if none of the ten logits is large. The residue is the L2
    distance of the image from the affine space through the `mean` image along the first principal `components` of the
    training digits. It is large for noise, whose features can resemble a digit's.

    Interpretation: a score to be compared with 1, not a probability.

    Caveats: half of a digit often is a whole digit of another class (the classifiers' cards count them), and two superposed
    digits have large evidence and a small residue.

    Source: evidence: Liu et al., Energy-based out-of-distribution detection, NeurIPS (2020), eq. 4 at T = 1; residue:
    the reconstruction error of principal components, as in Wang et al., ViM, CVPR (2022), there of features.
    """

    mean: torch.Tensor
    components: torch.Tensor
    least_evidence: torch.Tensor
    most_residue: torch.Tensor

    def __init__(
        self, mean: torch.Tensor, components: torch.Tensor, least_evidence: float, most_residue: float
    ):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)
        self.register_buffer("least_evidence", torch.tensor(least_evidence, dtype=torch.float64))
        self.register_buffer("most_residue", torch.tensor(most_residue, dtype=torch.float64))

    def forward(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """The likeness [n] float64 of images [n, C, H, W] with the classifier's logits [n, 10]."""
        far = residue(images, self.mean, self.components)
        return torch.minimum(evidence(logits) / self.least_evidence, self.most_residue / far)

    @classmethod
    def read(cls, path: Path) -> Likeness:
        """The likeness that a file holds."""
        from safetensors.torch import load_file

        stored = load_file(path)
        least, most = (float(stored[name]) for name in ("least_evidence", "most_residue"))
        return cls(stored["mean"], stored["components"], least, most)


def evidence(logits: torch.Tensor) -> torch.Tensor:
    """ln Σ exp(logit) [n] of logits [n, 10]."""
    return logits.double().logsumexp(1)


def residue(images: torch.Tensor, mean: torch.Tensor, components: torch.Tensor) -> torch.Tensor:
    """The L2 distance [n] of images [n, C, H, W] from the space through the mean [d] along the components [k, d].

    The components are orthonormal.
    """
    # In double precision the square of every finite float32 is finite.
    away, along = images.double().flatten(1) - mean.double(), components.double()
    return (away - (away @ along.T) @ along).norm(dim=1)
