"""Record what happens inside a diffusion model while it denoises, and measure it as a dynamical system.

>>> import denoscope as ds
>>> denoiser = ds.load("mnist")
>>> x = ds.noise.random(16, denoiser.shape, seed=42)
>>> rec = ds.record(denoiser, x, "run.zarr", steps=50, layers=["conv_in", "mid_block"])
>>> labels = ds.classify(rec.final)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denoscope import basins as basins
    from denoscope import dynamics as dynamics
    from denoscope import noise as noise
    from denoscope.conditioning import Condition as Condition
    from denoscope.denoiser import Denoiser as Denoiser
    from denoscope.denoiser import load as load
    from denoscope.errors import UserError as UserError
    from denoscope.gradients import gradient as gradient
    from denoscope.interventions import Intervention as Intervention
    from denoscope.interventions import read_plan as read_plan
    from denoscope.interventions import write_plan as write_plan
    from denoscope.labels import Labels as Labels
    from denoscope.labels import classify as classify
    from denoscope.latents import decode as decode
    from denoscope.noise import NoiseSet as NoiseSet
    from denoscope.patching import patch as patch
    from denoscope.recording import Recording as Recording
    from denoscope.recording import open as open
    from denoscope.recording import record as record
    from denoscope.sampling import Step as Step
    from denoscope.sampling import denoise as denoise
    from denoscope.sampling import sample as sample
    from denoscope.watching import watch as watch

_HOMES = {
    "Condition": "conditioning",
    "Denoiser": "denoiser",
    "load": "denoiser",
    "gradient": "gradients",
    "Intervention": "interventions",
    "read_plan": "interventions",
    "write_plan": "interventions",
    "NoiseSet": "noise",
    "patch": "patching",
    "Recording": "recording",
    "open": "recording",
    "record": "recording",
    "Step": "sampling",
    "denoise": "sampling",
    "sample": "sampling",
    "Labels": "labels",
    "classify": "labels",
    "watch": "watching",
    "decode": "latents",
    "UserError": "errors",
}

_PARTS = ("basins", "dynamics", "noise")

__all__ = [*_PARTS, *_HOMES]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import, which `denoscope --help` has no use for.
    if name in _PARTS:
        return importlib.import_module(f"denoscope.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"denoscope.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'denoscope' has no attribute {name!r}")
