"""Labels of images: the right digit and numbers, for each row independently of the others."""

import itertools
import math

import numpy as np
import pytest
import torch
import xarray

from denoscope.foundation.errors import UserError
from denoscope.models.classifier import lenet
from denoscope.models.classifier.classification import Classifier, classify, classify_finite
from denoscope.models.classifier.labels import Labels, summary


def noise(count, seed=0):
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def drawn():
    """Digits drawn from their geometry, white on black in [-1, 1]: a ring, a stroke, an angle, two rings."""
    y, x = np.mgrid[0:28, 0:28].astype(float)

    def stroke(*points, closed=False):
        points = [*points, points[0]] if closed else list(points)
        nearest = np.full((28, 28), np.inf)
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            along = np.clip(
                ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1
            )
            nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
        return np.clip(2.2 - nearest, 0, 1)

    def ring(cx, cy, rx, ry):
        turns = np.linspace(0, 2 * math.pi, 40)
        return stroke(*[(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in turns])

    shapes = {
        0: ring(14, 14, 5.5, 8),
        1: stroke((14, 5), (14, 23)),
        4: np.maximum(stroke((9, 5), (9, 14), (18, 14)), stroke((18, 5), (18, 23))),
        7: stroke((8, 6), (20, 6), (13, 23)),
        8: np.maximum(ring(14, 9.5, 4, 4), ring(14, 18, 4.5, 4.5)),
    }
    return list(shapes), torch.tensor(np.stack(list(shapes.values()))[:, None] * 2 - 1, dtype=torch.float32)


def test_drawn_digits_are_recognised():
    digits, images = drawn()
    labels = classify(images)
    assert labels.label.tolist() == digits
    assert labels.confidence.min() > 0.9


def test_labels_are_those_of_the_softmax():
    images = noise(37)
    logits = lenet.load()(images).double().numpy()
    powers = np.exp(logits - logits.max(1, keepdims=True))
    softmax = np.sort(powers / powers.sum(1, keepdims=True), axis=1)
    labels = classify(images)
    np.testing.assert_array_equal(labels.label, logits.argmax(1))
    np.testing.assert_allclose(labels.confidence, softmax[:, -1], atol=1e-5)
    np.testing.assert_allclose(labels.margin, softmax[:, -1] - softmax[:, -2], atol=1e-5)
    assert labels.label.dtype == np.int64 and labels.confidence.dtype == np.float32
    assert len(labels) == 37 and labels.names is None


def test_an_answer_does_not_depend_on_the_other_rows():
    images = noise(300)
    whole = classify(images)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    mixed = classify(images[order])
    for k in (0, 6, 255, 256, 299):
        alone = classify(images[k])
        place = int((order == k).nonzero())
        for field in ("label", "confidence", "margin"):
            assert getattr(alone, field)[0] == getattr(whole, field)[k] == getattr(mixed, field)[place]


def test_all_kinds_of_images_give_the_same():
    images = noise(5)
    expected = classify(images).to_dict()
    assert expected["names"] is None
    array = xarray.DataArray(
        images.numpy(),
        dims=("sample", "channel", "height", "width"),
        coords={"sample": [f"s{k}" for k in range(5)]},
    )
    assert classify(images.numpy()).to_dict() == expected
    for doubles in (images.double(), images.numpy().tolist()):  # classified in float64
        found = classify(doubles).to_dict()
        assert found["label"] == expected["label"]
        assert found["confidence"] == pytest.approx(expected["confidence"], abs=1e-6)
    assert classify(images, weights=lenet.load()).to_dict() == expected
    assert classify(images, weights=lenet.WEIGHTS).to_dict() == expected
    assert classify(array.drop_vars("sample")).to_dict() == expected
    names = ["s0", "s1", "s2", "s3", "s4"]
    assert classify(array).to_dict() == {**expected, "names": names}
    turned = array.transpose("height", "sample", "width", "channel")
    assert classify(turned).to_dict() == {**expected, "names": names}
    one = classify(array[2])
    assert one.names == ("s2",) and one.label[0] == expected["label"][2]
    assert classify(array.drop_vars("sample")[2]).label[0] == expected["label"][2]


def test_a_read_only_array_is_classified_without_a_warning():
    images = noise(2).numpy()
    images.flags.writeable = False
    assert len(classify(images)) == 2


def test_no_images_have_no_labels():
    labels = classify(torch.zeros(0, 1, 28, 28))
    assert len(labels) == 0 and labels.label.dtype == np.int64 and summary(labels) == "no images"


def test_own_weights_are_used(tmp_path):
    model = lenet.LeNet5()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.classifier[5].bias[6] = math.log(91.0)
    torch.save(model.state_dict(), tmp_path / "sixes.pt")
    labels = classify(noise(3), weights=tmp_path / "sixes.pt")
    assert labels.label.tolist() == [6, 6, 6]
    np.testing.assert_allclose(labels.confidence, 0.91, rtol=1e-6)
    np.testing.assert_allclose(labels.margin, 0.90, rtol=1e-6)


def test_the_network_given_keeps_its_mode():
    model = lenet.load().train()
    classify(noise(1), weights=model)
    assert model.training


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 28, 28), r"\[2, 3, 28, 28\]"),
        (torch.zeros(2, 1, 32, 32), r"\[2, 1, 32, 32\]"),
        (torch.zeros(28, 28), r"\[28, 28\]"),
        (torch.zeros(2, 51, 1, 28, 28), "one state of a sequence"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "uint8"),
        (np.zeros((2, 1, 28, 28), dtype=np.int64), "int64"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.complex64), "complex64"),
    ],
)
def test_other_shapes_and_dtypes_are_refused(images, message):
    with pytest.raises(UserError, match=message) as caught:
        classify(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_its_row(value):
    images = noise(9)
    images[5, 0, 3, 4] = value
    with pytest.raises(UserError, match="image 5"):
        classify(images)
    named = xarray.DataArray(
        images.numpy(), dims=("sample", "c", "h", "w"), coords={"sample": list("abcdefghi")}
    )
    with pytest.raises(UserError, match=r"image 5 \(f\)"):
        classify(named)


def test_the_summary_counts():
    digits, images = drawn()
    text = summary(classify(images.repeat(2, 1, 1, 1)))
    for digit in range(10):
        assert f"digit {digit}: {2 if digit in digits else 0:6,d}" in text


def test_images_that_are_not_finite_are_labelled_as_such_and_cost_the_others_nothing():
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[2, 0, 3, 3] = float("nan")
    found, alone = classify_finite(images), classify(images[[0, 1, 3]])
    assert found.label[2] == -1 and np.isnan(found.confidence[2])
    assert np.array_equal(found.label[[0, 1, 3]], alone.label)
    assert np.array_equal(found.confidence[[0, 1, 3]], alone.confidence)
    assert "NaN or Inf: 1, labelled -1" in summary(found)
    assert "NaN or Inf: 1" in summary(classify_finite(images[2:3]))


def test_images_without_a_digit_are_rejected_and_digits_are_not():
    digits, images = drawn()
    grey = torch.linspace(-1, 1, 5).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    none = torch.cat([noise(40).clamp(-1, 1), noise(40), 100 * noise(40), -images, grey])
    found = classify(torch.cat([images, none]), reject=True)
    assert found.label.tolist() == digits + [-1] * len(none)
    assert found.likeness.dtype == np.float32 and ((found.likeness >= 1) == (found.label >= 0)).all()
    plain = classify(torch.cat([images, none]))
    np.testing.assert_array_equal(found.confidence, plain.confidence)
    np.testing.assert_array_equal(found.margin, plain.margin)
    assert plain.likeness is None and (plain.label >= 0).all()
    text = summary(
        classify_finite(
            torch.cat([images, none, none[:1] * torch.nan]), Classifier.of((1, 28, 28), reject=True)
        )
    )
    assert f"no digit: {len(none)}, labelled -1" in text and "NaN or Inf: 1, labelled -1" in text
    assert f"digit 8: {1:6,d}" in text


def test_a_likeness_does_not_depend_on_the_other_rows():
    images = torch.cat([noise(260), drawn()[1]])
    whole = classify(images, reject=True)
    for k in (0, 7, 255, 256, 262):
        alone = classify(images[k], reject=True)
        assert alone.likeness[0] == whole.likeness[k] and alone.label[0] == whole.label[k]


def test_unfinished_samples_of_a_recording_are_refused_by_the_first_and_can_be_left_out():
    coords = {"sample": ["a", "b", "c"], "complete": ("sample", [True, False, False])}
    dims = ("sample", "channel", "height", "width")
    images = xarray.DataArray(noise(3).numpy(), dims=dims, coords=coords)
    with pytest.raises(UserError, match=r"2 of 3 samples are not finished, the first is b; .*images\[images"):
        classify(images)
    assert classify(images[images.complete]).names == ("a",)


def test_other_weights_cannot_reject():
    for weights in (lenet.WEIGHTS, lenet.load()):
        with pytest.raises(UserError, match=r"reject.*bundled.*weights") as caught:
            classify(noise(1), weights=weights, reject=True)
        assert "\n" not in str(caught.value)


def test_labels_describe_themselves_in_one_line():
    labels = Labels(np.array([7, 1, 7, -1]), *(np.array([0.5, 1.0, 0.75, np.nan], np.float32),) * 2)
    assert repr(labels) == "<Labels of 4 images: 1 × digit 1, 2 × digit 7, 1 × no digit>"
    assert labels.counts.tolist() == [0, 1, 0, 0, 0, 0, 0, 2, 0, 0]
    none = np.empty(0)
    assert repr(Labels(none.astype(int), none, none)) == "<Labels of 0 images: none>"


def test_a_notebook_shows_labels_as_a_table_and_a_histogram():
    values = np.array([0.5, 1.0], np.float32)
    html = Labels(np.array([7, 1]), values, values)._repr_html_()
    assert "1 × digit 1, 1 × digit 7" in html and "0.750" in html and "<svg" in html
    lost = np.array([np.nan], np.float32)
    assert "none" in Labels(np.array([-1]), lost, lost)._repr_html_()
