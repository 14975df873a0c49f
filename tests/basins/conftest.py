"""Denoisers whose basins are known."""

import pytest
import torch

from denoscope.dynamics.known import analytic_models as models


@pytest.fixture(scope="session")
def linear():
    """DDIM on Gaussian data: x_0 is x_T times a number, so that a classifier of images is one of the plane."""
    scheduler = models.unclipped_scheduler("ddim")
    gaussian = models.Gaussian(0.25 * torch.eye(4, dtype=torch.float64), scheduler)
    return models.denoiser(gaussian, scheduler, (1, 1, 4))


class Counted(models.TwoGaussians):
    """Counts the rows of the first step of each denoising."""

    rows = 0

    def forward(self, x, timestep):
        self.rows += len(x) * (int(timestep) == int(self.first))
        return super().forward(x, timestep)


@pytest.fixture(scope="session")
def bars():
    """Two classes of 28×28 images, a bright bar and its negative, divided by the plane m·x_T = 0."""
    scheduler = models.unclipped_scheduler("ddim")
    mean = -torch.ones(28, 28)
    mean[4:24, 13:16] = 1
    network = Counted(mean.flatten(), 0.04, scheduler)
    scheduler.set_timesteps(2)
    network.first = scheduler.timesteps[0]
    return models.denoiser(network, scheduler, (1, 28, 28))
