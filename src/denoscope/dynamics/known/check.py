"""One quantity whose value is known, beside what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = f"{'quantity':<66}{'expected':>15}{'measured':>15}{'error':>10}{'allowed':>10}"


@dataclass(frozen=True)
class Check:
    """A quantity, what it must be (a number, or a word that must be met), what it is, and how far it may be off."""

    name: str
    expected: float | str
    measured: float | str
    tolerance: float = 0.0

    @property
    def error(self) -> float | None:
        """How far off, in the quantity's own unit; None between words, and where a word stands for a number."""
        if isinstance(self.expected, str) or isinstance(self.measured, str):
            return None
        return abs(float(self.measured) - float(self.expected))

    @property
    def holds(self) -> bool:
        """Whether the error is allowed; that of NaN never is."""
        return self.measured == self.expected if self.error is None else self.error <= self.tolerance

    def __str__(self) -> str:
        error = "" if self.error is None else f"{self.error:.1e}"
        allowed = "" if self.error is None else f"{self.tolerance:.0e}"
        told = f"{self.name:<66}{_written(self.expected):>15}{_written(self.measured):>15}"
        return f"{told}{error:>10}{allowed:>10}  {'ok' if self.holds else 'MISSES'}"


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{float(value):.9g}"
