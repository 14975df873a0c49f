"""Find the tensors of a folder that are equal: `denoscope compare`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("compare", __file__)
