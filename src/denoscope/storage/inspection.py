"""What re-reading every checksum of a recording finds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from denoscope.foundation.errors import UserError
from denoscope.storage import completion, remedy
from denoscope.storage.output_lock import readable_version
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.zarr import check
from denoscope.storage.zarr import layout as zarr_layout


@dataclass(frozen=True)
class Inspection:
    """The samples that a recording is to hold, those of its finished groups, and what is wrong with it.

    `sound` are the finished samples whose every file matches; `missing` names the marks that are not there;
    `remedy` says how it comes to its end.
    """

    samples: int
    finished: tuple[str, ...]
    sound: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    remedy: str


def inspect(path: Path) -> Inspection:
    """Read all of a recording again, of either kind.

    Raises: UserError if there is none at `path`, or a newer denoscope wrote it.
    """
    kind = _kind(path)
    folder = kind.marks_of(path)
    finished = completion.read(folder)
    damage = {group: list(kind.damaged(path, group, mark)) for group, mark in finished.items()}
    samples, lanes = kind.extent(path)
    attributes = pt_layout.attributes if kind is pt_layout else zarr_layout.attributes
    unmarked = [group for group in range(-(-samples // lanes)) if group not in finished]
    named = folder.relative_to(path)
    return Inspection(
        samples=samples,
        finished=tuple(name for mark in finished.values() for name in mark.samples),
        sound=tuple(name for group, mark in finished.items() if not damage[group] for name in mark.samples),
        missing=tuple(f"{named}/{group}.json" for group in unmarked),
        problems=(
            *kind.damaged_layout(path),
            *(f"{named}/{what}" for what in completion.damaged(folder)),
            *(
                f"{name} says more than the marks"
                for group in unmarked
                if (name := kind.claimed(path, group))
            ),
            *(problem for group in damage for problem in damage[group]),
        ),
        remedy=remedy.of_unfinished(attributes(path)),
    )


def first_damage(path: Path, arrays: Collection[str]) -> str:
    """The first thing found wrong with what is finished of some of the arrays; nothing where all checksums match."""
    kind = _kind(path)
    for group, mark in completion.read(kind.marks_of(path)).items():
        for problem in kind.damaged(path, group, kind.part_of(path, mark, arrays)):
            return str(problem)
    return ""


def _kind(path: Path) -> ModuleType:
    """What checks the kind of recording that lies at `path`."""
    if pt_layout.is_recording(path):
        readable_version(path, pt_layout.attributes(path))
        return pt_layout
    if zarr_layout.is_laid_out(path):
        readable_version(path, zarr_layout.attributes(path))
        return check
    if not path.exists():
        raise UserError(f"{path}: no such recording")
    named = pt_layout.MANIFEST if pt_layout.marks_of(path).exists() else zarr_layout.ROOT
    raise UserError(f"{path} cannot be checked: its {named} is missing, of another kind, or damaged")
