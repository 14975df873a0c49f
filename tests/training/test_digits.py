"""The denoisers of 8×8 digits: their data, their training, and the bundled model made of it, on random small stand-ins."""

import gzip
import json
import zipfile

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.foundation.errors import UserError
from training import bundle_digits, digits_data, memorisation, train_digits


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A stand-in for scikit-learn's wheel: 330 images, of which the label is the level of every pixel."""
    labels = np.arange(330) % 10
    table = np.concatenate([np.repeat(labels[:, None], 64, axis=1), labels[:, None]], axis=1)
    lines = "\n".join(",".join(map(str, row)) for row in table)
    path = tmp_path_factory.mktemp("data") / "scikit_learn.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(digits_data.MEMBER, gzip.compress(lines.encode()))
    return path


def test_the_wheel_is_split_into_images_with_their_labels(wheel):
    splits = digits_data.read(wheel)
    assert {name: len(images) for name, (images, _) in splits.items()} == {"train": 33, "test": 297}
    for images, labels in splits.values():
        assert images.shape[1:] == (1, 8, 8) and (images == labels.reshape(-1, 1, 1, 1)).all()
    counts = torch.cat([labels for _, labels in splits.values()]).bincount()
    assert counts.tolist() == [33] * 10, "each image is in one split"


def test_another_file_is_refused_by_its_name(tmp_path):
    (tmp_path / "other.whl").write_text("text")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("sklearn/nothing", "")
    for name in ("other.whl", "empty.whl", "missing.whl"):
        with pytest.raises(UserError, match=rf"{name}.*scikit-learn"):
            digits_data.read(tmp_path / name)


def test_pixels_fill_the_range_of_the_denoiser():
    pixels = torch.tensor([0.0, 16.0]).repeat(4000)
    noised = digits_data.dequantised(pixels, torch.Generator().manual_seed(0))
    assert -1 <= noised.min() < -0.999 and 0.999 < noised.max() <= 1
    assert noised[0::2].mean().item() == pytest.approx(digits_data.centred(pixels)[0].item(), abs=2e-3)
    assert digits_data.centred(pixels)[:2].tolist() == pytest.approx([-16 / 17, 16 / 17])


def test_memorised_samples_are_those_far_nearer_to_one_training_image():
    training = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    samples = torch.tensor([0.1, 0.3, 0.9, -3.0]).reshape(4, 1, 1, 1)  # distances .1/.9, .3/.7, .1/.9, 3/4
    found = memorisation.measure(samples, training)
    assert found["share_memorised"] == 0.5
    assert found["median_distance_to_training_set"] == pytest.approx(0.1)


@pytest.mark.parametrize("conditional", [False, True], ids=["digits", "digits-conditional"])
def test_a_trained_denoiser_becomes_a_bundled_model(wheel, tmp_path, monkeypatch, conditional, capsys):
    monkeypatch.setattr(bundle_digits.speed, "ROWS", 64)
    monkeypatch.setattr(bundle_digits.speed, "REPEATS", 1)
    monkeypatch.setattr(bundle_digits.quality, "STEPS", 2)
    data, recipe = (
        digits_data.read(wheel),
        train_digits.Recipe(steps=3, batch_size=8, conditional=conditional),
    )
    trained = train_digits.train(data["train"], tmp_path / "trained", recipe, steps_a_line=2)
    assert "step 3/3" in capsys.readouterr().out and len(trained.losses) == 2
    name = "digits-conditional" if conditional else "digits"
    card = bundle_digits.bundle(data, tmp_path / "trained", tmp_path / name, samples=20).read_text()
    denoiser = ds.load(tmp_path / name)
    for key, value in denoiser.network.state_dict().items():
        assert torch.equal(value, trained.average.state_dict()[key])
    assert (
        denoiser.shape == (1, 8, 8)
        and json.loads((tmp_path / name / "training.json").read_text())["recipe"]["steps"] == 3
    )
    figures = json.loads((tmp_path / name / "quality.json").read_text())
    x_T = torch.stack([torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(20)])
    if conditional:
        labels = [k % 10 for k in range(20)]
        condition = denoiser.condition_of_labels(labels, scale=bundle_digits.GUIDANCE)
        found = ds.classify(ds.sample(denoiser, x_T, steps=2, condition=condition))
        ways = ("under labels", "guidance 2", "null class")
        assert figures["guidance 2"]["share_of_the_class_asked_for"] == np.mean(found.label == labels)
        assert "share_of_the_class_asked_for" not in figures["null class"]
        shares = [
            f"{figures[way]['share_of_the_class_asked_for']:.1%}" for way in ("under labels", "guidance 2")
        ]
        assert (
            f"| the class of the label | – | {' | '.join(shares)} | – |" in card and "--conditional" in card
        )
    else:
        found, ways = ds.classify(ds.sample(denoiser, x_T, steps=2)), ("unconditional",)
    asked = figures[ways[1] if conditional else ways[0]]
    assert asked["share_of_each_digit"] == pytest.approx(np.bincount(found.label, minlength=10) / 20)
    assert asked["share_with_top_softmax_of_at_least_0.9"] == np.mean(found.confidence >= 0.9)
    for way in ("held out", *ways):
        assert f"{figures[way]['share_with_top_softmax_of_at_least_0.9']:.1%}" in card
        assert f"{figures[way]['median_distance_to_training_set']:.2f}" in card
    assert f"# {name}\n" in card and "CC BY 4.0" in card and "{" not in card
    assert {path.name for path in (tmp_path / name).iterdir()} == {
        "README.md", "config.json", "diffusion_pytorch_model.safetensors", "loss.png", "model_index.json",
        "quality.json", "samples.png", "scheduler_config.json", "training.json",
    }  # fmt: skip
