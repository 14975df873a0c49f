"""`denoscope basins …`: map the classes that noises become."""
