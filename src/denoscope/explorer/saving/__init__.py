"""Files that the explorer makes of a view: pages and films."""
