"""How many of the filled cells of a map are wrong, from a random sample of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scipy import special

from denoscope.foundation.errors import UserError
from denoscope.foundation.validation import describe

BOUNDS = {"wrong_bound_95": 0.95, "wrong_bound_99_9": 0.999}
"""The confidence level of each bound in a result."""


@dataclass(frozen=True)
class Audit:
    """`wrong` of `checked` filled cells, drawn at random from `filled`, have another label when they are computed."""

    filled: int
    checked: int
    wrong: int

    def bound(self, confidence: float) -> float:
        """The largest share of wrong cells among the filled ones that this sample allows at a confidence level.

        Clopper and Pearson's one-sided bound; 1 if nothing was checked, 0 if nothing was filled.
        """
        if not self.filled:
            return 0.0
        if self.wrong == self.checked:
            return 1.0
        return float(special.betaincinv(self.wrong + 1, self.checked - self.wrong, confidence))

    def missed(self, confidence: float) -> int:
        """The largest number of wrong cells that are left, at a confidence level; those that were found are corrected."""
        allowed = int(self.bound(confidence) * self.filled) - self.wrong
        return min(max(allowed, 0), self.filled - self.checked)

    @property
    def bounds(self) -> dict[str, float]:
        """The largest shares of wrong cells among the filled ones at 95 % and 99.9 %, as a result names them."""
        return {name: self.bound(confidence) for name, confidence in BOUNDS.items()}

    @property
    def origin(self) -> dict[str, Any]:
        """The entry of a result's `origin`; none for a map whose cells are all computed."""
        return {"audit": asdict(self)} if self.filled else {}


WITHOUT_FILLED_CELLS = Audit(filled=0, checked=0, wrong=0)


def audit_of(labels: Any) -> Audit:
    """The audit that a map of basins or its `label` carries; that of a map without filled cells for other labels.

    Raises: UserError if its attribute `audit` is not the one of a map.
    """
    import xarray

    attrs = labels.attrs if isinstance(labels, (xarray.Dataset, xarray.DataArray)) else {}
    if "audit" not in attrs:
        return WITHOUT_FILLED_CELLS
    given, names = attrs["audit"], ("filled", "checked", "wrong")
    counts = [given.get(name) for name in names] if isinstance(given, Mapping) else []
    numbers = [count for count in counts if isinstance(count, int)]
    if len(numbers) == len(names) and numbers[0] >= numbers[1] >= numbers[2] >= 0:
        return Audit(*numbers)
    raise UserError(
        f"labels have the attribute audit={describe(given)}; allowed: the numbers of filled, checked and wrong cells, as "
        "ds.basins.map gives them"
    )
