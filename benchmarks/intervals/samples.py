"""Cases of intervals that are measured over samples: trajectories, states, images and pairs."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import torch
import xarray

from benchmarks.intervals.case import Case, Draw
from denoscope import dynamics
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.loops.closed_loop import first_step_of
from denoscope.dynamics.sensitivity.denoising_map import DenoisingMap
from denoscope.models.denoiser import Denoiser
from denoscope.sampling.settings import Loop

Generator = np.random.Generator
DECAY = 0.8 ** np.arange(50)
STEPS = 5


def participation(rng: Generator, variances: np.ndarray, samples: int, corrected: bool) -> Draw:
    states = rng.standard_normal((samples, 1, len(variances))) * np.sqrt(variances)
    found = dynamics.participation(states)
    if corrected:
        return Draw(found.corrected_intervals[0], float(variances.sum() ** 2 / (variances**2).sum()))
    return Draw(found.intervals[0], mean_ratio(tuple(variances), samples))


@cache
def mean_ratio(variances: tuple[float, ...], samples: int) -> float:
    """The mean participation ratio of so many samples, over 2,000 sets of them, from eigenvalues."""
    rng, ratios = np.random.default_rng(1), []
    for _ in range(2000):
        states = rng.standard_normal((samples, len(variances))) * np.sqrt(variances)
        values = np.linalg.svd(states - states.mean(axis=0), compute_uv=False) ** 2
        ratios.append(values.sum() ** 2 / (values**2).sum())
    return float(np.mean(ratios))


def pair(rng: Generator, strength: float, own: int, samples: int) -> list[np.ndarray]:
    """States with three common directions of variance strength², and `own` independent ones of variance 1."""
    common = strength * rng.standard_normal((samples, 3))
    return [np.hstack([common, rng.standard_normal((samples, own))]) for _ in range(2)]


@cache
def mean_cka(strength: float, own: int, samples: int) -> float:
    """The mean CKA of so many samples, over 2,000 sets of them, from covariances of features."""
    rng, found = np.random.default_rng(1), []
    for _ in range(2000):
        x, y = (states - states.mean(axis=0) for states in pair(rng, strength, own, samples))
        norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
        found.append(np.linalg.norm(y.T @ x) ** 2 / norms)
    return float(np.mean(found))


def cka(rng: Generator, strength: float, own: int, samples: int, debiased: bool) -> Draw:
    found = dynamics.linear_cka(*pair(rng, strength, own, samples))
    if debiased:
        return Draw(found.debiased_interval, 3 * strength**4 / (3 * strength**4 + own))
    return Draw(found.interval, mean_cka(strength, own, samples))


def survival(rng: Generator, bases: int, pairs: int, alike: float) -> Draw:
    """Pairs that stay together with a probability that their base draws; `alike` is the correlation of its pairs."""
    shape = 0.5 * (1 / alike - 1)
    together = rng.random((bases, pairs)) < rng.beta(shape, shape, bases)[:, None]
    paths: list[list[float]] = []
    base_of: list[int] = []
    for row in together:
        base = len(paths)
        paths += [[1, 1], *([2, 2.5 if stays else 6] for stays in row)]
        base_of += [base] * (1 + pairs)
    found = dynamics.divergence_of(np.array(paths, float)[..., None], base_of)
    return Draw(found["survival_interval"].to_numpy()[-1], 0.5, bool(found.attrs["warnings"]))


def sweep(rng: Generator, pairs: int) -> Draw:
    """The growth of random directions under a linear map, with the same directions at each epsilon."""
    factors = 2.0 ** np.arange(6)
    directions = rng.standard_normal((pairs, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    epsilons = np.repeat([0.01, 0.1, 1.0], pairs)
    starts = 1 + np.concatenate([np.zeros((1, 6)), np.tile(directions, (3, 1)) * epsilons[:, None]])
    paths = np.stack([starts, starts * factors], axis=1)
    found = dynamics.divergence_of(paths, np.zeros(len(paths), int))
    result = dynamics.epsilon_sweep(found.assign_coords(epsilon=("sample", epsilons)))
    return Draw(result.interval, median_growth(), bool(result.warnings))


@cache
def median_growth() -> float:
    directions = np.random.default_rng(1).standard_normal((400_000, 6))
    grown = np.linalg.norm(directions * 2.0 ** np.arange(6), axis=1) / np.linalg.norm(directions, axis=1)
    return float(np.median(np.log(grown)))


def decided(rng: Generator, samples: int) -> Draw:
    """Labels of two steps, the first of which is final with probability 0.7."""
    final = rng.integers(0, 2, samples)
    first = np.where(rng.random(samples) < 0.7, final, 1 - final)
    found = dynamics.commitment_of(np.stack([first, final], axis=1), final)
    return Draw(found["decided_interval"].to_numpy()[0], 0.7, bool(found.attrs["warnings"]))


@cache
def denoiser(kind: str) -> Denoiser:
    """Gaussian data of variances 4, 2, 1, 1/2, or two Gaussians at ±(2, 0, 0, 0) of variance 1/4."""
    own = models.unclipped_scheduler("ddim")
    if kind == "gaussian":
        network: torch.nn.Module = models.Gaussian(torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5])), own)
    else:
        network = models.TwoGaussians(torch.tensor([2.0, 0, 0, 0]), 0.25, own)
    return models.denoiser(network, own, (1, 1, 4))


def images(rng: Generator, kind: str, number: int) -> torch.Tensor:
    if kind == "gaussian":
        drawn = rng.standard_normal((number, 4)) * np.sqrt([4.0, 2.0, 1.0, 0.5])
    else:
        drawn = 0.5 * rng.standard_normal((number, 4))
        drawn[:, 0] += rng.choice([-2, 2], number)
    return torch.from_numpy(drawn).reshape(number, 1, 1, 4)


def side(x: torch.Tensor) -> np.ndarray:
    return (x.reshape(len(x), -1)[:, 0] > 0).numpy().astype(int)


def turns(rng: Generator, kind: str, number: int, level: float, draws: int = 8) -> xarray.Dataset:
    x_0, seed = images(rng, kind, number), int(rng.integers(1 << 30))
    return dynamics.u_turn(denoiser(kind), x_0, [level], draws=draws, steps=STEPS, seed=seed, label_of=side)


@cache
def turned(kind: str, level: float) -> tuple[float, float]:
    """Probability and distance over 20,000 images that no draw uses, in one batch."""
    number, flow = 20_000, DenoisingMap(denoiser(kind), Loop(steps=STEPS, lanes=1024))
    rng, begin = np.random.default_rng(1), first_step_of(level, STEPS, "level")
    x_0 = images(rng, kind, number)
    noise = torch.from_numpy(rng.standard_normal(x_0.shape))
    with torch.no_grad():
        after = flow.from_step(begin, flow.noised(x_0, noise, begin))
    squared = (after - x_0).flatten(1).square().sum(1)
    return float(np.mean(side(after) == side(x_0))), float(squared.mean().sqrt())


def u_turn(rng: Generator, kind: str, number: int, level: float, distance: bool) -> Draw:
    found = turns(rng, kind, number, level)
    name = "turn_distance_interval" if distance else "interval"
    return Draw(found[name].to_numpy()[0], turned(kind, level)[distance], bool(found.attrs["warnings"]))


def cases() -> list[Case]:
    return [*_participation(), *_similarity(), *_trajectories(), *_u_turns()]


def _participation() -> list[Case]:
    states = [
        ("variances 0.8ᵏ, 10 samples", DECAY, 10),
        ("variances 0.8ᵏ, 24 samples", DECAY, 24),
        ("variances 0.8ᵏ, 100 samples", DECAY, 100),
        ("10 equal directions, 24 samples", np.ones(10), 24),
        ("50 equal directions, 100 samples", np.ones(50), 100),
    ]
    kinds = [("intervals", "mean of 2,000 sets", False), ("corrected_intervals", "(Σ λ)²/Σ λ²", True)]
    return [
        Case(
            f"Participation.{field}",
            name,
            truth,
            partial(participation, variances=variances, samples=samples, corrected=corrected),
        )
        for field, truth, corrected in kinds
        for name, variances, samples in states
    ]


def _similarity() -> list[Case]:
    states = [
        ("CKA 0.96, 24 samples", 3.0, 10, 24),
        ("CKA 0.96, 100 samples", 3.0, 10, 100),
        ("CKA 0.09, 24 samples", 1.0, 30, 24),
        ("CKA 0.09, 100 samples", 1.0, 30, 100),
        ("CKA 0.60, 10 samples", 1.5, 10, 10),
    ]
    kinds = [("interval", "mean of 2,000 sets", False), ("debiased_interval", "covariances", True)]
    return [
        Case(
            f"Similarity.{field}",
            name,
            truth,
            partial(cka, strength=strength, own=own, samples=samples, debiased=debiased),
        )
        for field, truth, debiased in kinds
        for name, strength, own, samples in states
    ]


def _trajectories() -> list[Case]:
    return [
        *(
            Case(
                "divergence_of.survival_interval",
                f"{bases} bases of {pairs} pairs, correlation {alike} within a base",
                "0.5",
                partial(survival, bases=bases, pairs=pairs, alike=alike),
            )
            for bases, pairs, alike in ((10, 20, 0.25), (6, 5, 0.5), (40, 1, 0.5), (5, 10, 0.02))
        ),
        *(
            Case(
                "EpsilonSweep.interval",
                f"linear map, {pairs} pairs",
                "median of 400,000",
                partial(sweep, pairs=pairs),
            )
            for pairs in (6, 20)
        ),
        Case("commitment_of.decided_interval", "40 samples", "0.7", partial(decided, samples=40)),
    ]


def _u_turns() -> list[Case]:
    systems = [
        ("gaussian", "Gaussian data", 0.6, (3, 5, 10)),
        ("mixture", "two Gaussians, half of the draws change class", 1.0, (5, 10)),
    ]
    kinds = [("turn_distance_interval", True), ("interval", False)]
    return [
        Case(
            f"u_turn.{field}",
            f"{name}, {number} images",
            "20,000 images",
            partial(u_turn, kind=kind, number=number, level=level, distance=distance),
        )
        for field, distance in kinds
        for kind, name, level, numbers in systems
        for number in numbers
    ]
