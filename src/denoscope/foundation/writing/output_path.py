"""The path of an output."""

from __future__ import annotations

import os
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.given_path import check_possible, without_links
from denoscope.foundation.spelling import spelled


def check_path(path: Path, name: str) -> None:
    """Refuse a path where nothing can be, and a link that leads nowhere.

    Args:
        name: the argument, as Python spells it.
    """
    check_possible(path, name)
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(
            f"{spelled(name)} is {path}, a link to {os.readlink(path)}, which does not exist; create that folder, or name "
            "another output"
        )


def check_not_read(name: str, path: Path, source: Path) -> None:
    """Refuse an output that is what it is made from, or a part of it.

    Args:
        name: the argument or flag, as the caller spells it.
    """
    target, read = without_links(path), without_links(source)
    if target.is_relative_to(read):
        where = "" if target == read else f" a part of {source},"
        raise UserError(f"{name} is {path},{where} which is read; name another path")
