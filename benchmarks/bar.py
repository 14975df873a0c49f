"""What must not be exceeded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A ratio or a time that must not be exceeded."""

    name: str
    found: float
    allowed: float

    def __str__(self) -> str:
        verdict = "ok" if self.found <= self.allowed else "MISSED"
        return f"{self.name:<66}{self.found:>10.4g}{self.allowed:>10.4g}  {verdict}"
