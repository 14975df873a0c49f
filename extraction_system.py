"""The core classes: model loading, denoising, state extraction, recordings."""

from denoscope.denoiser import Denoiser, load
from denoscope.recording import Recording, open, record
from denoscope.sampling import Step, denoise, sample
from denoscope.taps import tapped

__all__ = ["Denoiser", "Recording", "Step", "denoise", "load", "open", "record", "sample", "tapped"]
