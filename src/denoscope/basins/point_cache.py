"""Labels of points of a plane, kept in a file for other maps of that plane."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from denoscope.basins.labelling import Answers, Labelling
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import spelled
from denoscope.foundation.writing import claims
from denoscope.noise.noise_set import NoiseSet
from denoscope.noise.plane_noise import PlaneNoise

APPLICATION = 0x64656E6F
"""Marks a SQLite file as a cache of denoscope ("deno")."""
VERSION = 1
WAIT = 60.0
"""Seconds to wait for another process that is writing to the file."""
POINTS_A_WRITE = 1024
"""Points that are entered before they are written; a process that is killed loses no more."""
TABLES = """
CREATE TABLE IF NOT EXISTS labellings (
    number INTEGER PRIMARY KEY, identity TEXT UNIQUE NOT NULL, names TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS points (
    labelling INTEGER NOT NULL, u REAL NOT NULL, v REAL NOT NULL, answers BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (labelling, u, v)
) WITHOUT ROWID;
"""
WITHOUT_CHECKPOINT = Checkpoint()


@dataclass(frozen=True)
class KnownCells:
    """Cells of a grid whose answers are known; `index` [ny, nx] is the place of each cell in the answers, or −1."""

    index: np.ndarray
    answers: Answers


class PointCache:
    """The answers for points (u, v) of one plane by one labelling, in a SQLite file that holds those of others too."""

    def __init__(self, connection: sqlite3.Connection, identity: Mapping[str, Any], types: Answers):
        """`types` are answers for no points, which say their names and dtypes."""
        text = json.dumps(identity, sort_keys=True)
        self._connection = connection
        self._types = {name: types[name].dtype for name in sorted(types)}
        self._number = self._numbered(text, json.dumps(list(self._types)))
        self._seed = zlib.crc32(text.encode())
        self._entered: list[tuple[int, float, float, bytes, int]] = []

    def on_grid(self, u: np.ndarray, v: np.ndarray) -> KnownCells:
        """The known points at ascending coordinates u [nx] and v [ny]; only points equal to the bit are the same."""
        self.write()
        points = [self._checked(*row) for row in self._rows(u, v)]
        at = np.array([point[:2] for point in points]).reshape(-1, 2)
        columns, rows = np.searchsorted(u, at[:, 0]), np.searchsorted(v, at[:, 1])
        on_grid = (u[columns] == at[:, 0]) & (v[rows] == at[:, 1])
        table = np.frombuffer(b"".join(point[2] for point in points)).reshape(-1, len(self._types))[on_grid]
        answers = {
            name: values.astype(dtype)
            for (name, dtype), values in zip(self._types.items(), table.T, strict=True)
        }
        index = np.full((len(v), len(u)), -1, np.int32)
        index[rows[on_grid], columns[on_grid]] = np.arange(len(table))
        return KnownCells(index, answers)

    def add(self, u: np.ndarray, v: np.ndarray, answers: Answers) -> None:
        """Enter points [n]; they are in the file after the next `write`."""
        table = np.stack([answers[name].astype(np.float64) for name in self._types], axis=1)
        self._entered += [
            (self._number, u_k, v_k, row.tobytes(), self._checksum(u_k, v_k, row.tobytes()))
            for u_k, v_k, row in zip(_signless(u), _signless(v), table, strict=True)
        ]
        if len(self._entered) >= POINTS_A_WRITE:
            self.write()

    def write(self) -> None:
        """Write the points that were entered."""
        entered, self._entered = self._entered, []
        if entered:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", entered)

    def _rows(self, u: np.ndarray, v: np.ndarray) -> list[Any]:
        """u, v, answers and checksum of the points in the columns of a grid."""
        execute = self._connection.execute
        with self._connection:  # a transaction that stays open would keep others from writing
            execute("CREATE TEMP TABLE IF NOT EXISTS places (u REAL PRIMARY KEY)")
            execute("DELETE FROM places")
            self._connection.executemany("INSERT INTO places VALUES (?)", ((value,) for value in u.tolist()))
            return execute(
                "SELECT points.u, v, answers, checksum FROM places CROSS JOIN points "
                "ON labelling = ? AND points.u = places.u AND v BETWEEN ? AND ?",
                (self._number, float(v[0]), float(v[-1])),
            ).fetchall()

    def _checked(self, u: Any, v: Any, answers: Any, checksum: Any) -> tuple[float, float, bytes]:
        whole = isinstance(v, float) and isinstance(answers, bytes) and len(answers) == 8 * len(self._types)
        if not whole or checksum != self._checksum(u, v, answers):
            raise sqlite3.DatabaseError("a point in it is damaged")
        return u, v, answers

    def _checksum(self, u: float, v: float, answers: bytes) -> int:
        return zlib.crc32(struct.pack("<dd", u, v) + answers, self._seed)

    def _numbered(self, identity: str, names: str) -> int:
        with self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO labellings (identity, names) VALUES (?, ?)", (identity, names)
            )
        row = self._connection.execute(
            "SELECT number FROM labellings WHERE identity = ? AND names = ?", (identity, names)
        ).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("its points have other answers")
        return int(row[0])


def _signless(values: np.ndarray) -> list[float]:
    """The values; 0 in place of −0, which SQLite does not store."""
    return [float(value) for value in values + 0.0]


def parse_cache(
    given: str | os.PathLike[str] | None,
    labelling: Labelling,
    plane: NoiseSet,
    checkpoint: Checkpoint = WITHOUT_CHECKPOINT,
) -> Path | None:
    """The path of a cache, or None for no cache.

    Raises: UserError if more than their parameters decides the noises or the classifier, or the cache is the file of the
        checkpoint, which would replace it.
    """
    if given is None:
        return None
    if not isinstance(plane, PlaneNoise):
        raise UserError(
            f"{spelled('cache')} needs a plane that noise.plane or noise.plane_through made, and this one was read from "
            f"files; leave out {spelled('cache')}"
        )
    if "classifier_sha256" not in labelling.classifier.description:
        raise UserError(
            f"{spelled('cache')} needs a classifier with weights, since nothing tells a function of your own from another; "
            f"leave out {spelled('cache')}"
        )
    path = Path(given)
    if checkpoint.path is not None and claims.same_file(path, checkpoint.path):
        raise UserError(
            f"{spelled('cache')} is {path}, the same file as {spelled('checkpoint')} {checkpoint.path}; name another path"
        )
    return path


@contextmanager
def opened(
    path: Path | None, plane: PlaneNoise, origin: Mapping[str, Any], nothing: Answers
) -> Iterator[PointCache | None]:
    """The cache of a plane in a file, which is created if it does not exist; None without a path.

    All points are in the file when the block ends, also after an error or Ctrl-C.

    Args:
        origin: everything that determines the labels; see `Labelling.origin`.
        nothing: the answers of the labelling for no noises.

    Raises: UserError naming the file if it cannot be read or written, or is not a cache.
    """
    if path is None:
        yield None
        return
    with _connected(path) as connection:
        cache = PointCache(connection, _identity(plane, origin), nothing)
        try:
            yield cache
        finally:
            cache.write()


def empty(path: Path) -> None:
    """Remove all points from a cache, so that its file becomes small.

    Raises: UserError naming the file if it cannot be read or written, or is not a cache.
    """
    with _connected(path) as connection:
        with connection:
            connection.execute("DELETE FROM points")
        connection.execute("VACUUM")


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file, whose errors name the file."""
    try:
        with closing(sqlite3.connect(path, timeout=WAIT, check_same_thread=False)) as connection:
            _prepare(connection)
            yield connection
    except sqlite3.Error as error:
        raise UserError(
            f"{spelled('cache')} {path} cannot be used: {error}; name another file, or remove this one if it is a cache"
        ) from error


def _identity(plane: PlaneNoise, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that determines the answer for a point (u, v), which may be on any grid in the plane."""
    frame = {**plane.frame.parameters, "geometry": plane.geometry, "dtype": str(plane.dtype)}
    return {name: value for name, value in origin.items() if name != "model"} | {"plane": frame}


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of a new file, and refuse a file of another program or a later version."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and (application, version) != (APPLICATION, VERSION):
        raise sqlite3.DatabaseError("it is not a cache of this version of denoscope")
    connection.execute("PRAGMA trusted_schema = OFF")
    # Power that fails may cost the last points, which are computed again, but not the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    if not tables:
        with connection:
            connection.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
