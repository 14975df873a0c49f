"""Denoise every noise in inputs/ and record hidden states and sequences: `denoscope record`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("record", __file__)
