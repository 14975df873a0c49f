"""Recordings without a model: plans, values, and functions that write them."""

import numpy as np
import torch

from denoscope.storage import formats
from denoscope.storage.plan import FORMAT, FORMAT_VERSION, ArrayPlan, Plan

SAMPLES, STEPS, LANES = 5, 3, 2
LAYERS = {"conv_in": (2, 3), "up/0": (4,), "a\\b%": (4,)}
DTYPES = {"conv_in": "float16", "up/0": "float32", "a\\b%": "float64"}
FORMATS = ["zarr", "pt"]
MADE_BY = {
    "network": "Net",
    "scheduler": "DDIMScheduler",
    "scheduler_config": {},
    "shape": [1, 2, 2],
    "dtype": "float32",
    "threads": 1,
    "weights_sha256": None,
}


def plan_of(format: str, codec: str = "none", **fingerprint: object) -> Plan:
    names = tuple(f"sample_{row:04d}" for row in range(SAMPLES))
    layers = [
        ArrayPlan(name, inner, ("channel", "height")[: len(inner)], np.dtype(DTYPES[name]), "step", STEPS)
        for name, inner in LAYERS.items()
    ]
    sequence = ArrayPlan(
        "sequence", (1, 2, 2), ("channel", "height", "width"), np.dtype("float32"), "state", STEPS + 1
    )
    return Plan(
        samples=names,
        steps=STEPS,
        lanes=LANES,
        arrays=(sequence, *layers),
        coords={
            "sample": ("sample", np.array(names)),
            "state": ("state", np.arange(STEPS + 1)),
            "step": ("step", np.arange(STEPS)),
            "timestep": ("step", np.array([800, 500, 200])),
            "sigma": ("step", np.array([3.0, 2.0, 1.0])),
            "seed": ("sample", np.arange(SAMPLES)),
        },
        attrs={
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "created": "2026-01-01T00:00:00+00:00",
            "fingerprint": {"layers": list(LAYERS), "lanes": LANES, **MADE_BY, **fingerprint},
            "inputs_sha256": "0",
            "layer_folders": {},
            "model": "Net",
            "scheduler": "DDIMScheduler",
            "config": {"layers": list(LAYERS), "noise_seed": 42, "every": [1], "num_steps": STEPS},
        },
        format=format,
        codec=codec,
    )


def values_of(array: ArrayPlan) -> np.ndarray:
    """[samples, …], a NaN among them."""
    values = np.random.default_rng(len(array.name)).normal(size=(SAMPLES, *array.shape)).astype(array.dtype)
    values[3, -1] = np.nan
    return values


def write(store, plan: Plan, existing: str = "refuse", groups=None) -> list[int]:
    """Write a recording as a run does; returns the groups that were finished before."""
    with formats.FORMATS[plan.format].writer.opened(store, plan, existing) as writer:
        finished = list(writer.finished)
        write_groups(writer, plan, plan.groups if groups is None else groups)
        return finished


def write_groups(writer, plan: Plan, groups) -> None:
    """Write the unfinished groups among the given ones."""
    for group in groups:
        if group in writer.finished:
            continue
        rows = list(plan.samples_of(group))
        with writer.unit([group]) as unit:
            for array in plan.arrays:
                for entry in range(array.count):
                    unit.append(array.name, torch.from_numpy(values_of(array)[rows, entry]))
            for state in range(STEPS + 1):
                unit.flag(np.array([row == 3 and state == STEPS for row in rows]))
