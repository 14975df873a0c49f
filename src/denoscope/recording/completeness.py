"""How much of a recording is finished: all, unless its run was interrupted or continues."""

from __future__ import annotations

import numpy as np

from denoscope.foundation.errors import UserError
from denoscope.foundation.spelling import counted
from denoscope.recording.recording import Recording
from denoscope.storage.output_lock import how_to_finish
from denoscope.storage.watching.status import status


def check_finished(rec: Recording) -> None:
    """Refuse a recording that lacks samples."""
    if len(rec.finished) < len(rec.samples):
        raise UserError(f"{rec.location} is not finished; {how_to_finish(rec.attrs)}")


def finished_rows(rec: Recording) -> np.ndarray:
    """The rows of the finished samples.

    Raises: UserError if there are none.
    """
    if not len(rec.finished):
        raise UserError(f"{rec.location} holds no finished sample; {how_to_finish(rec.attrs)}")
    return rec.finished


def what_is_missing(rec: Recording) -> str:
    """How many samples are finished and how to get the others, in words; nothing if all are."""
    finished, count = len(rec.finished), len(rec.samples)
    if finished == count:
        return ""
    is_written = rec.path is not None and status(rec.path).is_written
    further = "it is still being written" if is_written else how_to_finish(rec.attrs)
    return f"{finished:,} of {counted(count, 'sample')} are finished; {further}"
