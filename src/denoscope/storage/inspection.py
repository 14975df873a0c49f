"""Reading a whole recording again and comparing it with every checksum."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from denoscope.foundation.errors import UserError
from denoscope.storage import completion
from denoscope.storage.completion import Mark
from denoscope.storage.formats import FORMATS, Format, stored_format
from denoscope.storage.output_lock import check_version, how_to_finish
from denoscope.storage.pt import layout as pt_layout
from denoscope.storage.stores.byte_store import ByteStore
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import layout as zarr_layout


@dataclass(frozen=True)
class Inspection:
    """What a recording holds and what is wrong with it.

    `samples` is the number of samples it is planned for, `finished` names those of finished groups, `sound` those of
    them whose every file matches its checksum. `missing` lists the marks that do not exist, `problems` what is damaged,
    and `how_to_finish` says how an unfinished recording is finished.
    """

    samples: int
    finished: tuple[str, ...]
    sound: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    how_to_finish: str


def inspect(store: ByteStore) -> Inspection:
    """Read a whole recording again.

    Raises: UserError if there is none in the store, or a newer denoscope wrote it.
    """
    kind = _format_of(store)
    check, marks = kind.check, kind.layout.MARKS
    finished = completion.read(store, marks)
    damage = {
        group: list(_damage(store, check.damaged(store, group, mark))) for group, mark in finished.items()
    }
    samples, lanes = check.extent(store)
    unmarked = [group for group in range(-(-samples // lanes)) if group not in finished]
    claims = [key for group in unmarked if (key := check.claimed(store, group))]
    return Inspection(
        samples=samples,
        finished=tuple(name for mark in finished.values() for name in mark.samples),
        sound=tuple(name for group, mark in finished.items() if not damage[group] for name in mark.samples),
        missing=tuple(completion.key_of(marks, group) for group in unmarked),
        problems=(
            *_damage(store, check.damaged_layout(store)),
            *(f"{marks}/{what}" for what in completion.damaged(store, marks)),
            *(f"{key} marks samples as complete that have no mark" for key in claims),
            *(problem for problems in damage.values() for problem in problems),
        ),
        how_to_finish=how_to_finish(kind.layout.attributes(store)),
    )


def first_damage(store: ByteStore, arrays: Collection[str]) -> str:
    """Return the first damage in the finished groups of some arrays, or "" if all checksums match."""
    kind = _format_of(store)
    for group, mark in completion.read(store, kind.layout.MARKS).items():
        part: Mark = kind.check.part_of(store, mark, arrays)
        for problem in _damage(store, kind.check.damaged(store, group, part)):
            return problem
    return ""


def _damage(store: ByteStore, problems: Iterator[str]) -> Iterator[str]:
    """The problems, with a file that cannot be read as the last of them."""
    try:
        yield from problems
    except OSError as error:
        yield f"{error.filename or store} cannot be read ({error.strerror or error})"


def _format_of(store: ByteStore) -> Format:
    """The format of the recording in a store, of which all that describes it is there."""
    name = stored_format(store)
    if name is not None:
        check_version(store, FORMATS[name].layout.attributes(store))
    if name == "pt" or (name == "zarr" and zarr_layout.is_laid_out(store)):
        return FORMATS[name]
    if isinstance(store, LocalStore) and not store.root.exists():
        raise UserError(f"{store}: no such recording")
    is_folder = any(store.list(f"{pt_layout.MARKS}/"))
    root = pt_layout.MANIFEST if is_folder else zarr_layout.ROOT
    raise UserError(f"{store} cannot be checked: its {root} is missing, damaged, or not of a recording")
