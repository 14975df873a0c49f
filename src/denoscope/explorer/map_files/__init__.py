"""Maps of basins that are read from files."""
