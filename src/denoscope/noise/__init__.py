"""Initial noises x_T: random, perturbed, on a plane, on a sphere; read from and written to folders."""

from denoscope.noise.array_noise import ArrayNoise
from denoscope.noise.coercion import as_noises, as_state
from denoscope.noise.folder_noise import FolderNoise, read
from denoscope.noise.noise_set import NoiseSet, Shape
from denoscope.noise.perturbed_noise import PerturbedNoise, perturbed
from denoscope.noise.plane_noise import PlaneNoise
from denoscope.noise.planes import plane, plane_through
from denoscope.noise.random_noise import RandomNoise, random
from denoscope.noise.sphere_noise import SphereNoise, sphere

__all__ = [
    "ArrayNoise",
    "FolderNoise",
    "NoiseSet",
    "PerturbedNoise",
    "PlaneNoise",
    "RandomNoise",
    "Shape",
    "SphereNoise",
    "as_noises",
    "as_state",
    "perturbed",
    "plane",
    "plane_through",
    "random",
    "read",
    "sphere",
]


def __dir__() -> list[str]:
    return __all__
