"""Which class each noise of a plane becomes: maps of basins."""

from denoscope.basins.basin_map import PointLabels, label_of, map

__all__ = ["PointLabels", "label_of", "map"]
