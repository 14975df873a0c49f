"""Files for other programs: one for each sample, with all its arrays by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims, npz_files
from denoscope.foundation.writing.atomic_files import write_output


def write(
    folder: Path,
    format: Literal["safetensors", "npz"],
    samples: Iterable[tuple[str, Mapping[str, np.ndarray]]],
) -> None:
    """Write NAME.safetensors or NAME.npz for each sample. A file appears when it is whole.

    Raises: UserError if a file exists.
    """
    with claims.claimed(folder / f"*.{format}"):
        for name, arrays in samples:
            path = folder / f"{name}.{format}"
            if path.exists():
                raise UserError(f"{path} exists; name another folder ({spelled('folder')})")
            with write_output(path) as file:
                _write_one(file, format, arrays)


def _write_one(file: BinaryIO, format: str, arrays: Mapping[str, np.ndarray]) -> None:
    if format == "npz":
        npz_files.write(file, arrays)
        return
    from safetensors.numpy import save

    file.write(save({name: np.ascontiguousarray(values) for name, values in arrays.items()}))
