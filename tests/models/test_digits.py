"""The bundled models of 8×8 pixels: how good they are, and that the changelog says what is measured."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel

import denoscope as ds
from denoscope.models import bundled


def figures_of(name):
    return json.loads((bundled.folder(name) / "quality.json").read_text())


@pytest.fixture(scope="module")
def figures():
    return figures_of("digits")


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("digits", "unconditional"),
        ("digits-conditional", "under labels"),
        ("digits-conditional", "guidance 2"),
    ],
)
def test_samples_look_like_every_digit(name, way):
    samples, held_out = figures_of(name)[way], figures_of(name)["held out"]
    assert figures_of(name)["samples"] == 1000
    assert samples["share_with_top_softmax_of_at_least_0.9"] >= 0.97
    assert all(0.06 <= share <= 0.14 for share in samples["share_of_each_digit"])
    assert samples["share_memorised"] < 0.01 and held_out["share_memorised"] == 0


def test_samples_have_the_class_of_their_label():
    figures = figures_of("digits-conditional")
    shares = [figures[way]["share_of_the_class_asked_for"] for way in ("under labels", "guidance 2")]
    text = " ".join((Path(__file__).parents[2] / "CHANGELOG.md").read_text().split())
    assert shares[0] >= 0.98 and shares[1] == 1
    assert (
        f"{100 * shares[0]:.1f} % of 1,000 samples have the class of their label, under guidance 2 all"
        in text
    )


def test_guidance_is_that_of_a_plain_loop_of_diffusers():
    folder, steps, scale = bundled.folder("digits-conditional"), 3, 2.0
    network = UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False).eval()
    scheduler, labels = DDIMScheduler.from_pretrained(folder), torch.tensor([3, 1, 4])
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    denoiser = ds.load("digits-conditional", device="cpu")
    condition = denoiser.condition_of_labels(labels.tolist(), scale=scale)
    found = ds.sample(denoiser, x, steps=steps, condition=condition)
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in scheduler.timesteps:
            with_label, without = (
                network(x, t, class_labels=classes).sample for classes in (labels, torch.full((3,), 10))
            )
            x = scheduler.step(without + scale * (with_label - without), t, x).prev_sample
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-5)


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
