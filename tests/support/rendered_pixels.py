"""The colours of a drawn figure."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex


def rendered(figure, ax):
    """A function that reads the colour at data coordinates (x, y) from the pixels of a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())

    def colour_at(x, y):
        column, row = ax.transData.transform((x, y))
        return to_hex(pixels[pixels.shape[0] - 1 - int(row), int(column)] / 255)

    return colour_at
