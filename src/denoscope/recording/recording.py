"""Recordings: made from noises and a denoiser, opened again as xarray."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from denoscope.config import InferenceConfig, SystemConfig
from denoscope.foundation.aliases import accepts_num_steps
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import as_json
from denoscope.interventions.spec import Intervention
from denoscope.models.conditioning import Condition
from denoscope.models.denoiser import Denoiser
from denoscope.noise.noise_set import NoiseSet
from denoscope.recording.job import Job, RecordingProgress
from denoscope.storage import export, formats, inspection
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.plan import COMPLETE, ESTIMATES, IMAGES, NONFINITE, ArrayPlan, Plan, Unit
from denoscope.storage.pt.writer import PtWriter
from denoscope.storage.stores.local import LocalStore

if TYPE_CHECKING:
    import xarray


class Recording:
    """A recording on disk, read as it is indexed.

    `sequence` is (sample, state, channel, height, width) with x_T first and x_0 last; `states` maps each
    layer to (sample, step, …), entry k being computed in step k, which turns state k into state k+1.
    Samples that the recording did not come to read as NaN.
    """

    def __init__(self, path: Path, dataset: xarray.Dataset):
        self.path, self.dataset = path, dataset

    @property
    def attrs(self) -> dict[str, Any]:
        """Where the recording comes from: model, scheduler, options, fingerprint, versions."""
        return self.dataset.attrs

    @property
    def origin(self) -> dict[str, Any]:
        """What a measure of the recording was computed from: its path and fingerprint, as plain values."""
        return {"recording": str(self.path), "fingerprint": as_json(self.attrs["fingerprint"])}

    @property
    def sequence(self) -> xarray.DataArray:
        if "sequence" not in self.dataset:
            raise UserError(
                f"{self.path} holds final images only; record with extract_states to get sequences"
            )
        return self.dataset["sequence"]

    @property
    def estimates(self) -> xarray.DataArray:
        """The scheduler's estimates of x_0 (sample, step, channel, height, width); entry k was made in step k, of state k.

        Raises: UserError if they were not recorded.
        """
        if ESTIMATES not in self.dataset:
            raise UserError(
                f"{self.path} holds no estimates of x_0; record with extract_estimates (--extract_estimates) to get them"
            )
        return self.dataset[ESTIMATES]

    @property
    def final(self) -> xarray.DataArray:
        """x_0 (sample, channel, height, width)."""
        return self.dataset["final"] if "final" in self.dataset else self.sequence.isel(state=-1)

    @property
    def states(self) -> Mapping[str, xarray.DataArray]:
        return _States(self.dataset, [str(name) for name in self.dataset.data_vars if name not in IMAGES])

    def check(self, *arrays: str) -> None:
        """Read the files of these arrays once, of all unless some are named, and compare each with its checksum.

        >>> rec.check("sequence", "mid_block")

        Those that the recording does not hold count for nothing. Measures do so before they read; `denoscope verify
        store` checks all else too, and lists what is wrong.

        Raises: UserError if one is damaged, of which it names the first.
        """
        wanted = arrays or tuple(map(str, self.dataset.data_vars))
        if problem := inspection.first_damage(LocalStore(self.path), wanted):
            raise UserError(
                f"{self.path} is damaged: {problem}; `denoscope verify store {self.path}` lists all that is; to mend it, "
                f"{how_to_finish(self.attrs)}"
            )

    def export(
        self, folder: str | os.PathLike[str], *, format: Literal["pt", "safetensors", "npz"] = "pt"
    ) -> Path:
        """Write the finished samples for other programs.

        "pt" is the layout that `main.py` writes, a file for each sample and array. "safetensors" and "npz" are
        one file for each sample, with all its arrays by their names: `sequence`, `x_0_estimates` where they were
        recorded, and each layer's address.

        Raises: UserError for another format, and where a file would be replaced.
        """
        folder = Path(folder)
        if format in ("safetensors", "npz"):
            export.write(folder, format, self._finished_samples())
        elif format == "pt":
            self._export_pt(folder)
        else:
            raise UserError(f"format is {format!r}; allowed: pt, safetensors, npz")
        return folder

    def _finished_samples(self) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Name and arrays of each finished sample, read one after the other."""
        for row in np.flatnonzero(self.dataset[COMPLETE].to_numpy()):
            arrays = {str(name): self.dataset[name][row].to_numpy() for name in self.dataset.data_vars}
            yield str(self.dataset["sample"].to_numpy()[row]), arrays

    def _export_pt(self, folder: Path) -> None:
        plan = self._as_plan()
        nonfinite = self.dataset[NONFINITE].to_numpy()
        complete = self.dataset[COMPLETE].to_numpy()
        with PtWriter.opened(formats.local_store(folder, "pt"), plan, "refuse") as writer:
            for group in plan.groups:
                samples = plan.samples_of(group)
                if not complete[samples].all():
                    continue
                with writer.unit([group]) as unit:
                    self._copy(plan, samples, unit, nonfinite)

    def _copy(self, plan: Plan, samples: range, unit: Unit, nonfinite: np.ndarray) -> None:
        rows = slice(samples.start, samples.stop)
        for array in plan.arrays:
            stored = self.dataset[array.name]
            for entry in range(array.count):
                where = (rows, entry) if array.time_dim else (rows,)
                unit.append(array.name, torch.from_numpy(stored[where].to_numpy()))
        for state in range(nonfinite.shape[1]):
            unit.flag(nonfinite[rows, state])

    def _as_plan(self) -> Plan:
        arrays = []
        for name in (*IMAGES, *self.states):
            if name not in self.dataset:
                continue
            array = self.dataset[name] if name in IMAGES else self.states[name]
            time_dim = next((dim for dim in ("state", "step") if dim in array.dims), None)
            inner = 2 if time_dim else 1
            dims = tuple(str(dim) for dim in array.dims[inner:])
            count = array.sizes[time_dim] if time_dim else 1
            arrays.append(ArrayPlan(name, array.shape[inner:], dims, array.dtype, time_dim, count))
        coords = {
            str(name): (str(values.dims[0]), values.to_numpy())
            for name, values in self.dataset.coords.items()
            if name not in (COMPLETE, NONFINITE)
        }
        return Plan(
            samples=tuple(str(name) for name in self.dataset["sample"].to_numpy()),
            steps=self.dataset.sizes["state"] - 1,
            lanes=self.attrs["fingerprint"]["lanes"],
            arrays=tuple(arrays),
            coords=coords,
            attrs=self.attrs,
            format="pt",
            layer_folders=self.attrs["layer_folders"],
        )

    def __repr__(self) -> str:
        return f"<Recording {self.path}>\n{self.dataset!r}"


