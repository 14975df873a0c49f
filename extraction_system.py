"""The core classes: model loading, denoising, state extraction, recordings."""

from denoscope import Denoiser, Recording, Step, denoise, load, open, record, sample
from denoscope.hooks.taps import tapped

__all__ = ["Denoiser", "Recording", "Step", "denoise", "load", "open", "record", "sample", "tapped"]
