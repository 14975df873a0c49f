"""The bundled classifier: its structure, its arithmetic in plain numpy, its figures, and its training."""

import json
import math
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from denoscope.foundation.errors import UserError
from denoscope.models.classifier import lenet
from training import train_classifier, train_lenet

FOLDER = lenet.WEIGHTS.parent


def convolve(x, weight, bias):
    """Cross-correlation of x [C, H, W] with weight [O, C, 5, 5], spelled out."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]


def pool(x):
    """Maximum over blocks of two by two."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max((2, 4))


def forward(state, image):
    """Logits of one image [1, 28, 28] in float64, from the weights alone."""
    weights = [state[name].double().numpy() for name in state]
    c1, b1, c2, b2, f1, d1, f2, d2, f3, d3 = weights
    x = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    x = pool(np.maximum(convolve(x, c1, b1), 0))
    x = pool(np.maximum(convolve(x, c2, b2), 0)).reshape(-1)
    x = np.maximum(f1 @ x + d1, 0)
    x = np.maximum(f2 @ x + d2, 0)
    return f3 @ x + d3


def ordered():
    state = load_file(lenet.WEIGHTS)
    names = [f"features.{k}.{part}" for k in (0, 3) for part in ("weight", "bias")]
    names += [f"classifier.{k}.{part}" for k in (1, 3, 5) for part in ("weight", "bias")]
    assert set(names) == set(state)
    return {name: state[name] for name in names}


def test_the_structure_is_that_of_lenet_5():
    shapes = [tuple(parameter.shape) for parameter in lenet.LeNet5().parameters()]
    assert shapes == [
        (6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,),
    ]  # fmt: skip
    assert sum(map(math.prod, shapes)) == 61_706
    assert lenet.LeNet5()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_the_bundled_network_computes_what_its_weights_say():
    images = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = lenet.load()
    got = model(images).numpy()
    state = ordered()
    expected = np.stack([forward(state, image.double().numpy()) for image in images])
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-4)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_figures_meet_the_bar_and_the_card_tells_them():
    figures = json.loads((FOLDER / "training.json").read_text())
    test, card = figures["test"], (FOLDER / "README.md").read_text()
    assert test["accuracy"] >= 0.988
    assert min(test["accuracy_per_digit"]) >= 0.97
    assert f"{test['accuracy']:.2%}" in card and f"{test['share_confident']:.2%}" in card
    assert all(f"{share:.2%}" in card for share in test["accuracy_per_digit"])
    assert figures["recipe"] == json.loads(json.dumps(asdict(train_classifier.Recipe())))


def test_own_weights_in_both_formats(tmp_path):
    torch.manual_seed(0)
    state = lenet.LeNet5().state_dict()
    save_file(state, tmp_path / "own.safetensors")
    torch.save(state, tmp_path / "own.pt")
    for name in ("own.safetensors", "own.pt"):
        loaded = lenet.load(tmp_path / name).state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_other_weights_are_refused_by_name(tmp_path):
    state = lenet.LeNet5().state_dict()
    wrong = {**state, "classifier.5.weight": torch.zeros(9, 84)}
    torch.save(wrong, tmp_path / "wrong.pt")
    torch.save({**state, "extra": torch.zeros(1)}, tmp_path / "more.pt")
    torch.save(dict(list(state.items())[2:]), tmp_path / "less.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    for suffix in ("pt", "safetensors"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")  # which no reader may wait for
    damaged = ("wrong.pt", "more.pt", "less.pt", "list.pt", "text.pt", "text.safetensors")
    for name in (*damaged, "missing.pt", "pipe.pt", "pipe.safetensors"):
        with pytest.raises(UserError, match=name) as caught:
            lenet.load(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_distortion_without_size_changes_nothing():
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    still = train_classifier.Recipe(shift=0.0, rotation=0.0, zoom=0.0)
    moved = train_classifier.distort(images, still, torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved, images, atol=1e-5, rtol=0)


def test_a_shift_is_at_most_as_many_pixels_as_the_recipe_says():
    images = torch.full((500, 1, 28, 28), -1.0)
    images[:, :, 14, 14] = 1.0
    only_shift = train_classifier.Recipe(shift=2.0, rotation=0.0, zoom=0.0)
    moved = train_classifier.distort(images, only_shift, torch.Generator().manual_seed(0)) + 1
    mass = moved.sum((1, 2, 3))
    places = torch.arange(28.0)
    row = (moved.sum((1, 3)) * places).sum(1) / mass - 14
    column = (moved.sum((1, 2)) * places).sum(1) / mass - 14
    for shift in (row, column):
        assert 1.8 < shift.abs().max() <= 2.001
        assert abs(shift.mean()) < 0.2


def bars(count, seed):
    """Images of which "0" has a bright left and "1" a bright right half, in noise: easy to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=generator)
    images = torch.randn(count, 1, 28, 28, generator=generator) * 0.3 - 0.5
    for side in (0, 1):
        images[labels == side, :, :, 14 * side : 14 * (side + 1)] += 1.0
    labels[:10] = torch.arange(10)  # every class occurs
    return images, labels


def test_training_learns_is_reproducible_and_writes_what_it_returns(tmp_path, capsys):
    data = {
        name: bars(count, k)
        for k, (name, count) in enumerate([("train", 640), ("validation", 200), ("test", 200)])
    }
    recipe = train_classifier.Recipe(epochs=3, batch_size=32)
    first = train_lenet.train(data, tmp_path / "a", recipe)
    second = train_lenet.train(data, tmp_path / "b", recipe)
    assert first == second
    assert (tmp_path / "a" / "lenet5.safetensors").read_bytes() == (
        tmp_path / "b" / "lenet5.safetensors"
    ).read_bytes()
    assert json.loads((tmp_path / "a" / "training.json").read_text()) == first
    assert first["loss_per_epoch"][-1] < first["loss_per_epoch"][0]
    images, labels = data["test"]
    right = (
        (lenet.load(tmp_path / "a" / "lenet5.safetensors")(images).argmax(1) == labels).double().mean().item()
    )
    assert right == pytest.approx(first["test"]["accuracy"]) and right > 0.9
    assert "epoch 3/3" in capsys.readouterr().out
