"""What a sheet computes, for whoever asks: the jobs behind each answer, and the thread that does them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from denoscope.explorer.job_queue import AT_ONCE, Job, JobQueue, Report, once
from denoscope.explorer.sheets.sample_sequence import sample_pair, sample_sequence
from denoscope.figures.sheets.sheet import Sheet
from denoscope.figures.sheets.sheet_labels import SheetLabels

LATER = AT_ONCE + 1
"""The rank of the labels of all samples."""


@dataclass(eq=False)
class SheetSession:
    """One run of an explorer of a recording. Its methods only queue work; one thread does it."""

    sheet: Sheet
    labels: SheetLabels
    colors: Sequence[str]
    """Colours of the classes, each `#rrggbb`."""
    jobs: JobQueue = field(default_factory=JobQueue)

    def describe(self, report: Report) -> Job:
        """Queue the description of the recording: everything that a page needs to show it."""
        return self.jobs.add(once(self._description), report)

    def images(self, rows: Sequence[int], report: Report) -> Job:
        """Queue the final images of samples."""
        return self.jobs.add(once(lambda: self.sheet.images(rows)), report)

    def label_all(self, report: Report) -> Job:
        """Queue the labels of all samples."""
        return self.jobs.add(self.labels.all, report, rank=LATER)

    def sample(self, name: str, layers: Sequence[str], report: Report) -> Job:
        """Queue the sequence of a sample."""
        return self.jobs.add(lambda: sample_sequence(self.sheet, self.labels, name, layers), report)

    def pair(self, names: tuple[str, str], layers: Sequence[str], report: Report) -> Job:
        """Queue the comparison of two samples."""
        return self.jobs.add(lambda: sample_pair(self.sheet, self.labels, names, layers), report)

    def close(self) -> None:
        """End the thread."""
        self.jobs.stop()

    def _description(self) -> dict[str, Any]:
        return {**self.sheet.description(), "colors": list(self.colors)}
