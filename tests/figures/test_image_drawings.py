"""Contact sheets and strips."""

import torch
from matplotlib.colors import to_hex
from rendered_pixels import rendered

from denoscope import figures
from denoscope.config import SystemConfig
from denoscope.figures import plots
from denoscope.figures.drawings.images import GAP

COLORS = SystemConfig().class_colors


def test_a_strip_labels_its_states():
    sequence = torch.linspace(-1, 1, 51).view(-1, 1, 1, 1).expand(-1, 1, 9, 9)
    figure, ax = plots.figure(10, 2)
    figures.draw_strip(ax, sequence, count=6)
    colour_at = rendered(figure, ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "$x_T$",
        "10",
        "20",
        "30",
        "40",
        "$x_0$ (50)",
    ]
    for place, shade in zip(ax.get_xticks(), (0, 51, 102, 153, 204, 255), strict=True):
        assert colour_at(place, 5) == to_hex((shade / 255,) * 3)


def test_a_contact_sheet_is_drawn_row_by_row():
    stack = torch.linspace(-1, 1, 6).view(-1, 1, 1, 1).expand(-1, 3, 9, 9)
    figure, ax = plots.figure()
    figures.draw_contact_sheet(ax, stack, columns=3)
    colour_at = rendered(figure, ax)
    pitch = 9 + GAP
    for k in range(6):
        x, y = k % 3 * pitch + GAP + 4, k // 3 * pitch + GAP + 4
        assert colour_at(x, y) == to_hex((k / 5,) * 3)
