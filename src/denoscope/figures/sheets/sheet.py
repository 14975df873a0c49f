"""A recording as a sheet: which samples can be seen, and the arrays that are read for each of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.figures.shades import images_of
from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import without_links
from denoscope.recording import opening
from denoscope.recording.completeness import finished_rows, what_is_missing
from denoscope.recording.recording import Recording
from denoscope.storage.plan import COMPLETE, ESTIMATES

if TYPE_CHECKING:
    import xarray

MOST_IMAGES = 128
"""Images of one answer."""
IMAGE_BYTES = 2**20
"""Bytes of the images in one answer; larger images are reduced to fit."""
MOST_TOGETHER, BYTES_TOGETHER = 128, 2**24
"""Final images that are read at once, and their bytes: a click waits until they are read."""


@dataclass(eq=False)
class Sheet:
    """The samples of a recording. All of its work is done by one thread."""

    recording: Recording
    name: str
    """The name of the recording in links: the last part of its path."""

    @classmethod
    def open(cls, path: Path) -> Sheet:
        """The sheet of a recording, finished or not.

        Raises: UserError if the recording is missing or damaged, or no sample of it is finished.
        """
        rec = opening.open(path)
        finished_rows(rec)
        return cls(rec, without_links(path).name)

    def refresh(self) -> None:
        """Reopen a recording that was not finished, since its run may have continued."""
        if self.recording.path is not None and len(self.rows) < len(self.recording.samples):
            self.recording = opening.open(self.recording.path)
            del self.rows

    @functools.cached_property
    def rows(self) -> list[int]:
        """The rows of the finished samples."""
        return self.recording.finished.tolist()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return self.recording.final.shape[1:]

    @property
    def together(self) -> int:
        """The number of samples whose final images are read at once."""
        size = math.prod(self.shape) * self.recording.final.dtype.itemsize
        return min(max(BYTES_TOGETHER // size, 1), MOST_TOGETHER)

    @property
    def has_estimates(self) -> bool:
        return ESTIMATES in self.recording.dataset

    def row(self, name: str) -> int:
        """The row of a finished sample.

        Raises: UserError if no finished sample has this name.
        """
        row = self._row_of.get(name)
        if row is None:
            raise UserError(f"{self.name} has no sample {name[:80]!r}")
        if not self.recording.dataset[COMPLETE].to_numpy()[row]:
            raise UserError(f"sample {name} of {self.name} is not finished")
        return row

    @functools.cached_property
    def _row_of(self) -> dict[str, int]:
        """The row of each sample by its name."""
        return {name: row for row, name in enumerate(self.recording.samples)}

    def description(self) -> dict[str, Any]:
        """Everything that a page needs to show the samples, as JSON values.

        `rows` are those of the finished samples, None if all are.
        """
        self.refresh()
        rec, count = self.recording, len(self.recording.samples)
        finished = len(self.rows)
        return {
            "run": self.name,
            "model": rec.attrs["model"],
            "scheduler": rec.attrs["scheduler"],
            "count": count,
            "rows": None if finished == count else self.rows,
            "note": what_is_missing(rec),
            "steps": rec.dataset.sizes["state"] - 1,
            "noised_image": "image" in rec.attrs["fingerprint"],
            "shape": list(self.shape),
            "layers": list(rec.states),
            "most": MOST_IMAGES,
        }

    def images(self, rows: Sequence[int]) -> dict[str, Any]:
        """The final images of samples as bytes, with their names; `errors` says by row what cannot be read.

        Raises: UserError if a sample is not finished, or there are too many.
        """
        self._check_rows(rows)
        finals, errors = self.finals(rows)
        names = self.recording.dataset["sample"].to_numpy()
        return {
            "rows": list(finals),
            "images": images_of(finals.values(), len(finals), most=IMAGE_BYTES) if finals else None,
            "names": {row: str(names[row]) for row in rows},
            "errors": errors,
        }

    def finals(
        self, rows: Sequence[int], *, together: int | None = None
    ) -> tuple[dict[int, np.ndarray], dict[int, str]]:
        """The final image [C, H, W] of each row, and the error of each whose file cannot be read.

        Args:
            together: the number of samples that are read at once; by default as many as take 16 MiB, up to 128.
        """
        images: dict[int, np.ndarray] = {}
        errors: dict[int, str] = {}
        count = together or self.together
        for start in range(0, len(rows), count):
            part = list(rows[start : start + count])
            try:
                images |= zip(part, self.recording.final[part].to_numpy(), strict=True)
            except UserError as error:
                if len(part) == 1:
                    errors[part[0]] = str(error)
                    continue
                good, bad = self.finals(part, together=1)
                images |= good
                errors |= bad
        return images, errors

    def states(self, row: int) -> xarray.DataArray:
        """The states x_T … x_0 [state, C, H, W] of a sample; x_0 alone if only final images were recorded."""
        rec = self.recording
        return rec.sequence[row] if "sequence" in rec.dataset else rec.final[[row]].rename(sample="state")

    def estimates(self, row: int) -> xarray.DataArray | None:
        """The estimates of x_0 [step, C, H, W] of a sample, if they were recorded."""
        return self.recording.estimates[row] if self.has_estimates else None

    def facts(self, row: int) -> Mapping[str, str]:
        """What the recording says about a sample, such as the seed or epsilon of its noise, by name."""
        coords = self.recording.dataset.coords.items()
        return {
            str(name): str(values.to_numpy()[row])
            for name, values in coords
            if values.dims == ("sample",) and name not in ("sample", COMPLETE)
        }

    def _check_rows(self, rows: Sequence[int]) -> None:
        if not 0 < len(rows) <= MOST_IMAGES:
            raise UserError(f"rows are {len(rows)}; allowed: 1 to {MOST_IMAGES}")
        complete = self.recording.dataset[COMPLETE].to_numpy()
        for row in rows:
            if not (0 <= row < len(complete) and complete[row]):
                raise UserError(f"row {row} is not a finished sample of {self.name}")
