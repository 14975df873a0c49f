"""Measuring on the machine at hand what the README promises: same bits, precision, sound stores."""

from denoscope.origin import denoiser_of
from denoscope.verify.bits import Check, determinism
from denoscope.verify.floor import NoiseFloor, precision
from denoscope.verify.stored import StoreReport, precision_of, store

__all__ = [
    "Check",
    "NoiseFloor",
    "StoreReport",
    "denoiser_of",
    "determinism",
    "precision",
    "precision_of",
    "store",
]
