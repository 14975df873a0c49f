"""A long computation in a file as far as it got, to be gone on with after a kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from denoscope.foundation.atomic_files import check_writable, replacing
from denoscope.foundation.errors import UserError
from denoscope.foundation.json_values import plain

if TYPE_CHECKING:
    import xarray

SHARE = 0.02
"""Of the time, at most, that writing takes."""
IDENTITY = "identity"
"""The attribute that says what decides the numbers: a dictionary of plain values."""


class Kept:
    """A dataset that fills up, and the file that holds as much of it as was finished."""

    def __init__(self, data: xarray.Dataset, path: Path | None):
        self.data, self._path = data, path
        self.begun = False
        """Whether anything was finished here."""
        self._next = time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether it is time to write again: not so soon that writing would take more than its share."""
        return self._path is not None and time.perf_counter() >= self._next

    def save(self) -> None:
        """Write what is there, now that more is finished, if that is due."""
        self.begun = True
        if self._path is None or not self.due:
            return
        began = time.perf_counter()
        write(self.data, self._path)
        ended = time.perf_counter()
        self._next = ended + (ended - began) / SHARE


@contextmanager
def keeping(
    fresh: xarray.Dataset,
    path: str | os.PathLike[str] | None,
    *,
    resume: bool,
    overwrite: bool,
    chained: bool = False,
) -> Iterator[Kept]:
    """The fresh dataset, or what `path` (.npz) holds of the same work; in the file when the block ends.

    So it is after an error or Ctrl-C too, unless the work is `chained`: where one state follows from another, only what
    was saved is known to belong together. Until something is finished nothing is written, so that what is refused
    leaves no file, and replaces none.

    Raises: UserError if the file is taken, holds something else (naming what differs), or cannot be written.
    """
    if resume and overwrite:
        raise UserError("resume and overwrite contradict each other; take one of them")
    place = None if path is None else Path(path)
    if place is None and (resume or overwrite):
        raise UserError("resume and overwrite speak of a file that none was named for; give out=…")
    data = fresh if place is None or overwrite or not place.exists() else _begun(fresh, place, resume)
    if place is not None:
        check_writable(place)  # before anything is computed
    kept = Kept(data, place)
    try:
        yield kept
    except BaseException:
        if place is not None and kept.begun and not chained:
            with suppress(UserError):  # the disk may be what failed
                write(kept.data, place)
        raise
    if place is not None:
        write(kept.data, place)


def _begun(fresh: xarray.Dataset, path: Path, resume: bool) -> xarray.Dataset:
    if not resume:
        raise UserError(f"{path} exists; go on with it (resume), replace it (overwrite) or name another")
    found = read(path, advice="replace it (overwrite) or name another")
    stored, wanted = (dict(_flat(data.attrs.get(IDENTITY, {}))) for data in (found, fresh))
    if apart := differences(stored, wanted):
        raise UserError(
            f"{path} cannot be gone on with, since this differs: {'; '.join(apart)}; name another file, or overwrite it"
        )
    return found


def with_room(found: xarray.Dataset, fresh: xarray.Dataset, name: str, *, along: str) -> xarray.Dataset:
    """What is kept of work, with room in one variable for as much along a dimension as the fresh one has."""
    more = fresh[name].isel({along: slice(found.sizes[along], None)})
    if not more.sizes[along]:
        return found
    axis = more.dims.index(along)
    return found.assign({name: (more.dims, np.concatenate([found[name], more], axis))})


def write(data: xarray.Dataset, path: Path) -> None:
    """Write a dataset to a file (.npz), whole or not at all: each variable and coordinate as an array of its name,
    and `told`, JSON of their dimensions and the attributes."""
    arrays = {str(name): _plain_text(values.to_numpy()) for name, values in data.variables.items()}
    told = {
        "dims": {str(name): list(values.dims) for name, values in data.variables.items()},
        "coords": [str(name) for name in data.coords],
        "attrs": plain(data.attrs),
    }
    with replacing(path) as file:
        np.savez(file, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]


def _plain_text(values: np.ndarray) -> np.ndarray:
    """The values, of texts as an array of fixed width: NumPy would write its newer kind as a pickle."""
    return np.array(values.tolist()) if values.dtype.kind == "T" else values


def read(
    path: str | os.PathLike[str], *, advice: str = "name a file that one has been written to"
) -> xarray.Dataset:
    """What `write` has written; else `advice` says what to do.

    Raises: UserError if the file is missing, another's, or damaged.
    """
    import xarray

    try:
        # Opened here, for NumPy leaves open what it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        told = json.loads(str(arrays.pop("told")))
        variables = {name: (tuple(told["dims"][name]), values) for name, values in arrays.items()}
        coords = {name: variables.pop(name) for name in told["coords"]}
        return xarray.Dataset(variables, coords=coords, attrs=told["attrs"])
    except Exception as error:  # a damaged file can make the reader fail in any way
        reason = getattr(error, "strerror", None) or "it is no measurement that denoscope wrote, or damaged"
        raise UserError(f"cannot read {path}: {reason}; {advice}") from error


def _flat(identity: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a dictionary and of those in it, by names that say where they stand."""
    for name, value in identity.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{of}{name}, ")
        else:
            yield f"{of}{name}", plain(value)


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What two fingerprints disagree on, as "name: stored → wanted"."""
    names = dict.fromkeys([*stored, *wanted])
    return [
        f"{name}: {_short(stored.get(name))} → {_short(wanted.get(name))}"
        for name in names
        if stored.get(name) != wanted.get(name)
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
