"""The flags of a recording, read from its marks: which samples are finished, and which states are NaN or Inf."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from denoscope.foundation.reading.json_files import MalformedError
from denoscope.storage import completion
from denoscope.storage.attribute_schema import Extent
from denoscope.storage.stores.byte_store import ByteStore

MOST_FLAGS = 2**31


def flags(
    store: ByteStore, marks: str, samples: Sequence[str], planned: Extent
) -> tuple[np.ndarray, np.ndarray]:
    """Return which samples are finished [n], and which of their states are not finite [n, states].

    Raises: MalformedError if a mark is damaged, or names samples or states that the recording does not have.
    """
    if len(samples) * planned.states > MOST_FLAGS:
        raise MalformedError(
            f"it claims {len(samples):,} samples of {planned.states:,} states; allowed: {MOST_FLAGS:,}"
        )
    complete, nonfinite = np.zeros(len(samples), bool), np.zeros((len(samples), planned.states), bool)
    for group, mark in completion.read_sound(store, marks):
        rows = planned.samples_of(group)
        if list(mark.samples) != list(samples[rows.start : rows.stop]):
            raise MalformedError(f"{completion.key_of(marks, group)} names other samples than the recording")
        complete[rows.start : rows.stop] = True
        for name, states in mark.nonfinite.items():
            if name not in mark.samples or any(state not in range(planned.states) for state in states):
                raise MalformedError(
                    f"{completion.key_of(marks, group)} names states of {name} that do not exist"
                )
            nonfinite[rows[mark.samples.index(name)], list(states)] = True
    return complete, nonfinite
