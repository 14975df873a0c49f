"""Files that appear in a folder together: they are written in a hidden folder and moved when all are complete."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims
from denoscope.foundation.writing.atomic_files import sync

SYNCED = 16
"""How many files are made durable at once."""


@contextmanager
def staged_files(claim: Path, *, overwrite: bool, stale: Callable[[], list[Path]] = list) -> Iterator[Path]:
    """Yield a hidden folder; what is written there appears beside `claim` when the block ends, `claim` itself last.

    If the block raises, or a file may not be replaced, nothing changes. Files of the same content are not replaced.

    Args:
        claim: the output that is claimed, such as a manifest; it need not be written.
        overwrite: replace files of other content, and remove those that `stale` lists.

    Raises: UserError if another process writes the same, a file exists and may not be replaced, or one cannot be written.
    """
    with claims.claimed_once(claim):
        staged = claims.hidden_beside(claim, "staged")
        shutil.rmtree(staged, ignore_errors=True)  # of a killed process
        try:
            with claims.unclaimed_below(staged):
                yield staged
            with claims.writing(claim.parent):
                _publish(staged, claim, overwrite=overwrite, stale=stale())
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _publish(staged: Path, claim: Path, *, overwrite: bool, stale: list[Path]) -> None:
    """Give each staged file its place."""
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    places = {file: claim.parent / file.relative_to(staged) for file in files}
    changed = {file: place for file, place in places.items() if not _is_same(file, place)}
    if not overwrite:
        for place in [*stale, *changed.values()]:
            if os.path.lexists(place):
                raise UserError(
                    f"{place} exists and would change; replace it ({spelled('overwrite', True)}) or name another folder"
                )
    with ThreadPoolExecutor(SYNCED) as pool:
        list(pool.map(sync, changed))
    if changed or stale:
        claim.unlink(missing_ok=True)  # it must not describe a mixture of both
    for path in stale:
        path.unlink(missing_ok=True)
    for file in sorted(changed, key=lambda file: places[file] == claim):
        places[file].parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, places[file])
    if staged / claim.name in files and not claim.exists():
        os.replace(staged / claim.name, claim)
    for folder in {place.parent for place in changed.values()}:
        sync(folder)


def _is_same(file: Path, place: Path) -> bool:
    """Whether a file with the same content has the place already."""
    return place.is_file() and filecmp.cmp(file, place, shallow=False)
