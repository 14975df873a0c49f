"""Recordings whose states are written into another run: those of the same step, call and branch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from denoscope.foundation.dtypes import name_of, torch_dtype, widened
from denoscope.foundation.errors import UserError
from denoscope.hooks.module_survey import Layer
from denoscope.storage import formats
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.places import Place, store_at
from denoscope.storage.plan import COMPLETE

if TYPE_CHECKING:
    import xarray

_LEADING = ("sample", "step", "call", "branch")


class SourceRecording:
    """A recording whose states go into a run of the same model with the same steps."""

    def __init__(self, path: Place):
        self.path = path
        self.dataset = formats.open_dataset(store_at(path))
        self.samples = [str(name) for name in self.dataset["sample"].to_numpy()]
        self._last_mean: tuple[tuple[str, int, int], np.ndarray] | None = None

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides its bits: its fingerprint and its inputs."""
        content = {name: self.dataset.attrs.get(name) for name in ("fingerprint", "inputs_sha256")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def check_run(
        self, weights_hash: str, timesteps: Sequence[float], steps: Sequence[int], branches: Sequence[str]
    ) -> None:
        """Refuse a run of another model, with other timesteps or branches, or in steps that were not recorded."""
        if self.dataset.attrs.get("fingerprint", {}).get("weights_sha256") != weights_hash:
            raise UserError(
                f"{self.path} was recorded from a model with other weights; record it from this one"
            )
        count = self.dataset.sizes["state"] - 1 if "state" in self.dataset.sizes else None
        if count != len(timesteps):
            raise UserError(
                f"{self.path} was recorded in {count} steps, this run takes {len(timesteps)}; take as many"
            )
        stored = self.dataset["step"].to_numpy().tolist()
        if missing := [step for step in steps if step not in stored]:
            raise UserError(f"{self.path} does not hold the states of step {missing[0]}; record every step")
        stored_timesteps = self.dataset["timestep"].to_numpy().tolist()
        if any(stored_timesteps[stored.index(step)] != timesteps[step] for step in steps):
            raise UserError(f"{self.path} was recorded at other timesteps; take the same scheduler")
        stored_branches = self.dataset["branch"].to_numpy().tolist() if "branch" in self.dataset else []
        if stored_branches != list(branches):
            raise UserError(
                f"{self.path} holds the branches {stored_branches}, this run has {list(branches)}; guide both or neither"
            )

    def check_layer(self, layer: Layer) -> None:
        """Refuse a layer whose whole states the recording does not hold."""
        if layer.address not in self.dataset:
            names = ", ".join(str(name) for name in self.dataset.data_vars)
            raise UserError(f"{self.path} does not hold layer {layer.address!r}; it holds {names}")
        array = self._array(layer.address)
        shape = tuple(array.sizes[dim] for dim in array.dims if dim not in _LEADING)
        if shape != layer.shape:
            raise UserError(
                f"{self.path} holds states of shape {list(shape)} of layer {layer.address!r}, whose own shape is "
                f"{list(layer.shape or ())}; record them whole"
            )
        if layer.dtype is not None and not torch.can_cast(torch_dtype(array.dtype), layer.dtype):
            raise UserError(
                f"{self.path} holds states in {array.dtype} of layer {layer.address!r}, whose own, {name_of(layer.dtype)}, cannot "
                "hold them; name a recording of the same model"
            )

    def check_samples(self, names: Sequence[str]) -> None:
        """Refuse samples that the recording does not hold completely."""
        complete = self.dataset[COMPLETE].to_numpy()
        for name in names:
            if name not in self.samples:
                raise UserError(f"{self.path} has no sample {name!r}; name one of its samples with source=…")
            if not complete[self.samples.index(name)]:
                raise UserError(
                    f"{self.path}: sample {name!r} is not finished; {how_to_finish(self.dataset.attrs)}"
                )

    def states(
        self, address: str, step: int, call: int, rows: Sequence[tuple[str, str]], sources: Mapping[str, str]
    ) -> torch.Tensor:
        """[rows, …] of a layer at one step and call, for rows of (branch, sample), each from its sample's source."""
        wanted = list(dict.fromkeys(sources[name] for _, name in rows))
        array = self._at(address, step, call).isel(sample=[self.samples.index(name) for name in wanted])
        states, branches = _branch_first(array), list(dict.fromkeys(branch for branch, _ in rows))
        picked = [states[branches.index(branch)][wanted.index(sources[name])] for branch, name in rows]
        return torch.from_numpy(np.stack(picked))

    def means(self, address: str, step: int, call: int, rows: Sequence[tuple[str, str]]) -> torch.Tensor:
        """[rows, …]: the mean over all finished samples, for the branch of each row."""
        mean, branches = self._mean(address, step, call), list(dict.fromkeys(branch for branch, _ in rows))
        return torch.from_numpy(np.stack([mean[branches.index(branch)] for branch, _ in rows]))

    def _mean(self, address: str, step: int, call: int) -> np.ndarray:
        """[branch, …]; the last one is cached, since all groups of lanes need it one after the other."""
        place = address, step, call
        if self._last_mean is None or self._last_mean[0] != place:
            array, finished = self._at(*place), np.flatnonzero(self.dataset[COMPLETE].to_numpy())
            total: Any = 0
            for sample in finished:  # one after the other, to hold one sample at a time
                total = total + widened(_branch_first(array.isel(sample=[sample]))[:, 0])
            self._last_mean = place, total / len(finished)
        return self._last_mean[1]

    def _array(self, address: str) -> xarray.DataArray:
        """A layer's states, with the address removed from the names of their dimensions."""
        array = self.dataset[address]
        return array.rename({dim: str(dim).removeprefix(f"{address}.") for dim in array.dims})

    def _at(self, address: str, step: int, call: int) -> xarray.DataArray:
        """A layer's states at one step and call."""
        place = self.dataset["step"].to_numpy().tolist().index(step)
        array = self._array(address).isel(step=place)
        return array.isel(call=call) if "call" in array.dims else array


def _branch_first(array: xarray.DataArray) -> np.ndarray:
    """[branch, sample, …]; one branch without guidance."""
    if "branch" not in array.dims:
        return array.to_numpy()[None]
    return np.moveaxis(array.to_numpy(), array.dims.index("branch"), 0)
