"""Classify the digit that each result in outputs/ shows: `denoscope classify`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("classify", __file__)
