"""The images of a recording: its final images, their classes, and some sequences."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from denoscope.figures.images import evenly, strip_labels
from denoscope.figures.reports.numbers import MOST_LINES, Cell, Table, number, shortened
from denoscope.figures.reports.picture import Picture, picture_of
from denoscope.figures.shades import shaded
from denoscope.figures.sheets.sheet import Sheet
from denoscope.figures.sheets.sheet_labels import CLASS_LABEL, Answer, SheetLabels
from denoscope.foundation.spelling import counted
from denoscope.recording.predictions import PREDICTIONS
from denoscope.recording.recording import Recording
from denoscope.storage import inspection
from denoscope.storage.places import store_at

MOST_IMAGES, MOST_BYTES = 1000, 2**28
"""Samples that are shown, and bytes that are read for them."""
SHEET_BYTES, STRIP_BYTES = 3 * 2**20, 2**18
"""Bytes of the pixels of the contact sheet, and of the sequences; larger images are reduced."""
STRIPS, STATES, MOST_COLUMNS = 4, 10, 20
"""Sequences that are shown, states of each, and columns of the contact sheet."""
LISTED = 64
"""Up to how many samples a caption lists the classes, and a notice the names."""


@dataclass(frozen=True)
class RecordedImages:
    """What a page shows of the images of a recording.

    `checked` says which checksums were compared, and `damage` what is wrong, a line for each problem.
    """

    pictures: tuple[Picture, ...]
    classes: Table | None
    checked: str
    damage: tuple[str, ...]
    notices: tuple[str, ...]


def recorded_images(rec: Recording) -> RecordedImages:
    """The images of the first finished samples, without those whose files are damaged."""
    shown = Sheet(rec, rec.location)
    chosen = shown.rows[: _most(rec)]
    array = "sequence" if "sequence" in rec.dataset else "final"
    damage = _damage(rec, array, chosen)
    lanes = rec.attrs["fingerprint"]["lanes"]
    whole = [row for row in chosen if row // lanes not in damage]
    finals, unreadable = shown.finals(whole)
    labels = SheetLabels(shown)
    answers = dict(zip(finals, _answers(labels, list(finals)), strict=True))
    pictures = [_contact_sheet(shown, finals, answers)] if finals else []
    if array == "sequence":
        pictures += [_sequences(shown, dict(list(answers.items())[:STRIPS]))] if answers else []
    return RecordedImages(
        tuple(pictures),
        _classes(labels, answers),
        _checked(rec, array, len(chosen)),
        (*(line for lines in damage.values() for line in lines), *unreadable.values()),
        tuple(_notices(shown, chosen, finals)),
    )


def _most(rec: Recording) -> int:
    """How many samples are shown: fewer if the arrays that are read for them are large."""
    array = rec.dataset["sequence" if "sequence" in rec.dataset else "final"]
    size = math.prod(array.shape[1:]) * array.dtype.itemsize
    return min(MOST_IMAGES, max(MOST_BYTES // max(size, 1), 1))


def _damage(rec: Recording, array: str, rows: Sequence[int]) -> dict[int, list[str]]:
    """What is wrong with the files of some samples, by group."""
    if rec.path is None:
        return {}
    lanes = rec.attrs["fingerprint"]["lanes"]
    return inspection.damage_in(store_at(rec.path), [array], {row // lanes for row in rows})


def _checked(rec: Recording, array: str, count: int) -> str:
    """Which checksums were compared, in words."""
    if rec.path is None:
        return "none: the recording is in memory"
    read = f"{array} of {counted(count, 'sample')}"
    return f"those of the description, of the coordinates and of {read}; denoscope verify store compares all"


def _contact_sheet(shown: Sheet, finals: dict[int, np.ndarray], answers: dict[int, Answer]) -> Picture:
    """The final images, row by row."""
    rows, names = list(finals), shown.recording.samples
    columns = min(MOST_COLUMNS, max(8, math.ceil(math.sqrt(len(rows)))), len(rows))
    pixels = [shaded(image, len(rows), most=SHEET_BYTES)[0] for image in finals.values()]
    alternative = f"Contact sheet of {counted(len(rows), 'final image')}"
    caption = (
        f"{counted(len(rows), 'final image')}, {columns} a row, from {names[rows[0]]} to {names[rows[-1]]}."
    )
    labels = [answers[row][0] for row in rows]
    if len(rows) <= LISTED and None not in labels:
        caption += f" Classes in this order: {' '.join(map(str, labels))}."
    return picture_of(pixels, columns, alternative, shortened(caption))


def _sequences(shown: Sheet, answers: dict[int, Answer]) -> Picture:
    """Some states of some samples, a sample a row, from x_T to x_0."""
    chosen = evenly(shown.recording.dataset.sizes["state"], STATES)
    pixels, names = [], []
    for row, (label, confidence) in answers.items():
        states = shown.states(row)
        pixels += [shaded(states[k].to_numpy(), STATES * STRIPS, most=STRIP_BYTES)[0] for k in chosen]
        certainty = "" if confidence is None else f", confidence {confidence:.2f}"
        names.append(shown.recording.samples[row] + ("" if label is None else f" (class {label}{certainty})"))
    steps = ", ".join(strip_labels(chosen))
    sequences = counted(len(answers), "sequence")
    caption = f"{sequences}, one a row. Columns: the states after so many denoising steps: {steps}. Rows: {', '.join(names)}."
    return picture_of(pixels, len(chosen), f"{sequences} from noise to image", shortened(caption))


def _answers(labels: SheetLabels, rows: Sequence[int]) -> list[Answer]:
    """The label of each sample, as many at a time as are read together."""
    together = labels.sheet.together
    return [
        answer
        for start in range(0, len(rows), together)
        for answer in labels.of(list(rows[start : start + together]))
    ]


def _classes(labels: SheetLabels, answers: dict[int, Answer]) -> Table | None:
    """How many samples have each class; of all finished samples where the classes are stored."""
    stored = labels.source in (PREDICTIONS, CLASS_LABEL)
    found = _answers(labels, labels.sheet.rows) if stored else answers.values()
    counts = collections.Counter(label for label, _ in found if label is not None)
    if not counts:
        return None
    total = sum(counts.values())
    samples = counted(len(labels.sheet.recording.samples), "sample")
    first = f", the {MOST_LINES} most frequent of {len(counts):,}" if len(counts) > MOST_LINES else ""
    caption = f"Classes of {total:,} of {samples}, by {labels.source}{first}"
    return Table(
        caption,
        ("class", "samples", "share"),
        tuple(
            (Cell(number(label)), Cell(number(count)), Cell(number(f"{count / total:.1%}")))
            for label, count in sorted(counts.most_common(MOST_LINES))
        ),
    )


def _notices(shown: Sheet, chosen: Sequence[int], finals: Iterable[int]) -> Iterable[str]:
    """Sentences about samples that are left out, or not finite."""
    rec, missing = shown.recording, len(chosen) - len(list(finals))
    samples = rec.samples
    if missing:
        yield f"{counted(missing, 'sample')} left out, because files that hold them are damaged."
    if len(chosen) < len(shown.rows):
        yield f"Images of the first {len(chosen):,} of {len(shown.rows):,} finished samples; the others are left out."
    bad = np.flatnonzero(rec.dataset["nonfinite"].to_numpy().any(1))
    if len(bad):
        names = ", ".join(samples[row] for row in bad[:4])
        yield f"NaN or Inf in {counted(len(bad), 'sample')}: {names}{', …' if len(bad) > 4 else ''}."