class _States(Mapping[str, Any]):
    """Layers by address, with the plain dimension names channel, height, width, feature."""

    def __init__(self, dataset: xarray.Dataset, names: list[str]):
        self._dataset, self._names = dataset, names

    def __getitem__(self, address: str) -> xarray.DataArray:
        if address not in self._names:
            raise KeyError(f"{address!r} was not recorded; recorded were {self._names}")
        array = self._dataset[address]
        prefix = f"{address}."
        return array.rename(
            {dim: str(dim).removeprefix(prefix) for dim in array.dims if str(dim).startswith(prefix)}
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open(path: str | os.PathLike[str]) -> Recording:
    """Open a recording: a store NAME.zarr, or an output folder of .pt files.

    Raises: UserError if there is none at `path`, or it was written by a newer format.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such recording")
    return Recording(path, formats.open_dataset(LocalStore(path)))


def set_attribute(path: str | os.PathLike[str], name: str, value: Any) -> None:
    """Write one attribute into a recording.

    Raises: UserError where it cannot be written; the recording then is as it was.
    """
    path = Path(path)
    try:
        formats.set_attribute(path, name, value)
    except OSError as error:
        raise UserError(
            f"cannot write {name} into {path}: {error.strerror or error}; the recording is as it was: make room, "
            "or copy it to where you may write"
        ) from error


@accepts_num_steps
def record(
    denoiser: Denoiser,
    x: NoiseSet,
    out: str | os.PathLike[str],
    *,
    steps: int = InferenceConfig.num_steps,
    layers: Sequence[str] | None = None,
    noise_seed: int = SystemConfig.seed,
    condition: Condition | None = None,
    interventions: Sequence[Intervention] = (),
    progress: RecordingProgress | None = None,
    **options: Any,
) -> Recording:
    """Denoise every noise of `x` and record its sequence and the states of `layers`.

    >>> rec = record(denoiser, x, "run.zarr", steps=50, layers=["conv_in", "mid_block"], batch_size=8)
    >>> rec.states["mid_block"].dims
    ('sample', 'step', 'channel', 'height', 'width')

    Nothing that is stored depends on `batch_size`. Recording changes nothing in the denoising.

    Args:
        layers: queries of what is read (see `addresses.choose`); the first and last convolution unless given.
        noise_seed: of the draws of a stochastic scheduler, and of random projections.
        condition: what the network is told beside x and t; else what the options `labels`, `condition` (a
            file) and `guidance_scale` say.
        interventions: what is written into the network's states on the way, in this order; else the plan that
            the option `intervene` names (a file). Layers are read behind them.
        options: the other fields of `InferenceConfig`, by name; the same as the command's flags.
            Among them: batch_size, samples in flight at once, rounded up to whole lanes;
            extract_states=False keeps the final images alone; extract_estimates=True also keeps the scheduler's
            estimates of x_0 (`Recording.estimates`); flatten stores each state as one vector;
            output_format is "zarr" (one store), "pt" (one file for each sample and array) or "auto"
            (zarr where `out` ends in .zarr); resume goes on with what is there; overwrite replaces it.

    Raises:
        UserError: before any work, if an option is wrong, a layer unknown, the output taken, the disk too
            small or the shape of the noises not the model's.
        KeyboardInterrupt: after the samples in flight are finished; `resume=True` goes on from there.
    """
    known = [item.name for item in fields(InferenceConfig)]
    if unknown := set(options) - set(known):
        name = sorted(unknown)[0]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
        raise TypeError(f"record() has no option {name!r}; the nearest are {', '.join(near)}")
    chosen = InferenceConfig.from_arguments(num_steps=steps, layers=tuple(layers or ()), **options)
    if condition is not None and (chosen.labels or chosen.condition or chosen.guidance_scale != 1):
        raise UserError(
            "condition is given, and so are labels, a condition's file or guidance_scale; take one of them (a "
            "Condition has a scale of its own)"
        )
    job = Job.prepared(denoiser, x, Path(out), chosen, noise_seed, condition, interventions)
    job.run(progress)
    return open(job.out)
