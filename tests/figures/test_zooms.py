"""Drawings of zooms: the numbers of the result, and frames that narrow."""

import numpy as np
import pytest
import xarray
from PIL import Image

import denoscope as ds

COLORS = ["#ff0000", "#0000ff"]


@pytest.fixture
def zoomed():
    """Two levels of 32² cells, the left half of each of class 0 but for a square of class 1 in the middle of the second."""
    labels = np.zeros((2, 32, 32), int)
    labels[:, :, 16:] = 1
    labels[1, 12:20, 12:20] = 1
    return xarray.Dataset(
        {
            "label": (("level", "y", "x"), labels),
            "dimension": ("level", [1.0, 1.2]),
            "unstable_share": ("level", [0.0, 0.06]),
            "decade_dimension": ("decade", [1.1, np.nan]),
            "decade_dimension_interval": (("decade", "bound"), [[1.0, 1.3], [np.nan, np.nan]]),
            "decade_range": (("decade", "bound"), [[8.0, 4.0], [0.8, 0.4]]),
            "verdict": ("decade", ["smooth", "undecided"]),
        },
        coords={"half_width": ("level", [8.0, 4.0])},
        attrs={"stopped": "it has one label"},
    )


def test_a_zoom_is_drawn_by_decade(zoomed):
    _, ax = ds.figures.plots.figure()
    assert ds.figures.draw_zoom(ax, zoomed) is ax
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["levels", "rounding decides", "smooth", "undecided"] and ax.xaxis_inverted()
    (point,) = ax.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(point, [32**0.5, 1.1])
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[8.0, 1.0]])
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), [[4.0, 1.2]])  # rounding decides the second level
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
    _, ax = ds.figures.plots.figure()
    ds.figures.draw_zoom(ax, zoomed.assign(unstable_share=zoomed["unstable_share"] * 0))
    assert "rounding decides" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_zoom_without_a_decade_is_drawn_with_the_reason_of_its_end(zoomed):
    _, ax = ds.figures.plots.figure()
    zoomed["unstable_share"].values[:] = 1
    ds.figures.draw_zoom(ax, zoomed.isel(decade=slice(0, 0)))
    assert "it has one label" in ax.get_title() and not len(ax.lines[0].get_xydata())


def test_the_frames_of_an_animation_narrow_from_one_level_to_the_next(zoomed, tmp_path):
    ds.figures.save_zoom(zoomed, tmp_path / "z.gif", colors=COLORS, frames_per_level=2)
    with Image.open(tmp_path / "z.gif") as animation:
        assert animation.n_frames == 3
        frames = []
        for index in range(3):
            animation.seek(index)
            frames.append(np.asarray(animation.convert("RGB"))[:320].astype(int))
    red, blue = ((frame[:, :, channel] > 200) for frame in frames[:1] for channel in (0, 2))
    assert red[:, :160].all() and blue[:, 160:].all()
    inner = (frames[2][:, :160, 2] > 200).sum()
    assert inner == 80 * 40  # 8 by 4 cells of 10 pixels
    assert (frames[1] == frames[0]).all()  # the same halves, narrower


def test_labels_without_a_colour_are_grey(zoomed, tmp_path):
    zoomed["label"].values[1] = -1
    ds.figures.save_zoom(zoomed, tmp_path / "z.gif", colors=["#ff0000"], frames_per_level=1)
    with Image.open(tmp_path / "z.gif") as animation:
        animation.seek(1)
        assert np.asarray(animation.convert("RGB"))[10, 10].tolist() == [140, 140, 140]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"path": "z.webm"}, r"path is 'z.webm'; allowed: a name that ends in \.gif or \.mp4"),
        ({"path": "z.gif", "colors": ["blau"]}, "colors is"),
        ({"path": "z.gif", "frames_per_level": 0}, "frames_per_level is 0"),
        ({"path": "z.gif", "frames_per_level": True}, "frames_per_level is True"),
    ],
)
def test_invalid_animations_are_refused(zoomed, options, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ds.UserError, match=line):
        ds.figures.save_zoom(zoomed, **options)
    assert not list(tmp_path.iterdir())
