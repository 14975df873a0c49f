"""The core classes: model loading, denoising, state extraction, recordings."""

from denoscope.hooks.taps import tapped
from denoscope.models.denoiser import Denoiser, load
from denoscope.recording.recording import Recording, open, record
from denoscope.sampling.loop import Step, denoise, sample

__all__ = ["Denoiser", "Recording", "Step", "denoise", "load", "open", "record", "sample", "tapped"]
