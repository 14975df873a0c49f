"""Drawings of hidden states and recordings show the numbers that they are given."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope import figures
from denoscope.figures import plots


@pytest.fixture
def ax():
    return plots.figure()[1]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    denoiser, x = ds.load("digits"), ds.noise.random(3, (1, 8, 8), seed=1)
    layers = ["mid_block", "mid_block.attentions.0:probs"]
    return ds.record(denoiser, x, tmp_path_factory.mktemp("run") / "run.zarr", steps=3, layers=layers)


def test_channels_are_tiles_on_one_scale_around_zero(ax):
    state = torch.arange(5.0 * 2 * 3).reshape(5, 2, 3) - 10
    assert figures.draw_channels(ax, state, count=4) is ax
    (image,) = ax.images
    sheet = image.get_array()
    assert sheet.shape == (2 * 3 - 1, 2 * 4 - 1), "two by two tiles of 2 × 3, with a line between them"
    np.testing.assert_array_equal(sheet[:2, 4:], state[1])
    np.testing.assert_array_equal(sheet[3:, :3], state[2])
    assert np.ma.getmaskarray(sheet)[2].all() or np.isnan(sheet[2]).all()
    assert image.get_clim() == (-13, 13), "the largest of the channels that are shown"
    assert ax.get_title(loc="left") == "channels 0 to 3 of 5"


def test_components_show_paths_in_the_plane_in_which_they_lie(ax):
    """Two paths in a plane of a space of 40 numbers, along directions of known variance."""
    along, across = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 2)))[0].T
    steps = np.linspace(-1, 1, 9)
    paths = np.stack([np.outer(3 * steps, along) + side * across for side in (-1, 1)])
    figures.draw_components(ax, paths)
    drawn = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 1]
    for path, side in zip(drawn, (-1, 1), strict=True):
        np.testing.assert_allclose(np.abs(path[:, 0]), np.abs(3 * steps), atol=1e-9)
        np.testing.assert_allclose(np.abs(path[:, 1]), 1, atol=1e-9)
        assert len(set(np.sign(path[:, 1]))) == 1, side
    share = 100 * 9 * (steps**2).sum() / (9 * (steps**2).sum() + 9)
    assert ax.get_xlabel() == f"first component ({share:.0f} %)"
    assert ax.get_ylabel() == f"second component ({100 - share:.0f} %)"


@pytest.mark.parametrize("shape", [(), (5,), (5, 4), (5, 4, 4)])
def test_each_sample_has_a_path_whatever_the_shape_of_its_states(ax, shape):
    states = np.random.default_rng(0).normal(size=(3, 6, *shape))
    figures.draw_components(ax, states)
    paths = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 1]
    assert [len(path) for path in paths] == [6, 6, 6]


def test_attention_lies_over_the_image_it_belongs_to(ax):
    weights = np.zeros((2, 6, 6))
    weights[0, :, 4], weights[1, :, 1] = 1.0, 0.5
    figures.draw_attention(ax, weights, torch.zeros(1, 8, 12))
    picture, laid = ax.images
    assert picture.get_extent() == laid.get_extent() == [0, 12, 8, 0]
    np.testing.assert_allclose(laid.get_array(), [[0, 0.25, 0], [0, 0.5, 0]])


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        (
            lambda ax: figures.draw_channels(ax, np.zeros((2, 2))),
            r"state has shape \[2, 2\]; allowed: 3 dimensions",
        ),
        (lambda ax: figures.draw_channels(ax, np.full((1, 2, 2), np.nan)), "state is empty or holds NaN"),
        (lambda ax: figures.draw_channels(ax, np.zeros((0, 2, 2))), "state is empty"),
        (lambda ax: figures.draw_channels(ax, np.zeros((1, 2, 2)), count=0), "count is 0; allowed"),
        (lambda ax: figures.draw_components(ax, np.zeros((2, 3, 4))), "all equal"),
        (
            lambda ax: figures.draw_components(ax, np.zeros(4)),
            r"states have shape \[4\]; allowed: \[sample, step",
        ),
        (
            lambda ax: figures.draw_attention(ax, np.ones((1, 5, 5)), np.zeros((1, 8, 8))),
            "5 keys, which form no picture of the proportions 8 × 8",
        ),
        (lambda ax: figures.draw_images(ax, 3), "recording is 3; allowed: a recording"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ax, draw, line):
    with pytest.raises(ds.UserError, match=line):
        draw(ax)


def test_a_recording_is_drawn_with_images_a_sequence_and_a_layer(recording, ax):
    sheet, strip, layer = figures.draw(recording).axes
    assert sheet.get_title(loc="left") == "x_0 of 3" and strip.get_title(loc="left") == "sample_0000"
    assert [text.get_text() for text in strip.get_xticklabels()] == ["$x_T$", "1", "2", "$x_0$ (3)"]
    assert layer.get_title(loc="left") == "mid_block (dots: last step)"
    states = recording.states
    figures.draw_channels(ax, states["mid_block"][0, 1])
    other = plots.figure()[1]
    figures.draw_attention(other, states["mid_block.attentions.0:probs"][0, 1], recording.final[0])
    assert other.images[1].get_array().shape == (4, 4)
    with pytest.raises(ds.UserError, match="layer is 'conv_in'; allowed: mid_block, mid_block"):
        figures.draw_layer(ax, recording, "conv_in")
