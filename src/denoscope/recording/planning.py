"""The plan of a recording of denoscope's own loop, from the denoiser, the noises and the options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from denoscope.config import InferenceConfig, check_guidance
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.models import conditioning
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.scheduler_steps import check_estimates, noise_level
from denoscope.models.solver_calls import stages
from denoscope.noise.sample_names import sample_names
from denoscope.recording import provenance
from denoscope.recording.inputs import RunInputs
from denoscope.recording.layout import RunShape, lay_out
from denoscope.storage.output_lock import check_inside
from denoscope.storage.places import Place
from denoscope.storage.plan import FormatName, Plan
from denoscope.storage.stores.local import LocalStore


def plan_of(inputs: RunInputs, options: InferenceConfig, selection: Selection, out: Place | None) -> Plan:
    """The plan of a recording at `out`, or in memory."""
    run = _shape_of(inputs, options)
    folders = {} if options.layers else dict(zip(inputs.addresses, ("layer1", "last_layer"), strict=False))
    attrs = provenance.attributes(inputs, options)
    in_flight = -(-options.batch_size // options.lanes) * options.lanes
    rows = min(in_flight, -(-len(run.samples) // options.lanes) * options.lanes)
    return lay_out(
        run,
        options,
        selection,
        attrs=attrs | {"layer_folders": folders},
        format=format_of(out, options),
        lanes=options.lanes,
        in_flight=in_flight,
        held_bytes=rows * _step_bytes(inputs, run) + _matrix_bytes(inputs.layers, selection),
        layer_folders=folders,
    )


def condition_of(denoiser: Denoiser, options: InferenceConfig, passed: Condition | None = None) -> Condition:
    """The condition passed by the caller, or else that of the options, with its branches in the order of the options."""
    condition = condition_in(denoiser, options) if passed is None else passed
    if options.branches is None:
        return condition
    ordered = replace(condition, branches=options.branches)
    # The same order is the same recording, whether it was spelled out or not.
    return condition if denoiser.branches(ordered) == denoiser.branches(condition) else ordered


def selection_of(options: InferenceConfig, seed: int) -> Selection:
    """What the options store of each state; `seed` draws random projections."""
    return Selection(
        channels=options.channels,
        height=options.height,
        width=options.width,
        reduce=options.reduce,
        flatten=options.flatten,
        seed=seed,
    )


OTHER_FILES = {".csv", ".h5", ".hdf5", ".json", ".nc", ".npy", ".npz", ".pt", ".safetensors", ".zip"}
"""Endings of files, which no folder of .pt files has by intention."""


def output_of(out: Place, options: InferenceConfig) -> Place:
    """Where a recording is stored: at `out`, or as a Zarr store in that folder.

    Raises: UserError if that is a URL and the recording not a store.
    """
    if not isinstance(out, Path) and format_of(out, options) != "zarr":
        raise UserError(
            f"{spelled('out')} is {out}; at a URL a recording is a Zarr store: end the name in .zarr, and leave out "
            f"{spelled('output_format', 'pt')}"
        )
    if options.output_format != "zarr" or out.suffix == ".zarr":
        return out
    if isinstance(out, Path):
        check_inside(LocalStore(out), ["recording.zarr"])
    return out / "recording.zarr"


def format_of(out: Place | None, options: InferenceConfig) -> FormatName:
    """The format of a recording at `out`, or in memory."""
    if out is None:
        return "memory"
    if options.output_format == "auto":
        named = [suffix.lower() for suffix in PurePath(out.name).suffixes]
        if out.suffix != ".zarr" and (".zarr" in named or set(named[-1:]) & OTHER_FILES):
            raise UserError(
                f"{spelled('out')} is {out}, which would be a folder of .pt files; allowed: a store NAME.zarr, or any name with "
                f"{spelled('output_format', 'pt')}"
            )
        return "zarr" if out.suffix == ".zarr" else "pt"
    return options.output_format


def _shape_of(inputs: RunInputs, options: InferenceConfig) -> RunShape:
    """What the loop produces."""
    denoiser, loop, condition = inputs.denoiser, inputs.loop, inputs.condition
    scheduler = loop.scheduler(denoiser)
    if options.extract_estimates:
        check_estimates(scheduler, denoiser.shape)
    schedule = stages(scheduler, loop.steps)
    firsts = [
        entry for entry, stage in enumerate(schedule) if stage.call == 0 and stage.step >= loop.first_step
    ]
    return RunShape(
        samples=sample_names(inputs.x.names),
        image_shape=denoiser.shape,
        image_dtype=loop.state_dtype(denoiser),
        timesteps=scheduler.timesteps.cpu().numpy()[firsts],
        sigmas=np.array([noise_level(scheduler, entry) for entry in firsts]),
        calls=1 + max(stage.call for stage in schedule),
        branches=denoiser.branches(condition),
        layers=inputs.layers,
        sample_coords=dict(inputs.x.coords) | condition.coords(len(inputs.x)),
    )


def condition_in(denoiser: Denoiser, options: InferenceConfig) -> Condition:
    """The condition that the options describe."""
    check_guidance(options)
    if options.condition:
        return conditioning.read(options.condition, scale=options.guidance_scale)
    if options.labels:
        return denoiser.condition_of_labels(options.labels, scale=options.guidance_scale)
    return conditioning.NOTHING


def _step_bytes(inputs: RunInputs, run: RunShape) -> int:
    """The memory of one row in one step: whole states, whatever part of them is stored.

    Of the states x there are those before and after the step, the network's output and the estimate of x_0.
    """
    calls = run.calls * max(1, len(run.branches))
    states = calls * sum(layer.bytes for layer in inputs.layers)
    return states + 4 * math.prod(run.image_shape) * run.image_dtype.itemsize


def _matrix_bytes(layers: Sequence[Layer], selection: Selection) -> int:
    """The memory of the matrices of random projections, one for each shape of states."""
    return sum({shape: selection.matrix_bytes(shape) for layer in layers if (shape := layer.shape)}.values())
