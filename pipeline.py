"""Plane of noises → denoise → classify → coloured plane: `denoscope pipeline`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("pipeline", __file__)
