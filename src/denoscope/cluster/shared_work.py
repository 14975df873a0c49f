"""Units that the workers of a run do for this process, which waits for their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from distributed import Client

from denoscope.cluster.crew import OF_ANOTHER_DEVICE, Crew, agreed, check_workers, crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.lost_scheduler import lost_reported
from denoscope.cluster.unit import SetAside, Unit
from denoscope.cluster.worker import Recipe
from denoscope.foundation.errors import UnfinishedError, UserError


@dataclass(frozen=True, eq=False)
class SharedWork:
    """Units of a run.

    Args:
        accepted: the descriptions of workers that may do units.
        kept: what is kept if a unit fails, and how the work goes on, at the end of messages.
    """

    crew: Crew
    accepted: Sequence[dict[str, Any]]
    kept: str
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def results(self, contents: Iterable[tuple[str, Any]], pieces: int) -> list[Any]:
        """What the workers return for units, in the order of the units; see `as_finished`."""
        return [result for _, result in sorted(self.as_finished(contents, pieces), key=lambda item: item[0])]

    def as_finished(self, contents: Iterable[tuple[str, Any]], pieces: int) -> Iterator[tuple[int, Any]]:
        """The position of each unit and what its worker returns, as the workers finish them.

        Args:
            contents: what each unit is about, and what its worker gets.
            pieces: of each unit.

        Raises:
            UserError: if a unit raised one.
            UnfinishedError: if a unit was given up, or the scheduler is gone.
        """
        positions: dict[str, int] = {}

        def units() -> Iterator[Unit]:
            for position, (name, content) in enumerate(contents):
                unit = Unit(f"{name}, unit {next(self._numbers)}", content, pieces)
                positions[unit.name] = position
                yield unit

        for outcome in HandOut(self.crew, units(), self.accepted, kept=self.kept).outcomes():
            if not isinstance(outcome, SetAside):
                yield positions.pop(outcome.unit.name), outcome.result
            elif isinstance(outcome.cause, UserError):
                raise outcome.cause
            else:
                failed = {outcome.unit.name: outcome.error}
                raise UnfinishedError(f"workers failed; {self.kept}", failed) from outcome.cause


@dataclass(frozen=True, eq=False)
class SharedRun:
    """The work of a run, and the entries of its description that are those of the workers' devices."""

    work: SharedWork
    elsewhere: Mapping[str, Any]


@contextmanager
def shared_run(
    client: Client, recipe: Recipe, own: Mapping[str, Any], *, allow_different_devices: bool, kept: str
) -> Iterator[SharedRun]:
    """The workers of a client with a recipe, compared with this process, while the block runs.

    Args:
        own: the description of this process: the entries of its fingerprint, and others.
        kept: what is kept if workers fail, and how the work goes on.

    Raises:
        UserError: if a worker would compute something else.
        UnfinishedError: if the scheduler is gone.
    """
    with lost_reported(client, kept):
        check_workers(client)
        with crew(client, recipe) as workers:
            distinct, differing = agreed(workers, own, allow_different_devices=allow_different_devices)
            elsewhere = {name: distinct[0][name] for name in OF_ANOTHER_DEVICE if name in own}
            if differing:
                elsewhere["different_devices"] = differing
            yield SharedRun(SharedWork(workers, distinct, kept), elsewhere)
