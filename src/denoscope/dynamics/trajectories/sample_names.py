"""The names of the samples of sequences."""

from __future__ import annotations

from typing import Any

import xarray


def sample_names(sequences: Any) -> tuple[str, ...]:
    """The names of the samples that sequences [sample, …] carry; empty for a plain array."""
    if not isinstance(sequences, xarray.DataArray) or "sample" not in sequences.coords:
        return ()
    names = sequences["sample"]
    return tuple(map(str, names.to_numpy())) if names.dims == sequences.dims[:1] else ()
