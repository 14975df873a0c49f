"""Several processes at one recording: one writer, and readers that never see what is wrong."""

import threading
import time

import numpy as np
import pytest
import xarray

import denoscope as ds

COUNT, STEPS = 24, 4
OUTPUTS = ["run.zarr", "run"]
ARRAYS = ("sequence", "conv_in")


@pytest.fixture(scope="module")
def arguments(model, tmp_path_factory):
    inputs = tmp_path_factory.mktemp("inputs")
    ds.noise.random(COUNT, (1, 8, 8), seed=3).write(inputs)
    line = f"record --model {model} --inputs {inputs} --device cpu --lanes 4 --batch_size 4"
    return [*line.split(), "--num_steps", STEPS, "--layers", "conv_in"]


@pytest.fixture(scope="module")
def unbroken(arguments, recorder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    for out in OUTPUTS:
        assert recorder.run(*arguments, "--output", folder / out).code == 0
    return folder


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("flag", ["--resume", "--overwrite", None])
def test_a_second_writer_is_refused_in_one_line_and_the_first_one_ends_well(
    arguments, unbroken, recorder, contents, tmp_path, out, flag
):
    flags = [flag] if flag else []
    first = recorder.start(*arguments, "--output", tmp_path / out, pause=0.05)
    first.until("call 6\n")
    second = recorder.run(*arguments, "--output", tmp_path / out, *flags)
    assert second.code == 2
    (line,) = second.said.splitlines()
    assert line.startswith("error: ") and str(tmp_path / out) in line
    assert "is being written by another process" in line if flag else "already holds a recording" in line
    assert first.wait() == 0
    assert contents(tmp_path / out) == contents(unbroken / out)


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("flag", ["--resume", "--overwrite", None])
def test_of_writers_that_start_together_one_writes_and_none_undoes_its_work(
    arguments, unbroken, recorder, contents, tmp_path, out, flag
):
    flags = [flag] if flag else []
    runs = [recorder.start(*arguments, "--output", tmp_path / out, *flags) for _ in range(4)]
    codes = sorted(run.wait() for run in runs)
    assert 0 in codes and set(codes) <= {0, 2}, [run.said for run in runs]
    assert flag or codes == [0, 2, 2, 2]
    assert contents(tmp_path / out) == contents(unbroken / out)


@pytest.mark.parametrize("out", OUTPUTS)
def test_the_place_is_free_again_when_a_writer_is_gone(arguments, recorder, tmp_path, out):
    first = recorder.start(*arguments, "--output", tmp_path / out, pause=0.05)
    first.until("call 5\n")
    first.send(9)
    first.wait()
    assert recorder.run(*arguments, "--output", tmp_path / out, "--resume").code == 0


def seen_right(data: xarray.Dataset, right: xarray.Dataset) -> int:
    """Check what a reader sees; how many samples are complete."""
    complete = data["complete"].values
    for name in ARRAYS:
        found, values = data[name].values, right[name].values
        assert np.array_equal(found[complete], values[complete]), name
        assert (np.isnan(found) | (found == values)).all(), name
    return int(complete.sum())


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_reader_during_writing_sees_right_values_or_nan_and_complete_never_lies(
    arguments, unbroken, recorder, tmp_path, out
):
    right = ds.open(unbroken / out).dataset.load()
    running = recorder.start(*arguments, "--output", tmp_path / out, pause=0.03)
    running.until("call 4\n")
    finished, ended = [], threading.Event()
    waiting = threading.Thread(target=lambda: (running.wait(), ended.set()))
    waiting.start()
    kept = ds.open(tmp_path / out).dataset
    while not ended.is_set():
        data = (
            xarray.open_zarr(tmp_path / out, chunks=None)
            if out.endswith(".zarr")
            else ds.open(tmp_path / out).dataset
        )
        finished.append(seen_right(data, right))
        time.sleep(0.005)
    waiting.join()
    assert running.code == 0 and finished == sorted(finished)
    assert len(set(finished)) > 2, f"the reader saw no progress: {finished}"
    for name in ARRAYS:
        # Opened before the first sample was finished, a dataset reads on.
        assert np.array_equal(kept[name].values, right[name].values)
    assert seen_right(ds.open(tmp_path / out).dataset, right) == COUNT


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_reader_never_holds_a_writer_up(arguments, unbroken, recorder, contents, tmp_path, out):
    first = recorder.start(*arguments, "--output", tmp_path / out, pause=0.02)
    first.until("call 9\n")
    kept = ds.open(tmp_path / out)
    assert kept.sequence.values.shape[0] == COUNT
    assert first.wait() == 0
    assert contents(tmp_path / out) == contents(unbroken / out)
