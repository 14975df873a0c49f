"""Opening of the recordings that measures of trajectories read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from denoscope.recording.recording import Recording


def open_with_sequences(path: Path) -> Recording:
    """The recording at a path.

    Raises: UserError if it is unfinished, or its sequences are missing or damaged.
    """
    from denoscope.recording import completeness, opening

    rec = opening.open(path)
    completeness.check_finished(rec)
    rec.check("sequence")
    return rec
