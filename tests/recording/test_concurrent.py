"""Several processes use one recording: one writes, and readers never see wrong values."""

import math

import numpy as np
import pytest
import xarray
from outputs import OUTPUTS, SAMPLED_OUTPUTS
from ten_samples import COUNT, FIRST_CALL, LANES, LAYERS, STEPS

import denoscope as ds

ARRAYS = ("sequence", *LAYERS)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_second_writer_is_refused_in_one_line_and_the_first_finishes(
    arguments, unbroken, recorder, contents, tmp_path, out
):
    first = recorder.start(*arguments, "--output", tmp_path / out, holds_at=[FIRST_CALL + 2])
    first.until(f"call {FIRST_CALL + 2}\n")
    for flag in ("--resume", "--overwrite", None):
        second = recorder.run(*arguments, "--output", tmp_path / out, *([flag] if flag else []))
        assert second.code == 2
        (line,) = second.output.splitlines()
        assert line.startswith("error: ") and str(tmp_path / out) in line
        assert "is being written by another process" in line if flag else "already holds a recording" in line
    first.release()
    assert first.wait() == 0
    assert contents(tmp_path / out) == contents(unbroken / out)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
@pytest.mark.parametrize("flag", ["--resume", "--overwrite", None])
def test_of_writers_that_start_together_one_writes_and_none_undoes_its_work(
    arguments, unbroken, recorder, contents, tmp_path, out, flag
):
    flags = [flag] if flag else []
    runs = [recorder.start(*arguments, "--output", tmp_path / out, *flags) for _ in range(2)]
    codes = sorted(run.wait() for run in runs)
    assert 0 in codes and set(codes) <= {0, 2}, [run.output for run in runs]
    assert flag or codes == [0, 2]
    assert contents(tmp_path / out) == contents(unbroken / out)


def complete_samples(data: xarray.Dataset, right: xarray.Dataset) -> int:
    """Check the values that a reader sees; returns the number of complete samples."""
    complete = data["complete"].values
    for name in ARRAYS:
        found, values = data[name].values, right[name].values
        assert np.array_equal(found[complete], values[complete]), name
        assert (np.isnan(found) | (found == values)).all(), name
    return int(complete.sum())


@pytest.mark.parametrize("out", OUTPUTS)
def test_readers_during_writing_see_right_values_or_nan_and_only_finished_samples_as_complete(
    arguments, unbroken, recorder, contents, tmp_path, out
):
    right = ds.open(unbroken / out).dataset.load()
    groups = range(math.ceil(COUNT / LANES))
    holds = [FIRST_CALL + STEPS * group + 1 for group in groups]  # in the second step of each group
    running = recorder.start(*arguments, "--output", tmp_path / out, holds_at=holds)
    running.until(f"call {holds[0]}\n")
    early = ds.open(tmp_path / out).dataset
    counts, of_plain = [], []

    def look() -> None:
        """Also by plain xarray, which reads flags that are written a moment before the marks."""
        counts.append(complete_samples(ds.open(tmp_path / out).dataset, right))
        if out.endswith(".zarr"):
            of_plain.append(complete_samples(xarray.open_zarr(tmp_path / out, chunks=None), right))

    for group, call in zip(groups, holds, strict=True):
        while f"call {call}\n" not in running.output:
            look()  # while it writes
        look()
        assert {counts[-1], *of_plain[-1:]} == {group * LANES}, "while it holds"
        running.release()
    assert running.wait() == 0
    assert counts == sorted(counts) and of_plain == sorted(of_plain)
    for name in ARRAYS:
        assert np.array_equal(early[name].values, right[name].values), "opened before any sample was finished"
    assert complete_samples(ds.open(tmp_path / out).dataset, right) == COUNT
    assert contents(tmp_path / out) == contents(unbroken / out), "the readers disturbed nothing"
