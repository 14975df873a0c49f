"""Files of figures."""

import numpy as np
import pytest
from PIL import Image

from denoscope import figures
from denoscope.config import SystemConfig
from denoscope.figures import plots
from denoscope.foundation.errors import UserError

COLORS = SystemConfig().class_colors


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_atomically(tmp_path, ending):
    figure, ax = plots.figure(4, 3)
    figures.draw_plane(ax, np.eye(3, dtype=int), np.arange(3.0), np.arange(3.0), colors=COLORS)
    path = tmp_path / "figures" / f"plane.{ending}"
    plots.save(figure, path)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size > 1000
    if ending == "png":
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 200


def test_an_unknown_ending_is_refused(tmp_path):
    for name in ("plane", "plane.xyz"):
        with pytest.raises(UserError, match=r"allowed: .*png"):
            plots.save(plots.figure()[0], tmp_path / name)
    assert not list(tmp_path.iterdir())
