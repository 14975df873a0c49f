"""Files that appear in a folder together: they are written in a hidden folder and moved when all are complete.

While they are moved, the hidden folder beside them is named `.CLAIM.unfinished`. If the writer stops in between, readers
refuse the folder, and the next writer of the same output moves the remaining files first.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims
from denoscope.foundation.writing.atomic_files import sync

SYNCED = 16
"""How many files are made durable at once."""
UNFINISHED = "unfinished"
REMOVED = ".removed.json"
"""The file in the hidden folder that lists the names of the files to remove."""


@contextmanager
def staged_files(claim: Path, *, overwrite: bool, stale: Callable[[], list[str]] = list) -> Iterator[Path]:
    """Yield a hidden folder; what is written there appears beside `claim` when the block ends, `claim` itself last.

    If the block raises, or a file may not be replaced, nothing changes. Files of the same content are not replaced.

    Args:
        claim: the output that is claimed, such as a manifest; it need not be written.
        overwrite: replace files of other content, and remove those beside `claim` that `stale` names.

    Raises: UserError if another process writes the same, a file exists and may not be replaced, or one cannot be written.
    """
    with claims.claimed_once(claim):
        staged, unfinished = (claims.hidden_beside(claim, kind) for kind in ("staged", UNFINISHED))
        if unfinished.is_dir():  # of a killed process, or of a failed disk
            with claims.writing(claim.parent):
                _move(unfinished, claim)
        shutil.rmtree(staged, ignore_errors=True)
        try:
            with claims.writing(claim.parent):
                staged.mkdir()
            with claims.unclaimed_below(staged):
                yield staged
            with claims.writing(claim.parent):
                if _prepare(staged, claim, overwrite=overwrite, stale=stale()):
                    os.rename(staged, unfinished)
                    sync(claim.parent)
                    _move(unfinished, claim)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def check_finished(folder: Path, *, besides: Path | None = None) -> None:
    """Refuse a folder in which a writer stopped while it replaced files that belong together.

    Args:
        besides: an output whose files the caller does not read, because it writes them again.

    Raises: UserError naming the folder and the output.
    """
    ignored = besides and claims.canonical(claims.hidden_beside(besides, UNFINISHED))
    for path in sorted(folder.glob(f".*.{UNFINISHED}")):
        if claims.canonical(path) == ignored:
            continue
        name = path.name.removeprefix(".").removesuffix(f".{UNFINISHED}")
        raise UserError(
            f"{folder} is unfinished: {name} and the files that belong to it are being replaced, or the process that "
            "did so was stopped; write them again"
        )


def _prepare(staged: Path, claim: Path, *, overwrite: bool, stale: list[str]) -> bool:
    """Make the staged files durable, except those that have their places already; returns whether anything changes."""
    places = _places(staged, claim)
    changed = {file: place for file, place in places.items() if not _is_same(file, place)}
    if not overwrite:
        for place in [*(claim.parent / name for name in stale), *changed.values()]:
            if os.path.lexists(place):
                raise UserError(
                    f"{place} exists and would change; replace it ({spelled('overwrite', True)}) or name another folder"
                )
    for file in places.keys() - changed.keys():
        if places[file] != claim:  # which is removed while other files are moved
            file.unlink()
    (staged / REMOVED).write_text(json.dumps(stale))
    folders = [staged, *(path for path in staged.rglob("*") if path.is_dir())]
    with ThreadPoolExecutor(SYNCED) as pool:
        list(pool.map(sync, [*changed, staged / REMOVED, *folders]))
    return bool(changed or stale)


def _move(unfinished: Path, claim: Path) -> None:
    """Give each file its place, `claim` last, and remove the folder."""
    places = _places(unfinished, claim)
    if claim in places.values():
        claim.unlink(missing_ok=True)  # it must not describe a mixture of both
    removed = unfinished / REMOVED
    for name in json_files.read(removed, list[str]) if removed.is_file() else []:
        if Path(name).name == name and not (place := claim.parent / name).is_dir():
            place.unlink(missing_ok=True)
    for file in sorted(places, key=lambda file: places[file] == claim):
        places[file].parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, places[file])
    for folder in {claim.parent, *(place.parent for place in places.values())}:
        sync(folder)
    shutil.rmtree(unfinished)
    sync(claim.parent)


def _places(staged: Path, claim: Path) -> dict[Path, Path]:
    """The place of each staged file."""
    files = sorted(path for path in staged.rglob("*") if path.is_file() and path.name != REMOVED)
    return {file: claim.parent / file.relative_to(staged) for file in files}


def _is_same(file: Path, place: Path) -> bool:
    """Whether a file with the same content has the place already."""
    return place.is_file() and filecmp.cmp(file, place, shallow=False)
