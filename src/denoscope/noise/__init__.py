"""Initial noises x_T: random, perturbed, on a plane, on a sphere; read from and written to folders."""

from denoscope.noise.noises import NoiseSet, Shape, perturbed, plane, random, read, sphere

__all__ = ["NoiseSet", "Shape", "perturbed", "plane", "random", "read", "sphere"]
