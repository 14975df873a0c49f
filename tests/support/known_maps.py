"""Maps with known orbits, as functions of a state."""

import torch


def start(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def logistic(r: float):
    return lambda x: r * x * (1 - x)


def logistic_in_place(r: float):
    """The logistic map, which overwrites the state that it is given."""
    return lambda x: x.mul_(r * (1 - x))


def henon(a: float = 1.4, b: float = 0.3):
    return lambda x: torch.stack((1 - a * x[0] ** 2 + x[1], b * x[0]))
