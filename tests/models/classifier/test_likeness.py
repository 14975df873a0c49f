"""The likeness of images to digits: in plain numpy, on lines of known distance, and in the model card."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from denoscope.models.classifier import lenet, likeness
from denoscope.models.classifier.bundled_classifiers import LENET
from training import fit_likeness

FIGURES = json.loads((LENET.likeness.with_name("rejection.json")).read_text())["rejected"]


def test_it_is_what_its_formula_says():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 1, 28, 28, generator=generator)
    logits = 10 * torch.randn(20, 10, generator=generator)
    stored = {name: value.double().numpy() for name, value in load_file(LENET.likeness).items()}
    x = images.double().numpy().reshape(20, 784) - stored["mean"]
    # The distance to a plane is the residual of least squares, for any vectors that span it.
    left = np.linalg.lstsq(stored["components"].T, x.T, rcond=None)[0]
    far = np.linalg.norm(x.T - stored["components"].T @ left, axis=0)
    seen = np.log(np.exp(logits.double().numpy()).sum(1))
    expected = np.minimum(seen / stored["least_evidence"], stored["most_residue"] / far)
    np.testing.assert_allclose(likeness.Likeness.read(LENET.likeness)(images, logits), expected, rtol=1e-6)


def test_no_finite_image_is_too_large_for_it():
    images = torch.full((2, 1, 28, 28), 3e38)
    images[1] = -1
    assert likeness.Likeness.read(LENET.likeness)(images, torch.full((2, 10), 100.0)).isfinite().all()


def test_the_thresholds_reject_the_share_and_each_as_many_as_the_other():
    generator = torch.Generator().manual_seed(0)
    seen, far = torch.randn(2, 5000, generator=generator, dtype=torch.float64)
    least, most = fit_likeness.thresholds(seen, far, 0.04)
    assert ((seen < least) | (far > most)).double().mean() == pytest.approx(0.04)
    assert int((seen < least).sum()) == int((far > most).sum())


def test_a_fit_spans_what_the_images_span(tmp_path):
    """Images on a plane through two pictures: no residue there, and the distance beside it."""
    generator = torch.Generator().manual_seed(0)
    two = torch.linalg.qr(torch.randn(784, 2, generator=generator)).Q.T
    images = (torch.randn(400, 2, generator=generator) @ two).reshape(-1, 1, 28, 28)
    data = {name: (images, torch.zeros(400, dtype=torch.long)) for name in ("train", "validation")}
    fitted = fit_likeness.fit(data, tmp_path, fit_likeness.Recipe(components=2, rejected=0.1))
    found = likeness.Likeness.read(tmp_path / "likeness.safetensors")
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in fitted.state_dict().items())
    beside = torch.randn(784, generator=generator)
    beside -= (beside @ two.T) @ two
    moved = images + (3 * beside / beside.norm()).reshape(1, 28, 28)
    torch.testing.assert_close(
        likeness.residue(moved, found.mean, found.components),
        torch.full((400,), 3.0, dtype=torch.float64),
        atol=1e-4,
        rtol=0,
    )
    like = found(images, lenet.load()(images))
    assert (like < 1).double().mean() == pytest.approx(0.1, abs=0.005)


def test_the_figures_meet_the_bar_and_the_card_tells_them():
    card = LENET.likeness.with_name("README.md").read_text()
    for images, rates in FIGURES.items():
        row = f"| {images} | " + " | ".join(f"{100 * rates[name]:.1f}" for name in COLUMNS) + " |"
        assert row in card, row
    assert 0.007 < FIGURES["test digits"]["likeness"] < 0.013
    for images in ("x_T itself", "uniform noise", "Gaussian noise, clipped", "blank, from black to white"):
        assert FIGURES[images]["likeness"] > 0.99 > FIGURES[images]["softmax below 0.9"]
    thresholds = likeness.Likeness.read(LENET.likeness)
    assert f"evidence / {thresholds.least_evidence:.2f}, {thresholds.most_residue:.2f} / residue" in card


COLUMNS = ("softmax below 0.9", "softmax", "margin", "Mahalanobis", "evidence", "residue", "likeness")
