"""What a recording will hold, from the denoiser, the noises and the options: the plan before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from denoscope.config import InferenceConfig
from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection
from denoscope.interventions.applied import Writes
from denoscope.models import conditioning
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.models.schedulers import need_estimates
from denoscope.models.solver_calls import stages
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.sample_names import sample_names
from denoscope.recording import provenance
from denoscope.sampling.loop import Loop, noise_level
from denoscope.storage.output_lock import check_inside
from denoscope.storage.plan import ESTIMATES, IMAGE_DIMS, ArrayPlan, Plan
from denoscope.storage.stores.local import LocalStore


def kept_steps(options: InferenceConfig, count: int) -> range | tuple[int, ...]:
    """The steps whose states are stored."""
    if len(options.every) == 1:
        return range(0, count, options.every[0])
    if max(options.every) >= count:
        raise UserError(f"every names step {max(options.every)}; allowed: 0 to {count - 1}")
    return tuple(sorted(options.every))


def condition_of(denoiser: Denoiser, options: InferenceConfig, given: Condition | None = None) -> Condition:
    """What is given or the options tell the network beside x and t, in the order of branches that they state."""
    found = _unordered(denoiser, options) if given is None else given
    if options.branches is None:
        return found
    ordered = replace(found, branches=options.branches)
    # What comes to the same is the same recording.
    return found if denoiser.branches(ordered) == denoiser.branches(found) else ordered


def _unordered(denoiser: Denoiser, options: InferenceConfig) -> Condition:
    """What the options tell the network beside x and t."""
    if options.condition and options.labels:
        raise UserError("condition and labels are both given; take one of them")
    if options.condition:
        return conditioning.read(options.condition, scale=options.guidance_scale)
    if options.labels:
        return denoiser.condition_of_labels(options.labels, scale=options.guidance_scale)
    if options.guidance_scale != 1:
        raise UserError("guidance_scale is given, but neither labels nor a condition to guide by")
    return conditioning.NOTHING


def selection_of(options: InferenceConfig, seed: int) -> Selection:
    """What the options keep of each state; `seed` is that of projections."""
    return Selection(
        channels=options.channels,
        height=options.height,
        width=options.width,
        reduce=options.reduce,
        flatten=options.flatten,
        seed=seed,
    )


def place_of(out: Path, options: InferenceConfig) -> Path:
    """Where a recording lies: at `out`, or as a store in that folder."""
    if options.output_format != "zarr" or out.suffix == ".zarr":
        return out
    place = out / "recording.zarr"
    check_inside(LocalStore(out), [place.name])
    return place


def plan_of(
    denoiser: Denoiser,
    x: NoiseSet,
    layers: Sequence[Layer],
    options: InferenceConfig,
    loop: Loop,
    selection: Selection,
    condition: Condition,
    out: Path,
    writes: Writes,
) -> Plan:
    """The plan of a recording of the tapped `layers`."""
    scheduler = denoiser.new_scheduler(options.num_steps, dtype=loop.state_dtype(denoiser))
    schedule = stages(scheduler, options.num_steps)
    firsts = [entry for entry, stage in enumerate(schedule) if stage.call == 0]
    calls = 1 + max(stage.call for stage in schedule)
    branches = denoiser.branches(condition)
    count, image_dtype = len(firsts), stored_dtype(loop.state_dtype(denoiser))
    kept = list(kept_steps(options, count))
    if options.extract_states:
        dtype = (
            stored_dtype(denoiser.dtype) if options.state_dtype == "auto" else np.dtype(options.state_dtype)
        )
        arrays = [ArrayPlan("sequence", denoiser.shape, IMAGE_DIMS, image_dtype, "state", count + 1)]
        if options.extract_estimates:
            need_estimates(scheduler, denoiser.shape)
            arrays.append(ArrayPlan(ESTIMATES, denoiser.shape, IMAGE_DIMS, image_dtype, "step", len(kept)))
        arrays += [layer_plan(layer, selection, dtype, len(kept), calls, len(branches)) for layer in layers]
    elif options.extract_estimates:
        raise UserError("extract_estimates is given without extract_states, which keeps final images alone")
    else:
        arrays = [ArrayPlan("final", denoiser.shape, IMAGE_DIMS, image_dtype)]
    samples = sample_names(x.names)
    in_flight = -(-options.batch_size // options.lanes) * options.lanes
    rows = min(in_flight, -(-len(samples) // options.lanes) * options.lanes)
    coords = {
        "sample": ("sample", np.array(samples)),
        "state": ("state", np.arange(count + 1)),
        "step": ("step", np.array(kept)),
        "timestep": ("step", scheduler.timesteps.cpu().numpy()[firsts][kept]),
        "sigma": ("step", np.array([noise_level(scheduler, firsts[step]) for step in kept])),
        **({"branch": ("branch", np.array(branches))} if branches else {}),
        **{name: ("sample", values) for name, values in (dict(x.coords) | condition.coords(len(x))).items()},
    }
    addresses = [layer.address for layer in layers]
    folders = {} if options.layers else dict(zip(addresses, ("layer1", "last_layer"), strict=False))
    attrs = provenance.attributes(
        denoiser, x, addresses, options, loop.noise_seed, condition, writes, loop.streams
    )
    plan = Plan(
        samples=samples,
        steps=count,
        lanes=options.lanes,
        arrays=tuple(arrays),
        coords=coords,
        attrs=attrs | {"layer_folders": folders},
        format=format_of(out, options),
        codec=options.codec,
        in_flight=in_flight,
        held_bytes=rows * step_bytes(denoiser, layers, loop, calls * max(1, len(branches)))
        + sum({shape: selection.matrix_bytes(shape) for layer in layers if (shape := layer.shape)}.values()),
        layer_folders=folders,
    )
    plan.check_names(addresses)
    return plan


def step_bytes(denoiser: Denoiser, layers: Sequence[Layer], loop: Loop, calls: int) -> int:
    """What one step of a row holds while it is computed: whole states, whatever is kept of them later.

    Of the states x there are those before and after, the network's output and the estimate of x_0.
    """
    return (
        calls * sum(layer.bytes for layer in layers)
        + 4 * math.prod(denoiser.shape) * loop.state_dtype(denoiser).itemsize
    )


def format_of(out: Path, options: InferenceConfig) -> Literal["zarr", "pt"]:
    """How a recording at `out` lies on disk."""
    if options.output_format == "auto":
        return "zarr" if out.suffix == ".zarr" else "pt"
    return options.output_format


def layer_plan(
    layer: Layer, selection: Selection, dtype: np.dtype[Any], count: int, calls: int, branches: int
) -> ArrayPlan:
    """One layer's array, with axes for calls and branches where there are several."""
    assert layer.shape is not None
    several = {"call": layer.calls * calls, "branch": branches}
    leading = {name: size for name, size in several.items() if size > 1}
    try:
        shape, dims = selection.shape(layer.shape), selection.dims(layer.shape)
    except UserError as error:
        raise UserError(f"layer {layer.address!r}: {error}") from error
    return ArrayPlan(
        layer.address,
        (*leading.values(), *shape),
        (*leading, *dims),
        dtype,
        "step",
        count,
        note=f"the first tensor of {layer.elements} values" if layer.elements > 1 else "",
    )


def stored_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """What values of this precision are stored as where nothing else is asked for."""
    return np.dtype({torch.float64: "float64", torch.float16: "float16"}.get(dtype, "float32"))
