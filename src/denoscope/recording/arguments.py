"""Arguments that `record` and `watch` share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from denoscope.config import InferenceConfig
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.validation import describe
from denoscope.foundation.writing.output_path import check_path
from denoscope.storage.places import Place, parse_place

OUTPUT_OPTIONS = ("resume", "overwrite", "output_format", "codec")


def as_tuple(value: Any) -> Any:
    """One value or several as a tuple. The values are checked by the configuration that takes them."""
    if value is None:
        return ()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        with contextlib.suppress(TypeError):  # an array without axes
            return tuple(value)
    return (value,)


def parse_output(out: Any, options: InferenceConfig) -> Place | None:
    """The output as a path or a URL, or None for a recording in memory.

    Raises: UserError if `out` is neither or a link that leads nowhere, or is None while options of an output are given.
    """
    if out is None:
        default = InferenceConfig()
        for name in OUTPUT_OPTIONS:
            if (value := getattr(options, name)) != getattr(default, name):
                raise UserError(f"{spelled(name, value)} needs {spelled('out')}, the path of the recording")
        return None
    if not isinstance(out, (str, os.PathLike)) or not str(out):
        raise UserError(f"{spelled('out')} is {describe(out)}; allowed: a path such as 'run.zarr', or None")
    place = parse_place(out)
    if isinstance(place, Path):
        check_path(place, "out")
    return place
