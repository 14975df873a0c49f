"""Animations of maps that become finer: one frame a stage, in the colours of the classes."""

import numpy as np
import pytest
import xarray
from PIL import Image

import denoscope as ds

COLORS = ["#102030", "#405060", "#708090", "#a0b0c0", "#d0e0f0", "#112233", "#445566", "#778899", "#aabbcc", "#ddeeff"]  # fmt: skip


def stage(labels, computed) -> xarray.Dataset:
    known = np.zeros(np.shape(labels), bool)
    known.flat[:computed] = True
    return xarray.Dataset({"label": (("y", "x"), labels), "computed": (("y", "x"), known)})


def test_each_stage_is_a_frame_with_v_upwards(tmp_path):
    stages = ds.figures.RefinementFrames()
    for labels, computed in (([[0, 0], [1, 1]], 1), ([[0, 1], [-1, 1]], 4)):
        stages(stage(np.array(labels), computed))
    ds.figures.save_refinement(stages, tmp_path / "map.gif", colors=COLORS)
    with Image.open(tmp_path / "map.gif") as gif:
        assert gif.n_frames == 2 and repr(stages) == "<RefinementFrames: 2 stages>"
        frames = []
        for number in range(2):
            gif.seek(number)
            frames.append(np.asarray(gif.convert("RGB")))
    below, above = frames[0].shape[1] * 3 // 4, frames[0].shape[1] // 4
    left, right = above, below
    first, second = (np.array([int(COLORS[k][i : i + 2], 16) for i in (1, 3, 5)]) for k in (0, 1))
    for shown, expected in (
        (frames[0][below, left], first),
        (frames[0][above, right], second),
        (frames[1][below, right], second),
        (frames[1][above, left], np.array([140, 140, 140])),
    ):
        np.testing.assert_allclose(shown, expected, atol=8)


def test_nothing_to_show_and_other_formats_are_refused(tmp_path):
    stages = ds.figures.RefinementFrames()
    with pytest.raises(ds.UserError, match=r"stages is <RefinementFrames: 0 stages>; allowed: "):
        ds.figures.save_refinement(stages, tmp_path / "map.gif")
    stages(stage(np.zeros((2, 2), int), 4))
    with pytest.raises(ds.UserError, match=r"map\.png'; allowed: a name that ends in \.gif or \.mp4"):
        ds.figures.save_refinement(stages, tmp_path / "map.png")
    assert not list(tmp_path.iterdir())
