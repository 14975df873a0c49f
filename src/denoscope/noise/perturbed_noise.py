"""A base noise and perturbed copies of it at one distance."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from denoscope.config import DefaultConfig
from denoscope.foundation import tensor_files
from denoscope.foundation.arguments import calls_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import parse_integer, parse_real
from denoscope.noise import gaussian_norms
from denoscope.noise.directions import LARGEST, Directions, direction, normal, parse_directions, simplex
from denoscope.noise.noise_set import NoiseSet, Shape, check_not_swapped, check_shape

ROUNDS = 8
"""The most corrections of a step for rounding; each divides its error by about the size of an epsilon of float32."""
TOLERANCE = 1e-3
"""The largest relative error of a distance."""
CHECKED = 1000
"""The number of noises whose distance and norm are computed when a set is made."""
KINDS = {"random": "pert", "simplex": "simplex"}
"""The word in a noise's name for the kind of its direction; "along" for given directions."""


@dataclass(frozen=True, eq=False, repr=False)
class PerturbedNoise(NoiseSet):
    """A base noise (index 0) and perturbed copies of it; made by `perturbed`."""

    num_perturbations: int
    shape: Shape
    epsilon: float
    base_seed: int
    perturb_seed: int
    directions: str | torch.Tensor
    """random, simplex, or unit vectors [n, C, H, W] in float64."""

    def __len__(self) -> int:
        return self.num_perturbations + 1

    def _name(self, index: int) -> str:
        if index == 0:
            return f"{self._group}_base"
        return f"{self._group}_{self._kind}_{index - 1:03d}_eps_{self._size}"

    def _tensor(self, index: int) -> torch.Tensor:
        base = normal(self.shape, "base", self.base_seed)
        return base if index == 0 else _at_distance(base, self._direction(index - 1), self.epsilon)

    def _direction(self, index: int) -> torch.Tensor:
        """The unit vector [C, H, W] of a perturbation, float64."""
        if isinstance(self.directions, torch.Tensor):
            return self.directions[index]
        if self.directions == "simplex":
            return simplex(self.shape, self.num_perturbations, self.perturb_seed)[index]
        return direction(self.shape, "perturbation", self.perturb_seed, index)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        epsilons = np.full(len(self), self.epsilon)
        epsilons[0] = 0.0
        return {"base": np.array([self._name(0)] * len(self)), "epsilon": epsilons}

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "kind": "perturbed",
            "num_perturbations": self.num_perturbations,
            "epsilon": self.epsilon,
            "base_seed": self.base_seed,
            **self._direction_parameters,
        }

    @property
    def _direction_parameters(self) -> dict[str, Any]:
        if isinstance(self.directions, torch.Tensor):
            return {"directions_sha256": tensor_files.sha256(self.directions)}
        kind = {} if self.directions == "random" else {"directions": self.directions}
        return {**kind, "perturb_seed": self.perturb_seed}

    @functools.cached_property
    def norms(self) -> tuple[float, float]:
        """The smallest and the largest norm (L2) of the base and the first thousand perturbations."""
        norms = [float(self.tensor(index).double().norm()) for index in range(min(len(self), 1 + CHECKED))]
        return min(norms), max(norms)

    @property
    def warnings(self) -> list[str]:
        """A line if one of these norms is not that of Gaussian noise."""
        return gaussian_norms.warnings(
            "the base and its perturbations",
            self.norms,
            self.shape,
            advice=f"choose a smaller {spelled('epsilon')}",
        )

    @property
    def stem(self) -> str:
        kind = "" if self._kind == KINDS["random"] else f"_{self._kind}"
        return f"{self._group}{kind}_eps_{self._size}"

    @property
    def _group(self) -> str:
        return f"set_{self.base_seed:04d}"

    @property
    def _kind(self) -> str:
        return KINDS[self.directions] if isinstance(self.directions, str) else "along"

    @property
    def _size(self) -> str:
        """Epsilon in a name: four decimals if they are exact, otherwise all, so that no two epsilons share a name."""
        short = f"{self.epsilon:.4f}"
        return short if float(short) == self.epsilon else repr(self.epsilon)


@calls_checked
def perturbed(
    num_perturbations: int,
    shape: Shape,
    *,
    epsilon: float = DefaultConfig.epsilon,
    base_seed: int = DefaultConfig.base_seed,
    perturb_seed: int = DefaultConfig.perturb_seed,
    directions: Directions = DefaultConfig.directions,
) -> PerturbedNoise:
    """A base noise and perturbed copies of it, each at L2 distance `epsilon` in its own direction.

    The distance holds for the float32 tensors: each step is corrected for their rounding.

    Args:
        num_perturbations: number of perturbed noises, beside the base.
        shape: (C, H, W) of each noise.
        epsilon: the distance (L2). The default of 500 leaves the norms of Gaussian noise far behind in most models, as
            `warnings` says; 0.001 to 0.1 are small perturbations.
        directions: "random": independent directions, uniform on the sphere. "simplex": the corners of a randomly rotated
            regular simplex; all pairs have the same angle, and the corners sum to zero; 2 to C·H·W + 1 of them. Or a
            tensor [n, C, H, W], or a .pt file that holds one, such as `spectrum(…).right`; its first rows are used.
        perturb_seed: seed of random and simplex directions.

    Raises: UserError if float32 cannot represent the distance to one part in a thousand, or the directions do not fit.
        The distances of the first thousand are checked here, those of others when they are read.
    """
    check_not_swapped(num_perturbations, "num_perturbations", shape)
    shape = check_shape(shape)
    count = parse_integer(num_perturbations, "num_perturbations", minimum=1)
    noises = PerturbedNoise(
        num_perturbations=count,
        shape=shape,
        epsilon=parse_real(epsilon, "epsilon", above=0, maximum=LARGEST),
        base_seed=parse_integer(base_seed, "base_seed"),
        perturb_seed=parse_integer(perturb_seed, "perturb_seed"),
        directions=parse_directions(directions, shape, count),
    )
    noises.norms  # noqa: B018 - raises here if float32 cannot represent a distance
    return noises


def _at_distance(base: torch.Tensor, unit: torch.Tensor, epsilon: float) -> torch.Tensor:
    """base + epsilon·unit in float32, the step corrected until the distance of the rounded tensors is epsilon."""
    step, wide = epsilon, base.double()
    best, error = base, math.inf
    for _ in range(ROUNDS):
        moved = (wide + step * unit).float()
        distance = (moved.double() - wide).norm().item()
        if abs(distance - epsilon) < error:
            best, error = moved, abs(distance - epsilon)
        if distance == 0:
            break
        step *= epsilon / distance
    if error > TOLERANCE * epsilon:
        raise UserError(
            f"{spelled('epsilon')} is {epsilon}, too small for float32 noises of this norm; "
            f"allowed: about {1e-6 * wide.norm().item():.0e} and more"
        )
    return best
