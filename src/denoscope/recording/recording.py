"""Recordings, read as xarray."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from denoscope.foundation import html_repr
from denoscope.foundation.arguments import arguments_checked
from denoscope.foundation.byte_units import format_bytes
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import as_json
from denoscope.foundation.spelling import counted, spelled
from denoscope.recording import export
from denoscope.recording.recorded_states import RecordedStates
from denoscope.storage import inspection
from denoscope.storage.attributes import writable
from denoscope.storage.damage import damaged
from denoscope.storage.noise_levels import with_levels
from denoscope.storage.places import Place, store_at
from denoscope.storage.plan import COMPLETE, ESTIMATES, IMAGES

if TYPE_CHECKING:
    import xarray

THUMBNAILS = 4
"""How many samples are shown in a notebook."""


class Recording:
    """A recording: the sequence from x_T to x_0 of each sample, and the states of layers in each step.

    `path` is where it is stored, a path or a URL, and its arrays are read as they are indexed; a recording in memory has the path None.
    `sequence` is (sample, state, channel, height, width) with x_T first and x_0 last; `states` maps each layer to
    (sample, step, …), entry k being computed in step k, which turns state k into state k+1. Samples that are not
    finished are NaN.

    >>> rec["mid_block"]  # the same as rec.states["mid_block"]
    >>> rec["sequence"], rec["final"]
    """

    def __init__(self, path: Place | None, dataset: xarray.Dataset):
        self.path, self._stored = path, dataset
        self.dataset = dataset.drop_attrs(deep=False).assign_attrs(writable(dataset.attrs))

    @property
    def attrs(self) -> dict[str, Any]:
        """The provenance: model, scheduler, options, fingerprint, versions of libraries."""
        return self._stored.attrs

    @property
    def origin(self) -> dict[str, Any]:
        """The path and the fingerprint as JSON values: what a measure of the recording is computed from."""
        path = None if self.path is None else str(self.path)
        return {"recording": path, "fingerprint": as_json(self.attrs["fingerprint"])}

    @property
    def samples(self) -> list[str]:
        """The names of the samples."""
        return [str(name) for name in self.dataset["sample"].to_numpy()]

    @property
    def sequence(self) -> xarray.DataArray:
        """The states x_T … x_0 (sample, state, channel, height, width).

        Raises: UserError if only final images were recorded.
        """
        return with_levels(self._sequence, self.dataset.coords)

    @property
    def _sequence(self) -> xarray.DataArray:
        """The sequence as it is stored, without the noise levels of its states."""
        if "sequence" not in self.dataset:
            raise UserError(
                f"{self.location} holds final images only; record with {spelled('extract_states', True)} to get sequences"
            )
        return self.dataset["sequence"]

    @property
    def estimates(self) -> xarray.DataArray:
        """The scheduler's estimates of x_0 (sample, step, channel, height, width); entry k was made in step k from state k.

        Raises: UserError if they were not recorded.
        """
        if ESTIMATES not in self.dataset:
            raise UserError(
                f"{self.location} holds no estimates of x_0; record with {spelled('extract_estimates', True)} to get them"
            )
        return self.dataset[ESTIMATES]

    @property
    def final(self) -> xarray.DataArray:
        """x_0 (sample, channel, height, width)."""
        if "final" in self.dataset:
            return self.dataset["final"]
        return self._sequence.isel(state=-1, drop=True).rename("final")

    @property
    def states(self) -> RecordedStates:
        """The states (sample, step, …) of each recorded layer, by its address or by the query that named it."""
        return RecordedStates(self._stored)

    def __getitem__(self, name: str) -> xarray.DataArray:
        """An array by name: "sequence", "final", "x_0_estimates", or a layer as in `states`.

        Raises: UnknownKeyError (a UserError and a KeyError) if it was not recorded.
        """
        if name == "final":
            return self.final
        if name == "sequence":
            return self.sequence
        return self.dataset[name] if name in IMAGES and name in self.dataset else self.states[name]

    def check(self, *arrays: str) -> None:
        """Read the files of these arrays, by default of all, and compare each with its checksum.

        >>> rec.check("sequence", "mid_block")

        Arrays that the recording does not hold are ignored, and a recording in memory has no files. Measures check
        what they read; `denoscope verify store` checks everything else too, and lists all damage.

        Raises: UserError naming the first damaged file.
        """
        if self.path is None:
            return
        states = self.states
        names = arrays or tuple(map(str, self.dataset.data_vars))
        wanted = [states.address(name) if name in states else name for name in names]
        if problem := inspection.first_damage(store_at(self.path), wanted):
            raise damaged(self.path, problem, self.attrs)

    @arguments_checked
    def export(
        self, folder: str | os.PathLike[str], *, format: Literal["pt", "safetensors", "npz"] = "pt"
    ) -> Path:
        """Write the finished samples into a folder for other programs.

        "pt" is the layout that `main.py` writes, a file for each sample and array. "safetensors" and "npz" are
        one file for each sample with all its arrays by name: `sequence`, `x_0_estimates` if they were recorded, and
        each layer's address.

        An export that was interrupted is continued.

        Raises: UserError for another format, and where a file would be replaced.
        """
        return export.write(self._stored, Path(folder), format)

    @property
    def finished(self) -> np.ndarray:
        """The rows of the finished samples: all, unless the run was interrupted or continues.

        >>> rec.sequence[rec.finished]
        """
        return np.flatnonzero(self.dataset[COMPLETE].to_numpy())

    @property
    def location(self) -> str:
        """Where the recording is, in words: its path, or that it is in memory."""
        return "the recording in memory" if self.path is None else str(self.path)

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else str(self.path)
        layers = f"layers {', '.join(self.states)}" if self.states else "no layers"
        return f"<Recording {place}: {self._model()}, {self._extent()}, {layers}>"

    def _repr_html_(self) -> str:
        title = "Recording in memory" if self.path is None else f"Recording {self.path}"
        rows: dict[str, object] = {"model": self._model(), "samples": self._extent()}
        for name in map(str, self.dataset.data_vars):
            array = self[name]
            sizes = ", ".join(f"{dim} {size}" for dim, size in array.sizes.items())
            rows[name] = f"{sizes}: {array.dtype}, {format_bytes(array.nbytes)}"
        return html_repr.table(title, rows, picture=self._thumbnails())

    def _model(self) -> str:
        return f"{self.attrs['model']} with {self.attrs['scheduler']}"

    def _extent(self) -> str:
        finished, count = len(self.finished), len(self.samples)
        unfinished = "" if finished == count else f" ({finished} finished)"
        steps = counted(self.dataset.sizes["state"] - 1, "step")
        return f"{counted(count, 'sample')}{unfinished} in {steps}"

    def _thumbnails(self) -> str:
        """The first finished x_0 as images; nothing where they cannot be read."""
        with suppress(UserError):  # a file may be damaged
            images = self.final[self.finished[:THUMBNAILS]].to_numpy().astype(np.float64)
            planes = images[:, 0] if images.ndim == 4 else images
            return "".join(map(html_repr.thumbnail, planes)) if planes.ndim == 3 else ""
        return ""
