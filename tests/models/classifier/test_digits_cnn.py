"""The classifier of 8×8 digits: its arithmetic in plain numpy, its figures, its card, and its training."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from denoscope.models.classifier.bundled_classifiers import DIGITS_CNN
from denoscope.models.classifier.digits_cnn import DigitsCNN
from denoscope.models.classifier.likeness import Likeness
from training import digits_data, fit_likeness, rejection, train_classifier, train_digits_cnn

FOLDER = DIGITS_CNN.weights.parent
FIGURES = json.loads((FOLDER / "training.json").read_text())
RATES = json.loads((FOLDER / "rejection.json").read_text())["rejected"]


def convolve(x, weight, bias):
    """Cross-correlation of x [C, H, W], padded by one, with weight [O, C, 3, 3], spelled out."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None], 0)


def pool(x):
    """Maximum over blocks of two by two."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max((2, 4))


def forward(state, image):
    """Logits of one image [1, 8, 8] in float64, from the weights alone."""
    names = [f"features.{k}" for k in (0, 2, 5)] + [f"classifier.{k}" for k in (1, 3)]
    parts = [
        (state[f"{name}.weight"].double().numpy(), state[f"{name}.bias"].double().numpy()) for name in names
    ]
    x = pool(convolve(convolve(image, *parts[0]), *parts[1]))
    x = pool(convolve(x, *parts[2])).reshape(-1)
    x = np.maximum(parts[3][0] @ x + parts[3][1], 0)
    return parts[4][0] @ x + parts[4][1]


def test_the_bundled_network_computes_what_its_weights_say():
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    state, model = load_file(DIGITS_CNN.weights), DIGITS_CNN.load()
    expected = np.stack([forward(state, image.double().numpy()) for image in images])
    np.testing.assert_allclose(model(images).numpy(), expected, atol=1e-4, rtol=1e-4)
    assert sum(value.numel() for value in state.values()) == 13_802
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())


def test_the_figures_meet_the_bar():
    assert FIGURES["test"]["accuracy"] >= 0.98
    assert FIGURES["recipe"] == asdict(train_digits_cnn.RECIPE)
    assert RATES["test digits"]["likeness"] < 0.03
    for images in ("x_T itself", "uniform noise", "Gaussian noise, clipped"):
        assert RATES[images]["likeness"] > 0.99 > RATES[images]["softmax below 0.9"]


def test_the_card_states_the_figures():
    card = (FOLDER / "README.md").read_text()
    assert f"{FIGURES['test']['accuracy']:.2%}" in card and "CC BY 4.0" in card
    for images, rates in RATES.items():
        assert f"| {images} | " + " | ".join(f"{100 * rate:.1f}" for rate in rates.values()) + " |" in card


def bars(count, seed):
    """Pixels 0 … 16 of which "0" has a bright left and "1" a bright right half: easy to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    pixels = torch.randint(0, 5, (count, 1, 8, 8), generator=generator).float()
    for side in (0, 1):
        pixels[labels == side, :, :, 4 * side : 4 * (side + 1)] += 11
    labels[:10] = torch.arange(10)  # every class occurs
    return pixels, labels


def test_training_learns_is_reproducible_and_spares_what_it_has_not_seen(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_digits_cnn, "FOLDS", 2)
    data = {"train": bars(200, 0), "test": bars(100, 1)}
    recipe = train_classifier.Recipe(
        epochs=4, batch_size=20, learning_rate=1e-2, shift=0.5, noise=digits_data.HALF_LEVEL
    )
    likeness = fit_likeness.Recipe(components=3, rejected=0.05)
    figures = train_digits_cnn.train(data, tmp_path, recipe, likeness)
    assert json.loads((tmp_path / "training.json").read_text()) == figures
    assert len(figures["accuracy_per_fold"]) == 2
    network = DIGITS_CNN.load(tmp_path / "digits_cnn.safetensors")
    again, _losses = train_digits_cnn.fitted(data["train"], recipe)
    for name, value in again.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    images, labels = train_digits_cnn.noised(data["test"], seed=1)
    right = (network(images).argmax(1) == labels).double().mean().item()
    assert right == pytest.approx(figures["test"]["accuracy"]) and right > 0.85
    found = Likeness.read(tmp_path / "likeness.safetensors")
    rejected = (found(images, network(images)) < 1).double().mean().item()
    assert rejected < 0.2
    assert "fold 2/2" in capsys.readouterr().out

    for name, value in {"SAMPLES": 4, "STEPS": 1, "COUNT": 30}.items():
        monkeypatch.setattr(rejection, name, value)
    measured = train_digits_cnn.measure_rejection(data, tmp_path, "digits")
    assert measured["model"] == "digits" and measured["images"]["x_0 of 3 x_T"] == 4
    assert measured["images"]["test digits"] == 100 and measured["images"]["left half erased"] == 30
    assert measured["rejected"]["test digits"]["likeness"] == rejected
    unsure = (network(images).softmax(1).amax(1) < 0.9).double().mean().item()
    assert measured["rejected"]["test digits"]["softmax below 0.9"] == unsure
    card = " ".join((tmp_path / "README.md").read_text().split())
    for text in ("the 300 images", "200 to train on, 100 held out", "by 2-fold", "within the 200 images",
                 "100 held-out digits, 30 images made of them, 4 x_T, 30 images of noise and 21 greys",
                 "4 images of `digits` by 1 DDIM steps", "--model digits"):  # fmt: skip
        assert text in card, text
    train_digits_cnn.measure_rejection(data, tmp_path, None)
    card = (tmp_path / "README.md").read_text()
    assert "--model" not in card and "x_0" not in card


def test_training_images_have_noise_of_one_level():
    pixels = torch.arange(17.0).repeat(2000).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    still = train_classifier.Recipe(shift=0.0, rotation=0.0, zoom=0.0, noise=digits_data.HALF_LEVEL)
    generator = torch.Generator().manual_seed(0)
    moved = train_classifier.distort(digits_data.centred(pixels), still, generator)
    levels = (moved + 1) * 17 / 2 - pixels  # uniform in [0, 1]
    assert levels.min() >= -1e-4 and levels.max() <= 1 + 1e-4
    assert levels.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert levels.std().item() == pytest.approx(12**-0.5, abs=1e-3)
    assert isinstance(DIGITS_CNN.load(), DigitsCNN)
