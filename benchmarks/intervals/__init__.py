"""How often the intervals that measures state contain the truth: `make intervals`."""
