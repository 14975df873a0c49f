"""The path of a recording that is to be written."""

from __future__ import annotations

import os
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled


def check_link(path: Path, name: str) -> None:
    """Refuse a link that leads nowhere.

    Args:
        name: the argument, as Python spells it.
    """
    # Unlike Path.exists, these raise no error if a name is too long, which the storage reports.
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(
            f"{spelled(name)} is {path}, a link to {os.readlink(path)}, which does not exist; create that folder, or name "
            "another output"
        )
