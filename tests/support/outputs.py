"""The outputs of recordings, one for each format."""

import pytest

OUTPUTS = ["run.zarr", "run"]
SAMPLED_OUTPUTS = ["run.zarr", pytest.param("run", marks=pytest.mark.slow)]
"""One format by default, both in the slow tests."""
