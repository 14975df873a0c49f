"""Files for other programs: one for each sample, with all its arrays by name."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

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

    Files with the same content stay, so that an export that was interrupted can be continued.

    Raises: UserError if a file with other content exists.
    """
    with claims.claimed(folder / f"*.{format}"):
        for name, arrays in samples:
            path, content = folder / f"{name}.{format}", _content(format, arrays)
            if not path.exists():
                with write_output(path) as file:
                    file.write(content)
            elif path.read_bytes() != content:
                raise UserError(f"{path} exists and would change; name another folder ({spelled('folder')})")


def _content(format_name: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of one file."""
    if format_name == "npz":
        npz_files.write(file := io.BytesIO(), arrays)
        return file.getvalue()
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
