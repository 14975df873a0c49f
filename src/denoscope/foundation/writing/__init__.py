"""Writing results: whole or not at all, and by one process at a time."""
