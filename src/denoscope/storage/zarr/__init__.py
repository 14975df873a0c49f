"""Recordings as one Zarr v3 store."""
