"""Zooms into a boundary between basins, level by level, down to the precision of the noises."""
