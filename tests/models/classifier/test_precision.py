"""Images in float64 are classified in float64, as by the plain network in double precision."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.basins.classifiers import parse_classifier
from denoscope.models.classifier import bundled_classifiers
from denoscope.models.classifier.classification import Classifier

OFFSETS = np.arange(-200, 200, dtype=np.float64) + 0.5


def between(network: torch.nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """Images [400, *shape] in float64 at equal distances on a line, the class changing in the middle alone."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, *shape, generator=generator, dtype=torch.float64).clamp(-1, 1)
    digits = network(images).argmax(1)
    other = int((digits != digits[0]).nonzero()[0])
    low, high = 0.0, 1.0  # bisection for where the class of the first image ends
    for _ in range(52):
        middle = (low + high) / 2
        image = images[:1] + middle * (images[other] - images[0])
        low, high = (middle, high) if network(image).argmax() == digits[0] else (low, middle)
    places = torch.from_numpy(high + 1e-11 * OFFSETS)[:, None, None, None]
    return images[0] + places * (images[other] - images[0])


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8)])
def test_images_closer_than_float32_are_told_apart_as_by_the_plain_network_in_double_precision(shape):
    network = bundled_classifiers.of_shape(shape, "auto").load()
    plain = copy.deepcopy(network).double()
    with torch.no_grad():
        images = between(plain, shape)
        softmax = plain(images).softmax(1)
        rounded = network(images.float()).argmax(1).numpy()
    digits = softmax.argmax(1).numpy()
    assert np.count_nonzero(np.diff(digits)) == 1 and np.any(rounded != digits)
    for given in (images, images.numpy()):
        found = ds.classify(given)
        np.testing.assert_array_equal(found.label, digits)
        np.testing.assert_allclose(found.confidence, softmax.max(1).values, rtol=1e-6)
        first, second = softmax.topk(2, dim=1).values.T
        np.testing.assert_allclose(found.margin, first - second, rtol=1e-3, atol=1e-15)
    np.testing.assert_array_equal(Classifier.of(shape).probabilities(images), softmax.float().numpy())


def test_maps_classify_in_the_precision_of_the_denoiser():
    plain = copy.deepcopy(bundled_classifiers.of_shape((1, 8, 8), "auto").load()).double()
    with torch.no_grad():
        images = between(plain, (1, 8, 8))
        digits = plain(images).argmax(1).numpy()
    found = {}
    for dtype in ("float32", "float64"):
        denoiser = ds.load("digits", device="cpu", dtype=dtype)
        classifier = parse_classifier("auto", reject=False, denoiser=denoiser)
        found[dtype] = classifier(images.to(denoiser.dtype))["label"]
        assert classifier.description.get("classifier_dtype") == (None if dtype == "float32" else dtype)
    np.testing.assert_array_equal(found["float64"], digits)
    assert np.count_nonzero(found["float32"] != digits)
