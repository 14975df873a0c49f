"""A stated interval, a system whose true value is known, and how often the interval contains it."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from denoscope.dynamics.statistics.intervals import wilson

LEAST, MOST = 0.92, 0.98
"""Coverages that count as nominal 95 %."""
FIRED, RARE = 0.9, 0.05
"""Share of the draws in which a warning fires where the interval misses, at least, and where it is right, at most."""
DRAWS = 1000


@dataclass(frozen=True)
class Draw:
    """An interval that a measure stated, the truth, and whether a warning about the interval came with it."""

    ends: Sequence[float] | None
    truth: float
    warned: bool = False

    @property
    def known(self) -> bool:
        return self.ends is not None and not math.isnan(self.ends[0])

    @property
    def covered(self) -> bool:
        # Ends and truths that agree up to rounding count as equal.
        slack = 1e-9 * max(abs(self.truth), 1e-9)
        return (
            self.ends is not None
            and self.ends[0] - slack <= self.truth
            and self.truth <= self.ends[1] + slack
        )


@dataclass(frozen=True)
class Case:
    """An interval as "Class.field", the system in words, its truth in words, and a draw from it."""

    interval: str
    system: str
    truth: str
    draw: Callable[[np.random.Generator], Draw]

    @property
    def name(self) -> str:
        return f"{self.interval}: {self.system}"

    def drawn(self, index: int) -> Draw:
        """Draw number `index`, whatever is drawn before it."""
        return self.draw(np.random.default_rng([zlib.crc32(self.name.encode()), index]))


@dataclass(frozen=True)
class Coverage:
    """What the draws of a case showed; `stated` of them had an interval."""

    case: Case
    draws: int
    stated: int
    covered: int
    warned: int
    seconds: float

    @property
    def share(self) -> float:
        return self.covered / self.stated if self.stated else math.nan

    @property
    def judgement(self) -> str:
        """Whether the interval is as good as it says."""
        warned = self.warned / self.draws
        if not self.stated:
            return "no interval"
        low, high = wilson(self.covered, self.stated)
        if high < LEAST:
            return "narrow, warned" if warned >= FIRED else "NARROW"
        if low > MOST:
            return "wide" if warned <= RARE else "wide, warned"
        return "ok" if warned <= RARE else "ok, warned"

    def row(self) -> str:
        """A row of the table."""
        ends = ""
        if self.stated:
            low, high = wilson(self.covered, self.stated)
            ends = f"{100 * self.share:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        shares = [f"{100 * count / self.draws:.0f}" for count in (self.draws - self.stated, self.warned)]
        return (
            f"| `{self.case.interval}` | {self.case.system} | {self.case.truth} | {self.draws} | {ends} | "
            f"{' | '.join(shares)} | {self.judgement} |"
        )


def measure(case: Case, indices: Sequence[int]) -> Coverage:
    """The coverage of a case in the draws of these numbers."""
    start = time.perf_counter()
    draws = [case.drawn(index) for index in indices]
    known = [draw for draw in draws if draw.known]
    return Coverage(
        case,
        len(draws),
        len(known),
        sum(draw.covered for draw in known),
        sum(draw.warned for draw in draws),
        time.perf_counter() - start,
    )
