"""Two Gaussians: a huge exponent on a perfectly straight boundary, and a fake fractal made by noise."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
import torch

from denoscope import dynamics, noise
from denoscope.dynamics.known import analytic_models as models
from denoscope.dynamics.known.check import Check
from denoscope.dynamics.known.closed_forms import LEVELS, timesteps
from denoscope.models.denoiser import Denoiser
from denoscope.recording import record
from denoscope.sampling.loop import sample

STEPS = 50
SIZE, ALONG = 16, 3
"""The size of a state, and the coordinate of the means, in which the directions of the plane have components −0.02, 0.05."""
DRAWS = 4000
ACROSS = 2000.0
"""Half the width of the plane of the fake fractal."""


def boundary() -> list[Check]:
    """Growth on the boundary, and its position."""
    ddim = _denoiser("ddim")
    on_it = noise.random(1, ddim.shape, seed=1).batch([0]).double()
    on_it[..., ALONG] = 0
    grown = dynamics.spectrum(ddim, on_it, 2, steps=STEPS, tolerance=1e-9).exponents
    near = noise.plane((60, 60), ddim.shape, lengths=(10.0, 10.0))
    labels, x_T = _labels(ddim, near, "common"), near.batch(range(len(near)))[:, 0, 0, ALONG]
    wrong = int(np.count_nonzero(labels.ravel() != (x_T > 0).numpy()))
    prefix = f"two Gaussians, DDIM N={STEPS}"
    return [
        Check(f"{prefix}: exponent along m", 26.9569954, float(grown[0]), 1e-7),
        Check(f"{prefix}: exponent across", -1.7361045, float(grown[1]), 1e-7),
        Check(f"{prefix}: of 3600 cells, on the wrong side", 0, wrong),
        Check(f"{prefix}: verdict", "smooth", dynamics.verdict(labels).verdict),
    ]


def decided() -> list[Check]:
    """DDIM never changes sides: images are decided in the first step, and return after noise with a known probability."""
    ddim, steps = _denoiser("ddim"), 10
    x, image = noise.random(64, ddim.shape, seed=2), torch.zeros(1, *ddim.shape, dtype=torch.float64)
    image[..., ALONG] = 3.0
    with tempfile.TemporaryDirectory() as folder:
        recording = record.record(ddim, x, Path(folder) / "run.zarr", steps=steps, layers=["prediction"])
        latest = dynamics.commitment(recording, denoiser=ddim, label_of=_side)["commitment_step"].max()
    turned = dynamics.u_turn(ddim, image, [0.8], draws=DRAWS, steps=steps, label_of=_side, lanes=DRAWS)
    level = LEVELS[timesteps(steps)[2]]
    stays = NormalDist().cdf(3.0 * math.sqrt(level / (1 - level)))
    return [
        Check(f"two Gaussians, DDIM N={steps}: last commitment step of 64", 0, int(latest)),
        Check(
            f"two Gaussians, DDIM N={steps}: back on the same side after noise",
            stays,
            float(turned["probability"][0]),
            4 * math.sqrt(stays * (1 - stays) / DRAWS),
        ),
    ]


def _side(images: torch.Tensor) -> torch.Tensor:
    """The index of the Gaussian to which images are closer."""
    return (images[:, 0, 0, ALONG] > 0).long()


def fake_fractal(cells: int) -> list[Check]:
    """DDPM on a plane of cells² noises: a straight line with common noise, an artefact with independent noise per cell."""
    ddpm = _denoiser("ddpm")
    plane = noise.plane((cells, cells), ddpm.shape, lengths=(2 * ACROSS, 2 * ACROSS))
    common, independent = (_labels(ddpm, plane, kind) for kind in ("common", "independent"))
    x_T = plane.batch(range(len(plane)))[:, 0, 0, ALONG].numpy()
    upper = common.ravel() == 1
    wrong = int(np.count_nonzero(x_T[~upper] > x_T[upper].min()))
    prefix = f"two Gaussians, DDPM, {cells}² cells"
    straight = dynamics.boundary_dimension(common, boxes=(3, 5, 9)).value
    return [
        Check(f"{prefix}, common noise: cells off the line", 0, wrong),
        Check(f"{prefix}, common noise: dimension", 1.0, straight, 0.05),
        Check(f"{prefix}, common noise: verdict", "smooth", dynamics.verdict(common).verdict),
        Check(f"{prefix}, noise per cell: verdict", "noise", dynamics.verdict(independent).verdict),
    ]


def _labels(denoiser: Denoiser, plane: noise.NoiseSet, kind: Literal["common", "independent"]) -> np.ndarray:
    """The index of the Gaussian that each cell of a square plane reaches, [cells, cells]."""
    x_T, side = plane.batch(range(len(plane))).double(), round(len(plane) ** 0.5)
    # An analytic network needs no small groups.
    x_0 = sample(denoiser, x_T, steps=STEPS, noise=kind, names=plane.names, lanes=len(plane))
    return _side(x_0).numpy().reshape(side, side)


def _denoiser(kind: models.Kind) -> Denoiser:
    scheduler, mean = models.unclipped_scheduler(kind), torch.zeros(SIZE)
    mean[ALONG] = 3.0
    return models.denoiser(models.TwoGaussians(mean, 0.04, scheduler), scheduler, (1, 1, SIZE))
