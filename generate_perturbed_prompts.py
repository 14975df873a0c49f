"""Write a noise and small perturbations of it to inputs/: `denoscope noise perturbed`."""

from denoscope.cli import script

if __name__ == "__main__":
    script("noise perturbed", __file__)
