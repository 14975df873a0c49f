"""How recordings lie on disk: a Zarr store, or a folder of .pt files."""
