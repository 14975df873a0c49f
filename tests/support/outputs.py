"""The outputs of recordings, one for each format."""

from pathlib import Path

import pytest

import denoscope as ds

OUTPUTS = ["run.zarr", "run"]
SAMPLED_OUTPUTS = ["run.zarr", pytest.param("run", marks=pytest.mark.slow)]
"""One format by default, both in the slow tests."""


def record_all(folder: Path, denoiser: ds.Denoiser, x, **options) -> Path:
    """Record the same samples in each format; returns the folder."""
    for out in OUTPUTS:
        ds.record(denoiser, x, folder / out, **options)
    return folder
