"""Measure ways in processes of their own, interleaved, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import clock
from benchmarks.ways import Outcome, Work

ROOT = Path(__file__).parents[1]
# A first call of the network with all its rows is where denoising begins; before it, layers are surveyed.
FIRST_CALL = """
import sys, time, torch
def heard(module, inputs):
    if type(module).__name__ == "UNet2DModel" and len(inputs[0]) == 8:
        print(time.time()); sys.stdout.flush(); import os; os._exit(0)
torch.nn.modules.module.register_module_forward_pre_hook(heard)
from denoscope.cli import main
main(sys.argv[1:])
"""


def once(way: str, work: Work) -> Outcome:
    """One run of a way, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=work.out) as folder:
        own = json.dumps(asdict(replace(work, out=folder)))
        done = run([sys.executable, "-m", "benchmarks.ways", way, own])
    return Outcome(**json.loads(done.splitlines()[-1]))


def interleaved(ways: Sequence[str], work: Work, repeats: int) -> dict[str, Outcome]:
    """The median of each way over rounds in which each runs once."""
    rounds: dict[str, list[Outcome]] = {way: [] for way in ways}
    for number in range(repeats):
        for way in ways:
            rounds[way].append(once(way, work))
            print(f"round {number + 1}/{repeats}: {way} {rounds[way][-1].seconds:.2f} s", file=sys.stderr)
    return {way: _median(outcomes) for way, outcomes in rounds.items()}


def seconds_to_help(repeats: int) -> float:
    """The median time of `denoscope --help`."""
    work = partial(run, [sys.executable, "-m", "denoscope", "--help"])
    return median(clock.seconds(work) for _ in range(repeats))


def seconds_to_first_call(repeats: int) -> float:
    """The median time from `denoscope record` to the first call of the network."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        run([sys.executable, "-m", "denoscope", "noise", "random", "--num_samples", "8"], here)
        times = []
        for number in range(repeats):
            began = time.time()
            called = run([sys.executable, "-c", FIRST_CALL, "record", "--output", f"{number}.zarr"], here)
            times.append(float(called.splitlines()[-1]) - began)
    return median(times)


def run(program: Sequence[str], here: Path = ROOT) -> str:
    """What a program prints that runs in a process of its own.

    Raises: SystemExit with the end of its error output if it fails.
    """
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(program, cwd=here, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(program[:4])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _median(outcomes: Sequence[Outcome]) -> Outcome:
    notes = {name: median(outcome.notes[name] for outcome in outcomes) for name in outcomes[0].notes}
    return Outcome(
        seconds=median(outcome.seconds for outcome in outcomes),
        bytes=outcomes[0].bytes,
        peak=int(median(outcome.peak for outcome in outcomes)),
        notes=notes,
    )
