"""Drawings of hidden states: channels as tiles, paths in the plane of their principal components, attention over an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from denoscope.dynamics.statistics.arguments import parse_array
from denoscope.figures import images as pictures
from denoscope.figures import style
from denoscope.figures.images import ImageLike
from denoscope.figures.plots import check_axis
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe, parse_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TILES = 64
"""The number of channels beyond which a drawing shows the first ones."""
LEAST_STATES = 3


@arguments_checked
def draw_channels(ax: Axes, state: ImageLike, *, count: int = MOST_TILES) -> Axes:
    """Draw the channels of one state [C, H, W] as tiles, row by row, on one scale that is symmetric around 0.

    Args:
        count: at most so many channels, from the first; the title says if there are more.

    Raises: UserError if the state has another shape, or is not finite.
    """
    check_axis(ax)
    values = _finite(state, "state", 3)
    shown = values[: parse_integer(count, "count", minimum=1)]
    columns = pictures.square_columns(len(shown))
    rows = -(-len(shown) // columns)
    height, width = values.shape[1:]
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for k, tile in enumerate(shown):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    most = float(np.abs(shown).max()) or 1.0
    image = ax.imshow(sheet, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    style.colorbar(ax, image, "activation")
    if len(shown) < len(values):
        style.title(ax, f"channels 0 to {len(shown) - 1} of {len(values)}")
    return _bare(ax)


@arguments_checked
def draw_components(ax: Axes, states: ImageLike) -> Axes:
    """Draw the states of samples [sample, step, …] in the plane of their first two principal components.

    A line joins the steps of a sample; its last state has a marker. The axes give the share of the variance.

    Raises: UserError if there are fewer than three states, they are not finite, or all are equal.
    """
    check_axis(ax)
    values = _finite(states, "states", None)
    if values.ndim < 2 or values.shape[0] == 0 or np.prod(values.shape[2:], dtype=int) == 0:
        raise UserError(f"states have shape {list(values.shape)}; allowed: [sample, step, …]")
    samples, steps = values.shape[:2]
    flat = values.reshape(samples * steps, -1)
    centred = flat - flat.mean(0)
    if samples * steps < LEAST_STATES or not centred.any():
        raise UserError("states are fewer than three, or all equal; allowed: at least three that differ")
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((samples * steps, 2))
    places[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    shares = np.append(sizes**2 / (sizes**2).sum(), 0.0)[:2]
    for path in places.reshape(samples, steps, 2):
        (line,) = ax.plot(*path.T, linewidth=style.THIN)
        ax.plot(*path[-1], "o", color=line.get_color(), markersize=style.MARKER)
    for name, place, share in zip(("x", "y"), ("first", "second"), shares, strict=True):
        ax.set(**{f"{name}label": f"{place} component ({100 * share:.0f} %)"})
    return ax


@arguments_checked
def draw_attention(ax: Axes, weights: ImageLike, image: ImageLike) -> Axes:
    """Draw how much attention each place of an image gets: the mean of weights [heads, query, key] over heads and queries.

    Weights of a whole row of queries on h × w keys are laid over the image [C, H, W] as contours of equal attention.

    Raises: UserError if the keys do not form a picture with the proportions of the image.
    """
    check_axis(ax)
    values = _finite(weights, "weights", 3).mean((0, 1))
    pixels = pictures.to_uint8(_finite(image, "image", 3))
    height, width = pixels.shape[:2]
    rows = round((len(values) * height / width) ** 0.5)
    if (
        rows == 0
        or len(values) % rows
        or abs(rows * width - len(values) // rows * height) > max(height, width)
    ):
        raise UserError(
            f"weights have {len(values)} keys, which form no picture of the proportions {width} × {height}; allowed: weights of "
            "self-attention over places"
        )
    ax.imshow(pictures.as_rgb(pixels), extent=(0, width, height, 0), interpolation="nearest")
    drawn = ax.imshow(
        values.reshape(rows, -1),
        extent=(0, width, height, 0),
        cmap="magma",
        alpha=0.6,
        interpolation="nearest",
    )
    style.colorbar(ax, drawn, "mean attention")
    return _bare(ax)


def _finite(values: ImageLike, name: str, dimensions: int | None) -> np.ndarray:
    array = parse_array(values, name)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} is {describe(values)}; allowed: numbers")
    array = array.astype(float)
    if dimensions is not None and array.ndim != dimensions:
        raise UserError(f"{name} has shape {list(array.shape)}; allowed: {dimensions} dimensions")
    if not array.size or not np.isfinite(array).all():
        raise UserError(f"{name} is empty or holds NaN or Inf; allowed: finite numbers")
    return array


def _bare(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    return ax
