"""Write independent random noises to inputs/: `denoscope noise random`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("noise random", __file__)
