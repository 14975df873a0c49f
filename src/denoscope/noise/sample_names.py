"""The names of samples, which follow from those of their noises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from denoscope.foundation.errors import UserError

NOISE, SAMPLE = "noise_", "sample_"
MOST = 10**7
"""The samples that a run may have: their names alone take a gigabyte."""


def sample_names(names: Sequence[str]) -> tuple[str, ...]:
    """The name of each noise's sample: noise_0007 becomes sample_0007, all other names stay.

    Raises: UserError if two samples would have one name, or there are more than MOST.
    """
    if len(names) > MOST:
        raise UserError(f"{len(names):,} noises are given; allowed: at most {MOST:,} samples in a run")
    samples = tuple(SAMPLE + name.removeprefix(NOISE) if name.startswith(NOISE) else name for name in names)
    name, count = Counter(samples).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} noises would be recorded as sample {name!r}; rename all but one")
    return samples
