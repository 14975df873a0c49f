"""Turn recorded tensors into PNG pictures: `denoscope image`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("image", __file__)
