"""A quantity with a known value, beside its measured value."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = f"{'quantity':<66}{'expected':>15}{'measured':>15}{'error':>10}{'allowed':>10}"


@dataclass(frozen=True)
class Check:
    """A quantity: its known value (a number or a word), its measured value, and the allowed error."""

    name: str
    expected: float | str
    measured: float | str
    tolerance: float = 0.0

    @property
    def error(self) -> float | None:
        """The absolute error; None if one of the values is a word."""
        if isinstance(self.expected, str) or isinstance(self.measured, str):
            return None
        return abs(float(self.measured) - float(self.expected))

    @property
    def passes(self) -> bool:
        """Whether the error is within the tolerance; NaN never passes."""
        return self.measured == self.expected if self.error is None else self.error <= self.tolerance

    def __str__(self) -> str:
        error = "" if self.error is None else f"{self.error:.1e}"
        allowed = "" if self.error is None else f"{self.tolerance:.0e}"
        values = f"{self.name:<66}{_format(self.expected):>15}{_format(self.measured):>15}"
        return f"{values}{error:>10}{allowed:>10}  {'ok' if self.passes else 'FAILS'}"


def _format(value: float | str) -> str:
    return value if isinstance(value, str) else f"{float(value):.9g}"
