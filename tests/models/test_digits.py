"""The bundled model `digits`: how good it is, and that the changelog says what is measured."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope.models import bundled


@pytest.fixture(scope="module")
def figures():
    return json.loads((bundled.folder("digits") / "quality.json").read_text())


def test_samples_look_like_every_digit(figures):
    samples, held_out = figures["unconditional"], figures["held out"]
    assert figures["samples"] == 1000
    assert samples["share_with_top_softmax_of_at_least_0.9"] >= 0.97
    assert all(0.06 <= share <= 0.14 for share in samples["share_of_each_digit"])
    assert samples["share_memorised"] < 0.01 and held_out["share_memorised"] == 0


def test_the_changelog_states_these_figures(figures):
    text = " ".join((Path(__file__).parents[2] / "CHANGELOG.md").read_text().split())
    entry = re.search(r"- The bundled `digits`.*?(?= - | #)", text)[0]
    confident = {
        kind: figures[kind]["share_with_top_softmax_of_at_least_0.9"]
        for kind in ("unconditional", "held out")
    }
    assert re.findall(r"([\d.,]+) %", entry) == [
        f"{100 * share:.1f}" for share in (*confident.values(), figures["unconditional"]["share_memorised"])
    ]
    parameters = sum(value.numel() for value in ds.load("digits", device="cpu").network.parameters())
    assert f"{parameters:,} parameters" in entry and f"{figures['samples']:,} samples" in entry


@pytest.mark.slow
def test_new_samples_are_as_good_as_the_card_says(figures):
    """The first 300 of the card's noises, denoised again: within three standard errors of the share among all 1,000."""
    denoiser = ds.load("digits", device="cpu")
    x = torch.stack([torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(300)])
    found = ds.classify(ds.sample(denoiser, x, steps=50, lanes=60))
    share = figures["unconditional"]["share_with_top_softmax_of_at_least_0.9"]
    assert abs(np.mean(found.confidence >= 0.9) - share) < 3 * np.sqrt(share * (1 - share) / 300)
    assert len(np.unique(found.label)) == 10
