"""Arrays in one file, under any names."""

import io

import numpy as np
import pytest

from denoscope.foundation.writing import npz_files

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "text": np.array(["x", "yz"]),
    "none": np.zeros((0, 4), "f2"),
    "one": np.array(3),
    "turned": np.arange(6).reshape(2, 3).T,
}


def written(arrays) -> bytes:
    file = io.BytesIO()
    npz_files.write(file, arrays)
    return file.getvalue()


def test_the_bytes_are_those_of_numpy():
    file = io.BytesIO()
    np.savez(file, **ARRAYS)
    assert written(ARRAYS) == file.getvalue()


@pytest.mark.parametrize("name", ["file", "args", "kwds", "allow_pickle", "up/0", "a b", "ü"])
def test_every_name_is_read_back(name):
    with np.load(io.BytesIO(written({name: ARRAYS["a"]}))) as found:
        assert np.array_equal(found[name], ARRAYS["a"])


def test_no_object_is_pickled():
    with pytest.raises(ValueError, match="Object arrays"):
        written({"a": np.array([{}, None])})
