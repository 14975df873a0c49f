"""Reading a store as one dataset, as it is indexed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from denoscope.errors import UserError
from denoscope.storage.plan import FORMAT
from denoscope.storage.target import readable_version
from denoscope.storage.zarr_layout import ROOT, attributes, is_laid_out, is_recording

if TYPE_CHECKING:
    import xarray


def open_store(path: Path) -> xarray.Dataset:
    """The store as a lazily read dataset; a layer's array keeps the dimension names of the store."""
    import xarray

    if not is_recording(path):
        raise UserError(f"{path} is no recording: it has no {ROOT} of the format {FORMAT!r}")
    readable_version(path, attributes(path))
    if not is_laid_out(path):
        raise UserError(
            f"{path} holds nothing yet: its run ended before the first step; replace it with --overwrite"
        )
    try:
        return xarray.open_zarr(path, chunks=None)
    except Exception as error:  # a damaged file can make the readers fail in any way
        raise UserError(
            f"{path} cannot be read; `denoscope verify store {path}` names what is damaged"
        ) from error
