"""The path of a recording that is to be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

IMPOSSIBLE = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors of paths where nothing can be."""


def check_path(path: Path, name: str) -> None:
    """Refuse a path where nothing can be, and a link that leads nowhere.

    Args:
        name: the argument, as Python spells it.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno in IMPOSSIBLE:
            raise UserError(
                f"cannot write {path}: {error.strerror}; name another output ({spelled(name)})"
            ) from error
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(
            f"{spelled(name)} is {path}, a link to {os.readlink(path)}, which does not exist; create that folder, or name "
            "another output"
        )
