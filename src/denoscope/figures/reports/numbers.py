"""The numbers of a result as tables: scalars with their intervals, series by row, larger arrays by shape and range."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from denoscope.dynamics.result import KIND
from denoscope.figures.images import evenly
from denoscope.figures.reports.axes import Axes
from denoscope.foundation.errors import escaped
from denoscope.foundation.spelling import counted

ABOUT = (KIND, "origin", "warnings", "computed_from", "identity", "fingerprint", "recording")
"""Entries that say where numbers come from and what they mean; they are shown elsewhere."""
MOST_ROWS, MOST_COLUMNS, MOST_PARTS, MOST_LINES, MOST_TEXT = 24, 10, 20, 40, 300
"""Rows and columns of a table, parts of a result, lines of facts or arrays, and characters of a text."""


@dataclass(frozen=True)
class Number:
    """A number as it is shown, and all its digits; a text has no digits."""

    text: str
    digits: str = ""


@dataclass(frozen=True)
class Cell:
    """A number, an interval, or a number with its interval."""

    number: Number | None = None
    interval: tuple[Number, Number] | None = None


@dataclass(frozen=True)
class Table:
    """Columns of equal length, of whose rows some are shown; the first column names the rows."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Part:
    """The numbers of a result, or of the part of it with this title, and its kind; `left_out` says what is not shown."""

    title: str
    kind: str
    facts: tuple[tuple[str, Cell], ...]
    tables: tuple[Table, ...]
    warnings: tuple[str, ...]
    left_out: str


def parts_of(content: Mapping[str, Any], axes: Axes, place: str) -> list[Part]:
    """A result and its parts. Arrays of one dimension, or of equal length if their dimensions are unknown, share a table.

    Args:
        content: its entries by name: JSON values and arrays.
        place: what holds all numbers, such as a file.
    """
    nested = list(_nested(content))
    parts = [_part(title, entries, axes.within(entries), place) for title, entries in nested[:MOST_PARTS]]
    if len(nested) > MOST_PARTS:
        parts.append(Part("", "", (), (), (), f"{len(nested) - MOST_PARTS:,} further parts are in {place}."))
    return parts


def number(value: Any) -> Number:
    """A scalar with four significant digits, and with all of them."""
    value = value.item() if isinstance(value, (np.generic, np.ndarray)) and value.size == 1 else value
    if value is None:
        return Number("—")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Number(shortened(value))
    return Number(
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}".replace("nan", "NaN"), repr(value)
    )


