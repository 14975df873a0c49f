"""Drawings: each `draw_*` draws one result on an axis."""
