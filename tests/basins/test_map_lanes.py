"""How many rows go through the network in one call of a map."""

from types import SimpleNamespace

import pytest
import torch

import denoscope as ds
from denoscope.basins.map_lanes import map_lanes


@pytest.mark.parametrize(
    ("shape", "device", "lanes"),
    [
        ((1, 8, 8), "cpu", 64),
        ((1, 16, 16), "cpu", 64),
        ((1, 28, 28), "cpu", 16),
        ((4, 64, 64), "cpu", 16),
        ((1, 28, 28), "cuda", 64),
        ((4, 64, 64), "cuda:1", 64),
    ],
)
def test_large_images_on_a_processor_get_small_calls(shape, device, lanes):
    assert map_lanes(SimpleNamespace(shape=shape, device=torch.device(device))) == lanes


def test_every_function_of_maps_takes_the_lanes_of_the_model(digits, mnist, bars):
    """Calls of the network have as many rows as the fingerprint says, and a map tells them to what continues it."""
    for denoiser, lanes in ((digits, 64), (mnist, 16)):
        plane = ds.noise.plane((2, 2), denoiser.shape, lengths=(8, 8))
        assert ds.basins.map(denoiser, plane, steps=1).attrs["fingerprint"]["lanes"] == lanes
        assert ds.basins.map(denoiser, plane, steps=1, lanes=8).attrs["fingerprint"]["lanes"] == 8
        assert ds.basins.label_of(denoiser, plane, steps=1).origin["fingerprint"]["lanes"] == lanes
    plane = ds.noise.plane((5, 5), bars.shape, lengths=(8, 8))
    before = bars.network.rows
    ds.basins.map(bars, plane, steps=2, classifier=lambda images: (images[:, 0, 14, 14] > 0).long())
    assert bars.network.rows - before == 32, "25 cells in two calls of 16"
    tiles = ds.basins.tiles(bars, plane, cells=8, steps=2, classifier=lambda images: images[:, 0, 14, 14] > 0)
    assert tiles.labelling.loop.lanes == 16
