"""The layout of a recording: the arrays and coordinates that store the results of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from denoscope.config import InferenceConfig
from denoscope.foundation.dtypes import name_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.state_reduction import Selection, names_of
from denoscope.storage.noise_levels import level_coords
from denoscope.storage.plan import COMPLETE, DIMS, ESTIMATES, IMAGES, NONFINITE, ArrayPlan, FormatName, Plan

Coords = Mapping[str, tuple[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunShape:
    """The shape of what a run produces, be it a run of denoscope's own loop or of a pipeline.

    `image_shape` and `image_dtype` are those of the states x_t. `timesteps` and `sigmas` are [steps]. A step makes at
    most `calls` calls of the network; `branches` names the branches of guidance, if there are any.
    """

    samples: tuple[str, ...]
    image_shape: tuple[int, ...]
    image_dtype: torch.dtype
    timesteps: np.ndarray
    sigmas: np.ndarray
    calls: int
    branches: tuple[str, ...]
    layers: Sequence[Layer]
    sample_coords: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further coordinates of the samples."""

    @property
    def steps(self) -> int:
        return len(self.timesteps)


def lay_out(
    run: RunShape,
    options: InferenceConfig,
    selection: Selection,
    *,
    attrs: Mapping[str, Any],
    format: FormatName,
    lanes: int,
    in_flight: int,
    held_bytes: int = 0,
    layer_folders: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a recording of a run.

    Raises: UserError if the selection does not fit a layer, or a layer has a name that recordings use themselves.
    """
    recorded = list(recorded_steps(options, run.steps))
    plan = Plan(
        samples=run.samples,
        steps=run.steps,
        lanes=lanes,
        arrays=tuple(_arrays(run, options, selection, len(recorded))),
        coords=_coords(run, recorded),
        attrs=attrs,
        format=format,
        codec=options.codec,
        in_flight=in_flight,
        held_bytes=held_bytes,
        layer_folders=layer_folders or {},
    )
    plan.check_names([layer.address for layer in run.layers])
    return plan


def recorded_steps(options: InferenceConfig, count: int) -> range | tuple[int, ...]:
    """The steps whose states are stored, out of `count`.

    Raises: UserError if a step is not among them.
    """
    if len(options.every) == 1:
        return range(0, count, options.every[0])
    if max(options.every) >= count:
        raise UserError(f"{spelled('every')} names step {max(options.every)}; allowed: 0 to {count - 1}")
    return tuple(sorted(options.every))


def check_estimates_wanted(options: InferenceConfig) -> None:
    """Refuse to store estimates of x_0 where final images alone are stored."""
    if options.extract_estimates and not options.extract_states:
        estimates, states = spelled("extract_estimates", True), spelled("extract_states")
        raise UserError(f"{estimates} needs {states}, without which final images alone are stored")


def _arrays(run: RunShape, options: InferenceConfig, selection: Selection, recorded: int) -> list[ArrayPlan]:
    """The arrays of `recorded` steps."""
    shape, dims, dtype = run.image_shape, names_of(run.image_shape), _stored_dtype(run.image_dtype)
    check_estimates_wanted(options)
    if not options.extract_states:
        return [ArrayPlan("final", shape, dims, dtype)]
    arrays = [ArrayPlan("sequence", shape, dims, dtype, "state", run.steps + 1)]
    if options.extract_estimates:
        arrays.append(ArrayPlan(ESTIMATES, shape, dims, dtype, "step", recorded))
    return arrays + [_layer_array(run, layer, options, selection, recorded) for layer in run.layers]


def _layer_array(
    run: RunShape, layer: Layer, options: InferenceConfig, selection: Selection, recorded: int
) -> ArrayPlan:
    """The array of one layer, with axes for calls and branches if there are several."""
    assert layer.shape is not None
    axes = {"call": layer.calls * run.calls, "branch": len(run.branches)}
    leading = {name: size for name, size in axes.items() if size > 1}
    try:
        shape, dims = selection.shape(layer.shape), selection.dims(layer.shape)
        dtype = _layer_dtype(selection.dtype(layer.dtype or torch.float32), options)
    except UserError as error:
        raise UserError(f"layer {layer.address!r}: {error}") from error
    return ArrayPlan(
        layer.address,
        (*leading.values(), *shape),
        (*leading, *dims),
        dtype,
        "step",
        recorded,
        note=f"the first tensor of {layer.elements} values" if layer.elements > 1 else "",
    )


def _coords(run: RunShape, recorded: Sequence[int]) -> Coords:
    coords = {
        "sample": ("sample", np.array(run.samples)),
        "state": ("state", np.arange(run.steps + 1)),
        "step": ("step", np.array(recorded)),
        **level_coords(run.timesteps, run.sigmas, recorded),
        **({"branch": ("branch", np.array(run.branches))} if run.branches else {}),
    }
    if clash := sorted({*coords, *IMAGES, *DIMS, COMPLETE, NONFINITE}.intersection(run.sample_coords)):
        raise UserError(
            f"the noises have a coordinate {clash[0]!r}, a name that recordings use themselves; rename it in the JSON file "
            "beside the noises"
        )
    return {**coords, **{name: ("sample", values) for name, values in run.sample_coords.items()}}


def _layer_dtype(dtype: torch.dtype, options: InferenceConfig) -> np.dtype[Any]:
    """The dtype in which a layer's states are stored."""
    if options.state_dtype == "auto":
        return _stored_dtype(dtype)
    if dtype.is_complex:
        raise UserError(
            f"{spelled('state_dtype')} is {options.state_dtype!r}, but its states are complex; allowed: auto"
        )
    return np.dtype(options.state_dtype)


def _stored_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """The dtype in which values of this one are stored by default: the same, or the next that NumPy has."""
    name = name_of(dtype)
    if dtype == torch.complex32:
        return np.dtype("complex64")
    if dtype.is_floating_point and dtype not in (torch.float16, torch.float64):
        return np.dtype("float32")  # bfloat16 and smaller ones have no dtype in NumPy
    return np.dtype(name)
