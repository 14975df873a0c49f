"""Units that the workers of a run do for this process, which waits for their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from denoscope.cluster.crew import Crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.unit import Done, Unit
from denoscope.foundation.errors import UnfinishedError, UserError
from denoscope.foundation.spelling import counted, spelled


@dataclass(frozen=True, eq=False)
class SharedWork:
    """Units of a run.

    Args:
        name: of a unit; its number follows.
        accepted: the descriptions of workers that may do units.
    """

    crew: Crew
    name: str
    accepted: Sequence[dict[str, Any]]
    _numbers: count[int] = field(default_factory=count)

    def results(self, contents: Sequence[Any]) -> list[Any]:
        """What the workers return for units, in the order of the units.

        Raises:
            UserError: if a unit raised one, or the scheduler is gone.
            UnfinishedError: when all other units are finished, if some were given up.
        """
        units = [Unit(f"{self.name} {next(self._numbers)}", content) for content in contents]
        found: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for outcome in HandOut(self.crew, units, self.accepted).outcomes():
            if isinstance(outcome, Done):
                found[outcome.unit.name] = outcome.result
            elif isinstance(outcome.cause, UserError):
                raise outcome.cause
            else:
                failed[outcome.unit.name] = outcome.error
        if failed:
            raise UnfinishedError(
                f"workers failed at {len(failed)} of {counted(len(units), 'unit')}; solve this and begin again "
                f"({spelled('resume', True)} goes on from a checkpoint)",
                failed,
            )
        return [found[unit.name] for unit in units]