def shortened(value: Any) -> str:
    """A value as a text of at most `MOST_TEXT` characters, without control characters."""
    text = str(value)
    return escaped(text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…")


def warnings_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """The warnings of a result, or of one of its parts."""
    listed = content.get("warnings")
    return tuple(map(shortened, listed)) if isinstance(listed, (list, tuple)) else ()


def _nested(content: Mapping[str, Any], title: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A mapping, and the mappings in it, each with the names that lead to it."""
    entries = {name: value for name, value in content.items() if not isinstance(value, Mapping)}
    if entries:
        yield title, entries
    for name, value in content.items():
        if isinstance(value, Mapping) and name not in ABOUT:
            yield from _nested(value, f"{title}, {name}" if title else name)


def _part(title: str, entries: Mapping[str, Any], axes: Axes, place: str) -> Part:
    own = {
        name: value
        for name, value in entries.items()
        if name not in ABOUT and not (name == "samples" and axes.names)
    }
    arrays = {name: array for name, value in own.items() if (array := _as_array(value)) is not None}
    ends = _ends(arrays.pop("interval", None))
    facts = {
        name: Cell(number(value))
        for name, value in own.items()
        if name not in (*arrays, "interval") and (value is not None or name == "value")
    }
    if ends is not None:
        name = "value" if "value" in facts else "interval"
        facts[name] = Cell(facts[name].number if name in facts else None, ends)
    tables, large = _tables(arrays, axes, place)
    more = max(len(facts) - MOST_LINES, 0) + max(len(large) - MOST_LINES, 0)
    return Part(
        shortened(title),
        shortened(entries.get(KIND, "")),
        tuple((shortened(name), cell) for name, cell in list(facts.items())[:MOST_LINES]),
        tuple([*tables, _ranges(large, axes.dims, place)] if large else tables),
        warnings_of(entries),
        f"{more:,} further entries are in {place}." if more else "",
    )


def _as_array(value: Any) -> np.ndarray | None:
    """A list of numbers or texts as an array, with NaN for None; None for anything else."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    try:
        array = np.asarray(value)
        array = array.astype(float) if array.dtype == object else array
    except (TypeError, ValueError):  # lists of unequal lengths, or of mappings
        return None
    return array if array.ndim and array.size and array.dtype.kind in "biufUT" else None


def _ends(interval: np.ndarray | None) -> tuple[Number, Number] | None:
    """The ends of an interval, if it is one."""
    return None if interval is None or interval.shape != (2,) else (number(interval[0]), number(interval[1]))


def _is_column(name: str, array: np.ndarray) -> bool:
    """Whether an array has a number, a text or an interval for each row."""
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 2 and "interval" in name)


def _tables(
    arrays: Mapping[str, np.ndarray], axes: Axes, place: str
) -> tuple[list[Table], dict[str, np.ndarray]]:
    """Tables of the columns that have their rows in common, and the arrays that no table holds."""
    groups: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        group = groups.setdefault((axes.of(name), len(array)), {})
        if _is_column(name, array) and len(group) < MOST_COLUMNS:
            group[name] = array
    shown = {key: group for key, group in groups.items() if not axes.coords.issuperset(group)}
    chosen = dict(list(shown.items())[:MOST_PARTS])
    in_tables = {name for group in chosen.values() for name in group}
    tables = [_table(axis, axes.rows(axis, count), group, place) for (axis, count), group in chosen.items()]
    return tables, {name: array for name, array in arrays.items() if name not in in_tables}


def _table(axis: str, rows: np.ndarray, columns: Mapping[str, np.ndarray], place: str) -> Table:
    """Some rows of columns; those that name the rows come first.

    Args:
        rows: their names or numbers, unless columns hold them.
    """
    names = sorted(columns, key=lambda name: (name != axis, columns[name].dtype.kind not in "UT"))
    named = names[0] == axis or columns[names[0]].dtype.kind in "UT"
    values = [*([] if named else [rows]), *(columns[name] for name in names)]
    chosen = evenly(len(rows), MOST_ROWS) if len(rows) > 1 else [0]
    shown = counted(len(rows), "row")
    if len(chosen) < len(rows):
        shown = f"{len(chosen)} of {shown}, evenly spread; {place} has all"
    return Table(
        f"By {axis}: {shown}" if axis else shown,
        tuple(map(shortened, [*([] if named else [axis or "row"]), *names])),
        tuple(tuple(_cell(array[row]) for array in values) for row in chosen),
    )


def _cell(entry: Any) -> Cell:
    """An entry of a column: a number, a text, or the ends of an interval."""
    return Cell(number(entry)) if np.ndim(entry) == 0 else Cell(None, _ends(entry))


def _ranges(arrays: Mapping[str, np.ndarray], dims: Mapping[str, Sequence[str]], place: str) -> Table:
    """The shapes of arrays, and the ranges of their finite numbers."""
    rows = []
    for name, array in list(arrays.items())[:MOST_LINES]:
        known = [*dims.get(name, ())][: array.ndim]
        sizes = itertools.zip_longest(known, array.shape, fillvalue="")
        shape = " × ".join(f"{n:,} {axis}".rstrip() for axis, n in sizes)
        finite = array[np.isfinite(array)] if array.dtype.kind in "biuf" else array[:0]
        ends = (finite.min(), finite.max()) if finite.size else (None, None)
        cells = (shortened(name), shape, *ends, array.size - finite.size)
        rows.append(tuple(Cell(number(value)) for value in cells))
    headers = ("array", "shape", "smallest", "largest", "not finite")
    return Table(f"Larger arrays, whose numbers are in {place}", headers, tuple(rows))
