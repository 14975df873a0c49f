"""Zooms through a dozen decades, by a real scheduler: the known dimension of the boundary in each of them."""

import math

import numpy as np
import pytest
import torch
from label_planes import RABBIT, rabbit_labels

import denoscope as ds
from denoscope.dynamics.known import analytic_models as models

pytestmark = pytest.mark.slow
OPTIONS = {"lanes": 4096, "batch_size": 4096, "method": "exact", "checks": 32}
NEWTON = 1.41
"""The box dimension of Newton's boundary for z³ = 1 in spacings: 1.417 on 300² cells, 1.445 ± 0.02 from published exponents."""
DIMENSION = 1.3934
"""Of the Julia set of the rabbit."""


def complex_labels(function):
    """A classifier of images [n, 2, 1, 1] that are complex numbers."""

    def classify(images):
        z = images.double()[:, 0, 0, 0].numpy() + 1j * images.double()[:, 1, 0, 0].numpy()
        return torch.from_numpy(function(z).astype(np.int64))

    return classify


def root(z):
    return models.nearest_root(np.stack([z.real, z.imag]))


def quadratic(x):
    """z → z² + c; numbers beyond 2 stay, since they only grow."""
    z = torch.complex(*x.unbind(1))
    z = torch.where(z.abs() > 2, z, z**2 + RABBIT)
    return torch.stack((z.real, z.imag), 1)


def zoomed(step, classify, steps, **options):
    denoiser = models.embedded(step, steps, (2, 1, 1))
    plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(4.0, 4.0))
    classifier = complex_labels(classify)
    options = {"target": (0.1, 0.2), "factor": 2, **OPTIONS, **options}
    return ds.basins.zoom(denoiser, plane, steps=steps, classifier=classifier, **options)


def test_newtons_boundary_has_its_dimension_in_each_of_twelve_decades():
    found = zoomed(models.newton, root, 80, levels=41)
    whole = found["decade_levels"].values >= 3
    assert whole.sum() >= 12
    np.testing.assert_allclose(found["decade_dimension"].values[whole], NEWTON, atol=0.05)
    assert (found["verdict"].values[whole] == "fractal").all()


def test_the_decade_is_found_below_which_newtons_boundary_of_twenty_steps_is_smooth():
    """Twenty steps magnify by their derivative, which `growth` measures: below its inverse the map is linear."""
    found = zoomed(models.newton, root, 20, levels=41)
    verdicts, widths = found["verdict"].values, found["decade_range"].values
    smooth = np.flatnonzero(verdicts == "smooth")
    assert (
        verdicts[0] == verdicts[1] == "fractal" and smooth.size and (verdicts[smooth[0] :] == "smooth").all()
    )
    np.testing.assert_allclose(found["decade_dimension"].values[smooth[1:]], 1, atol=0.04)
    linear = math.exp(-float(found["growth"].values[-1]))
    assert linear / 100 < widths[smooth[0], 0] < linear * 1000


def test_a_julia_set_has_one_dimension_in_every_decade_near_the_known_one():
    """Boxes of 1 to 8 spacings miss thin parts of the boundary and read 0.07 to 0.11 below, whatever the level."""
    found = zoomed(quadratic, lambda z: rabbit_labels(z, steps=0), 90, levels=34)
    values = found["decade_dimension"].values[found["decade_levels"].values >= 3]
    assert len(values) >= 10 and np.ptp(values) < 0.05
    np.testing.assert_allclose(DIMENSION - values, 0.09, atol=0.03)
    assert (found["verdict"] == "fractal").all()


def test_a_straight_boundary_has_dimension_one_at_forty_angles():
    own = models.unclipped_scheduler("ddim")
    decades = []
    for angle in np.linspace(0, math.pi, 40, endpoint=False):
        mean = torch.tensor([3 * math.cos(angle), 3 * math.sin(angle)], dtype=torch.float64)
        denoiser = models.denoiser(models.TwoGaussians(mean, 0.04, own), own, (1, 1, 2))

        def side(images, mean=mean):
            return (images.double().flatten(1) @ mean > 0).long()

        plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(8.0, 8.0))
        found = ds.basins.zoom(denoiser, plane, steps=2, classifier=side, factor=10, levels=13, **OPTIONS)
        decades.append(found["decade_dimension"].values)
        assert (found["verdict"] == "smooth").all()
    decades = np.array(decades)
    assert decades.shape == (40, 13)
    np.testing.assert_allclose(np.median(decades, axis=0), 1, atol=0.02)
    np.testing.assert_allclose(decades, 1, atol=0.04)
