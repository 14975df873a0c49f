"""Measuring on the machine at hand what the README promises: same bits, precision, sound stores."""

from denoscope.recording.replay import denoiser_of
from denoscope.recording.verify.bits import Check, determinism
from denoscope.recording.verify.floor import NoiseFloor, precision
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
