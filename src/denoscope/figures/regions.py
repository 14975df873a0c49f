"""Where the regions of a plane of labels are wide enough for a name."""

from __future__ import annotations

import numpy as np

FINEST = 256
"""The most rows or columns that are looked at; finer planes are thinned out."""


def wide_regions(labels: np.ndarray, radius: float, *, always: float) -> list[tuple[int, float, float]]:
    """The label, row and column of the middle of each connected region into which a circle of `radius` cells fits.

    Of each class the widest region counts from a radius of `always`. The middle is that of the widest circle. Negative labels
    have no regions.
    """
    from scipy import ndimage

    step = max(1, -(-max(labels.shape) // FINEST))
    thin, found = labels[::step, ::step], []
    for label in np.unique(thin[thin >= 0]):
        inside = np.pad(thin == label, 1)  # the edge of the plane ends a region
        distance = ndimage.distance_transform_edt(inside) * step
        parts, count = ndimage.label(inside)
        places = ndimage.maximum_position(distance, parts, range(1, count + 1))
        widest = max(distance[place] for place in places)
        for place in places:
            least = always if distance[place] == widest else radius
            if distance[place] >= least:
                found.append((int(label), *((at - 1) * step for at in place)))
    return found
