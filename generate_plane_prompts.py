"""Write a 2-D plane of noises to inputs/: `denoscope noise plane`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("noise plane", __file__)
