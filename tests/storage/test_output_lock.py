"""What a failure to read says about a recording."""

import errno
from pathlib import Path

import pytest

import denoscope as ds
from denoscope.storage import output_lock


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("can't start new thread"), OSError(errno.ENOMEM, "Cannot allocate memory")],
    ids=str,
)
def test_a_lack_of_memory_is_no_damage(error):
    with pytest.raises(type(error)) as caught, output_lock.reading(Path("run.zarr")):
        raise error
    assert caught.value is error


def test_another_failure_says_how_damage_is_found():
    with (
        pytest.raises(
            ds.UserError, match=r"run\.zarr cannot be read; `denoscope verify store run.zarr` lists"
        ),
        output_lock.reading(Path("run.zarr")),
    ):
        raise RuntimeError("no codec")
