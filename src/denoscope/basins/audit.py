"""How many of the filled cells of a map are wrong, from a random sample of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


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
        return float(stats.beta.ppf(confidence, self.wrong + 1, self.checked - self.wrong))


def sample(filled: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of up to `count` random cells among those that are filled [ny, nx]."""
    cells = np.flatnonzero(filled)
    chosen = np.random.default_rng([seed, len(cells)]).choice(cells, min(count, len(cells)), replace=False)
    rows, columns = np.divmod(np.sort(chosen), filled.shape[1])
    return rows, columns
