"""Record what happens inside a diffusion model while it denoises, and measure it as a dynamical system.

>>> import denoscope as ds
>>> denoiser = ds.load("mnist")
>>> x = ds.noise.random(16, denoiser.shape, seed=42)
>>> rec = ds.record(denoiser, x, "run.zarr", steps=50, layers=["conv_in", "mid_block"])
>>> labels = ds.classify(rec.final)

Models and runs:
    load          a Denoiser from a bundled model, a folder, the hub, a pipeline or a module
    denoise       x_T to x_0, one Step at a time
    sample        x_0 alone
    gradient      derivatives of a function of x_0, through the loop
    decode        latents to images
    Denoiser      a network with its scheduler
    Step          one step of a run
    Condition     classes, prompt embeddings, guidance

Recordings:
    record        a run with the states of chosen layers, as a Recording
    watch         a call of any diffusers pipeline, as a Recording
    open          a Recording that was stored
    Recording     trajectories and states as xarray
    classify      the digits that images show, as Labels
    Labels        digits with confidence and margin

Interventions:
    Intervention  a change of states while a network runs
    patch         the states of one recording in the run of another, layer by layer
    read_plan     interventions from a file
    write_plan    interventions to a file

Noises and measures:
    noise         initial noises: random, perturbed, planes, spheres
    NoiseSet      noises as values, drawn when they are read
    dynamics      the denoising map as a dynamical system
    basins        maps of the class that each noise becomes
    figures       one figure for each result
    report        one page about recordings and results, to send or to print

Files and errors:
    Checkpoint    the file of a long measure that can be resumed
    UserError     a wrong argument, in one line
    UnfinishedError  work of which some parts failed; the rest is stored
"""

import typing as _typing

from denoscope.foundation.lazy_names import lazy_names as _lazy_names
from denoscope.foundation.threads import limit_spinning as _limit_spinning

if _typing.TYPE_CHECKING:
    from denoscope import basins as basins
    from denoscope import dynamics as dynamics
    from denoscope import figures as figures
    from denoscope import noise as noise
    from denoscope.figures.reports.report import report as report
    from denoscope.foundation.checkpoint import Checkpoint as Checkpoint
    from denoscope.foundation.errors import UnfinishedError as UnfinishedError
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
    "UnfinishedError": "foundation.errors",
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
    "report": "figures.reports.report",
    "sample": "sampling.loop",
    "watch": "recording.pipelines.watch",
    "write_plan": "interventions.plan_file",
}
"""The module that defines each public name."""

__all__ = [*_PACKAGES, *_MODULES]


_limit_spinning()

# Importing PyTorch takes seconds, which `denoscope --help` does not need.
_named = _lazy_names(__name__, _MODULES, _PACKAGES)


def __getattr__(name: str) -> _typing.Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("denoscope")
    return _named(name)


def __dir__() -> list[str]:
    return sorted(__all__)
