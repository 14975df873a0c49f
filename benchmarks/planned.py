"""The memory of a process that plans many units of a recording and hands out the first ones: `python -m benchmarks.planned N`."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import denoscope as ds
from denoscope.cli.from_settings import IMPORTED
from denoscope.cluster.connection import connected
from denoscope.foundation import memory
from denoscope.foundation.threads import threads_set_to
from denoscope.recording.progress import NoProgress

if TYPE_CHECKING:
    from denoscope.storage.places import Place
    from denoscope.storage.plan import Plan

HANDED_OUT = 200
"""Units after which the run is interrupted."""


class Interrupting(NoProgress):
    """Counts planned and finished units, and presses Ctrl-C after some."""

    def __init__(self) -> None:
        self.planned = self.done = 0
        self.begun = 0.0

    def begin(self, plan: Plan, out: Place | None, finished: int) -> None:  # noqa: ARG002
        self.planned, self.begun = len(plan.groups), time.perf_counter()

    def unit_done(self, samples: int, seconds: float) -> None:  # noqa: ARG002
        self.done += 1
        if self.done == HANDED_OUT:
            os.kill(os.getpid(), signal.SIGINT)


def main(units: int) -> None:
    """Plan a recording whose units are one sample and one step each, hand out the first, and print what that took."""
    progress = Interrupting()
    with (
        threads_set_to(1),
        tempfile.TemporaryDirectory() as folder,
        connected("local:1", preload=IMPORTED) as client,
    ):
        denoiser = ds.load("digits", device="cpu")
        x, began = ds.noise.random(units, denoiser.shape, seed=0), time.perf_counter()
        out = Path(folder) / "run.zarr"
        try:
            ds.record(
                denoiser,
                x,
                out,
                steps=1,
                extract_states=False,
                lanes=1,
                batch_size=1,
                cluster=client,
                progress=progress,
            )
        except KeyboardInterrupt:
            if progress.done < HANDED_OUT:
                raise
        (worker_peak,) = client.run(memory.peak_bytes).values()
    found = {
        "planned": progress.planned,
        "done": progress.done,
        "seconds": progress.begun - began,
        "peak": memory.peak_bytes(),
        "worker_peak": worker_peak,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
