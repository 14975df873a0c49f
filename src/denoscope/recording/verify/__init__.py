"""Measurements of what the documentation promises: same bits, known precision, undamaged recordings."""

from denoscope.recording.replay import denoiser_of
from denoscope.recording.verify.noise_floor import NoiseFloor, precision
from denoscope.recording.verify.same_bits import Check, determinism
from denoscope.recording.verify.stored import StoreReport, precision_of, store

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
