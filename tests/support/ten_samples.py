"""The recording that processes make in `recording/conftest.py`: ten samples in three flights of three steps."""

COUNT, LANES, STEPS = 10, 4, 3
LAYERS = ("conv_in", "mid_block")
FIRST_CALL = 4
"""The first call of the network in a step: two calls survey its layers, one is the probe of the fingerprint."""
LATE = 10**6
"""A later file event than any recording has."""
