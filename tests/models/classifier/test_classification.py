"""The classifier is chosen by the shape of the images, or by its name; the other names and shapes are refused."""

import json
import typing

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.config import ClassifierConfig
from denoscope.models.classifier.bundled_classifiers import ALL, AUTO, DIGITS_CNN, LENET, NAMES
from denoscope.models.classifier.classification import Classifier


@pytest.fixture(scope="module")
def small(make_unet, make_scheduler):
    """A denoiser of [1, 8, 8] with random weights."""
    return ds.load(make_unet(channels=1), scheduler=make_scheduler("ddim"), device="cpu")


BY_NAME = {kind.name: kind for kind in ALL}


def noise(kind, count=4):
    return torch.randn(count, *kind.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_auto_is_the_classifier_of_the_shape(name):
    kind = BY_NAME[name]
    images = noise(kind)
    logits = kind.load()(images)
    found = ds.classify(images)
    np.testing.assert_array_equal(found.label, logits.argmax(1))
    np.testing.assert_allclose(found.confidence, logits.softmax(1).amax(1), rtol=1e-5)
    for other in (
        ds.classify(images, classifier="auto"),
        ds.classify(images, classifier=name),
        ds.classify(images, weights=kind.weights),
        ds.classify(images, weights=kind.load()),
        ds.classify(images[:, :, :].numpy()),
    ):
        assert other.to_dict() == found.to_dict()
    assert (ds.classify(images, reject=True).label == -1).all(), "noise shows no digit"


def test_names_are_those_of_the_configuration():
    allowed = typing.get_args(typing.get_type_hints(ClassifierConfig)["classifier"])
    assert allowed == (AUTO, *NAMES) and len({kind.shape for kind in ALL}) == len(ALL)


def test_other_images_names_and_weights_are_refused(small):
    for images, options, line in (
        (noise(LENET), {"classifier": "digits-cnn"}, r"classifier is 'digits-cnn'.*\[1, 28, 28\].*takes"),
        (
            noise(DIGITS_CNN),
            {"classifier": "lenet"},
            r"classifier is 'lenet'.*\[1, 8, 8\].*takes \[1, 28, 28\]",
        ),
        (noise(DIGITS_CNN), {"classifier": "alexnet"}, "'alexnet'; allowed: auto, lenet, digits-cnn"),
        (noise(DIGITS_CNN), {"weights": LENET.load()}, r"weights is a? ?LeNet5.*allowed: DigitsCNN"),
        (
            noise(DIGITS_CNN),
            {"weights": LENET.weights},
            r"lenet5\.safetensors is not a state dict of DigitsCNN",
        ),
        (noise(DIGITS_CNN), {"weights": DIGITS_CNN.weights, "reject": True}, "reject.*bundled.*weights"),
        (torch.zeros(2, 1, 9, 9), {}, r"\[2, 1, 9, 9\]; allowed: .*1, 28, 28.*1, 8, 8"),
    ):
        with pytest.raises(ds.UserError, match=line) as caught:
            ds.classify(images, **options)
        assert "\n" not in str(caught.value)
    for images in (ds.record(small, ds.noise.random(1, small.shape), steps=1), "run.zarr"):
        with pytest.raises(
            ds.UserError, match=r"allowed: .* such as recording\.final, the x_0 of a recording"
        ):
            ds.classify(images)
    with pytest.raises(ds.UserError, match=r"\[4, 1, 28, 28\]; allowed: \[n, 1, 8, 8\]"):
        Classifier.of(DIGITS_CNN.shape)(noise(LENET))


@pytest.mark.parametrize("name", ["auto", "digits-cnn"])
def test_a_map_of_small_images_takes_the_classifier_of_their_shape(small, name):
    plane = ds.noise.plane((3, 2), small.shape, lengths=(8.0, 8.0))
    found = ds.basins.map(small, plane, steps=2, lanes=8, classifier=name, reject=True)
    labels = ds.classify(ds.sample(small, plane.batch(range(6)), steps=2), reject=True)
    for field in ("label", "confidence", "margin", "likeness"):
        np.testing.assert_array_equal(found[field].to_numpy().T.ravel(), getattr(labels, field))
    assert found.attrs["classifier"] == "digits-cnn" and found.attrs["reject"] is True


def test_a_map_of_small_images_refuses_the_classifier_of_others(small):
    plane = ds.noise.plane((2, 2), small.shape, lengths=(8.0, 8.0))
    for classifier, line in (("lenet", "DigitsCNN takes"), (LENET.weights, "not a state dict of DigitsCNN")):
        with pytest.raises(ds.UserError, match=line):
            ds.basins.map(small, plane, steps=1, classifier=classifier)


def test_a_recording_of_small_images_is_labelled_and_classified(small, tmp_path, monkeypatch):
    from command_line import call

    monkeypatch.chdir(tmp_path)
    rec = ds.record(small, ds.noise.random(2, small.shape), "outputs", steps=2)
    call("classify --output auto")
    call("classify --output named --classifier digits-cnn")
    labels = ds.classify(rec.final)
    for folder in ("auto", "named"):
        read = json.loads((tmp_path / folder / "predictions.json").read_text())
        assert [entry["label"] for entry in read.values()] == labels.label.tolist()
    commitment = ds.dynamics.commitment(rec, denoiser=small)
    assert commitment["label"].to_numpy()[:, -1].tolist() == labels.label.tolist()
