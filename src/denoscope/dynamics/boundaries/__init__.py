"""Basins in a plane of labels: entropy, dimension, uncertainty, verdict."""
