"""The path of a recording that is to be written."""

from __future__ import annotations

import os
import re
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def check_output_path(path: Path, name: str) -> None:
    """Refuse a URL, which would become a folder such as `s3:`, and a link that leads nowhere.

    Args:
        name: the argument, as Python spells it.
    """
    first, *rest = path.parts or ("",)
    if rest and SCHEME.fullmatch(first) and not os.path.lexists(first):
        raise UserError(
            f"{spelled(name)} is {path}, a URL of scheme {first.rstrip(':')!r}; allowed: a local path; record there and "
            "copy the result"
        )
    # Unlike Path.exists, these raise no error if a name is too long, which the storage reports.
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(
            f"{spelled(name)} is {path}, a link to {os.readlink(path)}, which does not exist; create that folder, or name "
            "another output"
        )
