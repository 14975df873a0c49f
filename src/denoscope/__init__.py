"""Record what happens inside a diffusion model while it denoises, and measure it as a dynamical system.

>>> import denoscope as ds
>>> denoiser = ds.load("mnist")
>>> x = ds.noise.random(16, denoiser.shape, seed=42)
>>> rec = ds.record(denoiser, x, "run.zarr", steps=50, layers=["conv_in", "mid_block"])
>>> labels = ds.classify(rec.final)
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from denoscope import basins as basins
    from denoscope import dynamics as dynamics
    from denoscope import figures as figures
    from denoscope import noise as noise
    from denoscope.foundation.checkpoint import Checkpoint as Checkpoint
    from denoscope.foundation.errors import UserError as UserError
    from denoscope.interventions.plan_file import read_plan as read_plan
    from denoscope.interventions.plan_file import write_plan as write_plan
    from denoscope.interventions.spec import Intervention as Intervention
    from denoscope.models.classifier.classification import classify as classify
    from denoscope.models.classifier.labels import Labels as Labels
    from denoscope.models.conditioning import Condition as Condition
    from denoscope.models.denoiser import Denoiser as Denoiser
    from denoscope.models.latents import decode as decode
    from denoscope.models.loading import load as load
    from denoscope.noise.noise_set import NoiseSet as NoiseSet
    from denoscope.recording.opening import open as open
    from denoscope.recording.patching.patching import patch as patch
    from denoscope.recording.pipelines.watch import watch as watch
    from denoscope.recording.record import record as record
    from denoscope.recording.recording import Recording as Recording
    from denoscope.sampling.gradients import gradient as gradient
    from denoscope.sampling.loop import denoise as denoise
    from denoscope.sampling.loop import sample as sample
    from denoscope.sampling.step import Step as Step

    __version__: str

_PACKAGES = ("basins", "dynamics", "figures", "noise")

_MODULES = {
    "Checkpoint": "foundation.checkpoint",
    "Condition": "models.conditioning",
    "Denoiser": "models.denoiser",
    "Intervention": "interventions.spec",
    "Labels": "models.classifier.labels",
    "NoiseSet": "noise.noise_set",
    "Recording": "recording.recording",
    "Step": "sampling.step",
    "UserError": "foundation.errors",
    "classify": "models.classifier.classification",
    "decode": "models.latents",
    "denoise": "sampling.loop",
    "gradient": "sampling.gradients",
    "load": "models.loading",
    "open": "recording.opening",
    "patch": "recording.patching.patching",
    "read_plan": "interventions.plan_file",
    "record": "recording.record",
    "sample": "sampling.loop",
    "watch": "recording.pipelines.watch",
    "write_plan": "interventions.plan_file",
}
"""The module that defines each public name."""

__all__ = [*_PACKAGES, *_MODULES]


def __getattr__(name: str) -> _typing.Any:
    # Importing PyTorch takes seconds, which `denoscope --help` does not need.
    if name in _PACKAGES:
        return _importlib.import_module(f"denoscope.{name}")
    if name in _MODULES:
        value = getattr(_importlib.import_module(f"denoscope.{_MODULES[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version

        value = version("denoscope")
    else:
        raise AttributeError(f"module 'denoscope' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
