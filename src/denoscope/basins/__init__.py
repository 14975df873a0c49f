"""Basins of the denoising map: the class that each noise becomes, on a grid, at single points, or level by level around one.

>>> plane = ds.noise.plane((64, 64), denoiser.shape, lengths=(60, 60))
>>> basins = ds.basins.map(denoiser, plane, steps=20)
>>> ds.dynamics.basin_fractions(basins["label"])
>>> ds.basins.zoom(denoiser, plane, steps=20)["decade_dimension"]
"""

from denoscope.basins.basin_map import map
from denoscope.basins.label_of import label_of
from denoscope.basins.tiles import Tiles, tiles
from denoscope.basins.zooming.zoom import zoom
from denoscope.dynamics.boundaries.point_labels import PointLabels

__all__ = ["PointLabels", "Tiles", "label_of", "map", "tiles", "zoom"]


def __dir__() -> list[str]:
    return __all__
