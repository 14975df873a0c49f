"""Units that the workers of a run do for this process, which waits for their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from denoscope.cluster.crew import Crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.unit import SetAside, Unit
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

    def results(self, contents: Sequence[tuple[str, Any]], pieces: int) -> list[Any]:
        """What the workers return for units, in the order of the units.

        Args:
            contents: what each unit is about, and what its worker gets.
            pieces: of each unit.

        Raises:
            UserError: if a unit raised one, or the scheduler is gone.
            UnfinishedError: if a unit was given up.
        """
        units = [Unit(f"{name}, unit {next(self._numbers)}", content, pieces) for name, content in contents]
        found: dict[str, Any] = {}
        for outcome in HandOut(self.crew, units, self.accepted, kept=self.kept).outcomes():
            if not isinstance(outcome, SetAside):
                found[outcome.unit.name] = outcome.result
            elif isinstance(outcome.cause, UserError):
                raise outcome.cause
            else:
                failed = {outcome.unit.name: outcome.error}
                raise UnfinishedError(f"workers failed; {self.kept}", failed) from outcome.cause
        return [found[unit.name] for unit in units]
