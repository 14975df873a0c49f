"""Reading a whole recording again and comparing it with every checksum."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import completion
from denoscope.storage.completion import Mark
from denoscope.storage.damage import damaged, how_to_repair
from denoscope.storage.formats import found
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.stores.byte_store import ByteStore


@dataclass(frozen=True)
class Inspection:
    """What a recording holds and what is wrong with it.

    `samples` is the planned number of samples. `finished` names the samples of finished groups, `sound` those among
    them whose files all match their checksums. `missing` lists the marks that do not exist, `problems` all damage;
    `advice` says how it is repaired or, if nothing is damaged, finished.
    """

    samples: int
    finished: tuple[str, ...]
    sound: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    advice: str


def inspect(store: ByteStore) -> Inspection:
    """Read a whole recording again.

    Raises: UserError if there is none in the store, a newer denoscope wrote it, or what describes it is damaged.
    """
    try:
        return _inspected(store)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or store}: {error.strerror or error}") from error


def _inspected(store: ByteStore) -> Inspection:
    kind, root = found(store)
    check, folder = kind.check, kind.layout.MARKS
    layout_problems = list(_damage(store, root.damaged(store)))
    try:
        planned = kind.layout.extent(root)
    except MalformedError as error:
        raise damaged(store, str(error), root.attributes) from error
    names: dict[int, Sequence[str]] = {}
    damaged_marks, damage = [], dict[int, list[str]]()
    for group, mark in completion.read_all(store, folder):
        if mark is None:
            damaged_marks.append(f"{completion.key_of(folder, group)} is damaged")
        else:
            names[group] = mark.samples
            damage[group] = list(_damage(store, check.damaged(store, group, mark, planned)))
    problems = (
        *layout_problems,
        *damaged_marks,
        *(f"{key} marks samples as complete that have no mark" for key in check.claimed(store, names)),
        *(problem for problems in damage.values() for problem in problems),
    )
    return Inspection(
        samples=planned.samples,
        finished=tuple(name for group in names for name in names[group]),
        sound=tuple(name for group in names if not damage[group] for name in names[group]),
        missing=tuple(completion.key_of(folder, group) for group in planned.groups if group not in names),
        problems=problems,
        advice=how_to_repair(problems, root.attributes) if problems else how_to_finish(root.attributes),
    )


def first_damage(store: ByteStore, arrays: Collection[str]) -> str:
    """Return the first damage in the marks and in the finished groups of some arrays, or "" if all checksums match."""
    kind, root = found(store)
    try:
        planned = kind.layout.extent(root)
        for group, mark in completion.read_sound(store, kind.layout.MARKS):
            part: Mark = kind.check.part_of(root, mark, arrays)
            for problem in _damage(store, kind.check.damaged(store, group, part, planned)):
                return problem
    except MalformedError as error:
        return str(error)
    return ""


def damage_in(store: ByteStore, arrays: Collection[str], groups: Collection[int]) -> dict[int, list[str]]:
    """Return the damage in some arrays of some finished groups, by group; those without damage are left out.

    Raises: UserError as `inspect` does.
    """
    kind, root = found(store)
    try:
        planned, damage = kind.layout.extent(root), dict[int, list[str]]()
        for group, mark in completion.read_sound(store, kind.layout.MARKS):
            if group > max(groups, default=-1):
                break
            if group in groups:
                part: Mark = kind.check.part_of(root, mark, arrays)
                damage[group] = list(_damage(store, kind.check.damaged(store, group, part, planned)))
    except MalformedError as error:
        raise damaged(store, str(error), root.attributes) from error
    except OSError as error:
        raise UserError(f"cannot read {error.filename or store}: {error.strerror or error}") from error
    return {group: lines for group, lines in damage.items() if lines}


def _damage(store: ByteStore, problems: Iterator[str]) -> Iterator[str]:
    """The problems; a file that cannot be read is the last one."""
    try:
        yield from problems
    except MalformedError as error:
        yield str(error)
    except OSError as error:
        yield f"{error.filename or store} cannot be read ({error.strerror or error})"
