"""What classifiers reject: rates counted by hand on stand-in images, and what is stored beside them."""

import json

import pytest
import torch
from torch import nn

from denoscope.models.classifier.bundled_classifiers import LENET
from denoscope.models.classifier.likeness import Likeness
from training import fit_likeness, rejection


class FirstTenPixels(nn.Module):
    """A network whose logits are the first ten pixels of an image."""

    def forward(self, images):
        return images.flatten(1)[:, :10]


def images_of(rows):
    """Images of twelve pixels: ten logits and two pixels beyond the space of digits."""
    return torch.tensor([logits + beyond for logits, beyond in rows]).reshape(-1, 1, 1, 12)


SURE, EVEN, EMPTY = (
    [10.0] + [0.0] * 9,
    [1.0] * 10,
    [0.0] * 10,
)  # softmax 0.9996, 0.1, 0.1; evidence 10, 3.30, 2.30
STAND_INS = images_of([
    (SURE, [0.0, 0.0]),   # a digit by every rule
    (SURE, [3.0, 4.0]),   # residue 5: rejected by residue and likeness
    (EVEN, [0.0, 0.0]),   # rejected by softmax alone
    (EMPTY, [1.0, 0.0]),  # rejected by softmax, evidence and likeness
    (EMPTY, [3.0, 4.0]),  # rejected by every rule
])  # fmt: skip


@pytest.fixture
def likeness():
    """Evidence of at least 3, and at most 2 beyond the first ten pixels."""
    return Likeness(torch.zeros(12), torch.eye(12)[:10], 3.0, 2.0)


def test_shares_are_those_counted_by_hand(likeness):
    assert rejection.shares(FirstTenPixels(), rejection.rules_of(likeness), STAND_INS) == {
        "softmax below 0.9": 3 / 5,
        "evidence": 2 / 5,
        "residue": 2 / 5,
        "likeness": 3 / 5,
    }


def test_what_is_written_holds_the_number_of_images_of_each_kind(likeness, tmp_path):
    figures = rejection.measure(FirstTenPixels(), rejection.rules_of(likeness), STAND_INS, tmp_path, None)
    assert json.loads((tmp_path / "rejection.json").read_text()) == figures
    assert figures["model"] is None and not any(name.startswith("x_0") for name in figures["images"])
    assert set(figures["images"]) == set(figures["rejected"])
    counts = {"test digits": 5, "x_T itself": 200, "uniform noise": 1000, "black on white": 2}
    assert counts.items() <= figures["images"].items()
    assert figures["rejected"]["test digits"]["softmax below 0.9"] == 3 / 5
    # Greys have ten equal logits g, hence the evidence g + ln 10 < 3 unless g ≥ 0.7: the last four of −1, −0.9 … 1.
    assert figures["images"]["blank, from black to white"] == 21
    assert figures["rejected"]["blank, from black to white"]["evidence"] == pytest.approx(17 / 21)


def test_each_rule_of_lenet_rejects_the_same_share_of_the_validation_digits(tmp_path):
    generator = torch.Generator().manual_seed(0)
    data = {
        name: (torch.randn(200, 1, 28, 28, generator=generator), torch.arange(200) % 10)
        for name in ("train", "validation")
    }
    data["test"] = data["validation"]
    found = fit_likeness.fit(data, tmp_path, fit_likeness.Recipe(components=2))
    figures = fit_likeness.measure(data, found, tmp_path, model=None)
    softmax = LENET.load()(data["test"][0]).softmax(1).amax(1)
    below = (softmax < 0.9).double().mean().item()
    assert 0 < below < 1
    assert figures["rejected"]["test digits"] == {
        **dict.fromkeys(("softmax", "margin", "Mahalanobis", "evidence", "residue", "likeness"), 0.01),
        "softmax below 0.9": below,
    }
