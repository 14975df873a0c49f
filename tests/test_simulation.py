"""The sizes of the simulation are those of a real recording, and its times those of a queue in closed form."""

import math
import re

import pytest

import denoscope as ds
from benchmarks import simulation
from benchmarks.simulation import CASES, Array, Case, Options, Simulation
from denoscope.storage.zarr import layout

SLOW = Case("units of two seconds", steps=10, arrays=(Array("sequence", 11, 400),), call_ms=200, lanes=2)
FREE = {"unit_ms": 0, "store_mb": math.inf, "worker_mb": math.inf, "requests": math.inf, "request_ms": 0}
PLAIN = Options(samples=40, workers=4, deaths=0, jitter=0, **FREE)


def seconds(**changed):
    """The time of twenty units of SLOW on four workers, if nothing but what is given takes any."""
    return Simulation(SLOW, Options(**{**vars(PLAIN), **changed})).run().seconds


@pytest.mark.parametrize("shard_bytes", [layout.SHARD_BYTES, 6000])
def test_sizes_are_those_of_a_recording(tiny, tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr(layout, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(simulation, "SHARD_BYTES", shard_bytes)
    case = Case(
        "two layers",
        steps=5,
        arrays=(
            Array("sequence", 6, 2 * 8 * 8 * 4),
            Array("conv_in", 5, 8 * 8 * 8 * 4),
            Array("mid_block", 5, 16 * 4 * 4 * 4),
        ),
        call_ms=1,
        lanes=2,
    )
    x = ds.noise.random(6, tiny.shape, seed=0)
    ds.record(tiny, x, tmp_path / "run.zarr", steps=5, lanes=2, layers=["conv_in", "mid_block"])
    files = {file.relative_to(tmp_path / "run.zarr").as_posix(): file for file in tmp_path.rglob("*")}
    arrays = "|".join(("complete", "nonfinite", *(array.name for array in case.arrays)))
    chunks = [
        file for key, file in files.items() if re.match(rf"({arrays})/c/1(/|$)", key) and file.is_file()
    ]
    marks = [file for key, file in files.items() if re.fullmatch(r"complete/marks/\d+\.json", key)]
    assert case.group_objects == len(chunks) + 1 and len(marks) == 3
    assert case.group_bytes == sum(file.stat().st_size for file in chunks)
    assert case.mark_bytes == pytest.approx(marks[1].stat().st_size, rel=0.1)


def test_units_take_turns_on_the_workers():
    assert seconds() == pytest.approx(5 * 2)
    assert seconds(samples=41) == pytest.approx(6 * 2), "the last unit has one sample"
    assert seconds(request_ms=250) == pytest.approx(5 * (2 + 4 * 0.25)), (
        "two arrays of flags, a shard and a mark"
    )


def test_a_slow_process_that_hands_out_is_the_limit():
    assert seconds(unit_ms=3000) == pytest.approx(20 * 3 + 2)


def test_a_slow_store_is_the_limit():
    # The first four units arrive after two seconds, and the store is busy from then on.
    assert seconds(requests=1) == pytest.approx(2 + 20 * 4)
    found = simulation.shares(SLOW, Options(**{**vars(PLAIN), "requests": 1}))
    assert found["the store's requests/s"] == 2 and found["the store's MB/s"] == 0


def test_units_of_dead_workers_are_done_again():
    found = Simulation(SLOW, Options(**{**vars(PLAIN), "deaths": 600, "back": 5, "jitter": 0.1})).run()
    assert found.done == 20 and found.deaths > 0 and found.seconds > 10


@pytest.mark.parametrize("name", CASES)
def test_every_example_is_reported(name, capsys):
    simulation.main(Options(only=name, samples=8000))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("figures: unit_ms 5, ") and lines[2].startswith("8,000 samples of ")
    assert lines[-2].startswith("  first limit        the store's MB/s, at ")
