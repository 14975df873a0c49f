"""Files that hold a plane of labels: maps of basins (.npz) and tensors (.pt)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoscope.cli.output import MeasureFlags, warn
from denoscope.foundation.checked import option
from denoscope.foundation.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import xarray

LISTED_ARRAYS = 4
"""The number of arrays that a message lists if a file holds no plane of labels."""
WRITERS = "as `denoscope basins map` (.npz) and `denoscope classify` (.pt) write them"


@dataclass(frozen=True)
class LabelFlags(MeasureFlags):
    """Which plane of labels is measured."""

    path: Path = option(
        Path("outputs/classifications_plane.pt"),
        "Labels of a plane, as classify writes them, or a map of basins (.npz).",
        positional=True,
    )


def read_plane(path: Path) -> tuple[np.ndarray | xarray.DataArray, dict[str, Any]]:
    """The labels [ny, nx] in a file of either kind, and their provenance; the warnings of a map are logged.

    The labels of a map with filled cells carry its audit.

    Raises: UserError if the file is missing, unfinished or holds no plane of labels.
    """
    from denoscope.foundation import checkpoint, tensor_files
    from denoscope.foundation.reading.regular_files import why_no_file
    from denoscope.foundation.writing.staged_files import check_finished

    provenance: dict[str, Any] = {"plane": str(path)}
    if problem := why_no_file(path):
        raise UserError(f"cannot read {path}: {problem}; name a plane of labels, {WRITERS}")
    if path.suffix != ".npz":
        check_finished(path.parent)
        try:
            return tensor_files.load(path).numpy(), provenance
        except UserError as error:
            raise UserError(f"{error}; or name a plane of labels, {WRITERS}") from error
    stored = checkpoint.read(path)
    if "label" not in stored or stored["label"].dims != ("y", "x") or "computed" not in stored:
        raise UserError(f"{path} holds {_arrays(stored)}, and no plane of labels; name one, {WRITERS}")
    known = stored["status"] > 0 if "status" in stored else stored["computed"]
    if not known.all():
        raise UserError(f"{path} is not finished; resume it with denoscope basins map --resume")
    warn(stored.attrs.get("warnings", []))
    audit = {"audit": stored.attrs["audit"]} if "audit" in stored.attrs else {}
    labels = stored["label"].assign_attrs(audit)
    return labels, provenance | {"map": stored.attrs.get(checkpoint.IDENTITY)}


def _arrays(stored: xarray.Dataset) -> str:
    """The first arrays of a file with their dimensions."""
    arrays = [f"{name} ({', '.join(map(str, array.dims))})" for name, array in stored.data_vars.items()]
    more = f" and {len(arrays) - LISTED_ARRAYS} more" if arrays[LISTED_ARRAYS:] else ""
    return ", ".join(arrays[:LISTED_ARRAYS]) + more or "nothing"
