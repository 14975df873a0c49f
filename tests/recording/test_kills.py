"""Recordings whose process is killed, at random times and at every change of a file, then gone on with."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr

import denoscope as ds

COUNT, LANES, STEPS = 10, 4, 3
LAYERS = ("conv_in", "mid_block")
KILLS = 16  # at random times, for each format
FORMATS = ("zarr", "pt")


def place(folder: Path, format: str) -> Path:
    return folder / ("run.zarr" if format == "zarr" else "run")


@pytest.fixture(scope="module")
def arguments(model, tmp_path_factory):
    """The words of the command that records ten samples, but for the output."""
    inputs = tmp_path_factory.mktemp("inputs")
    ds.noise.random(COUNT, (1, 8, 8), seed=3).write(inputs)
    line = f"record --model {model} --inputs {inputs} --device cpu --lanes {LANES} --batch_size 4"
    return [*line.split(), "--num_steps", STEPS, "--layers", *LAYERS]


@pytest.fixture(scope="module")
def unbroken(arguments, recorder, tmp_path_factory):
    """Recordings that nothing interrupted, by format, with the seconds that each took."""
    folder, found = tmp_path_factory.mktemp("unbroken"), {}
    for format in FORMATS:
        seconds = []
        for again in range(2):
            began = time.perf_counter()
            done = recorder.run(*arguments, "--output", place(folder, format), *["--overwrite"] * again)
            seconds.append(time.perf_counter() - began)
            assert done.code == 0, done.said
        found[format] = place(folder, format), min(seconds)
    return found


@pytest.fixture(scope="module")
def truth(unbroken):
    """Every array of the unbroken store, read by plain zarr: [samples, …]."""
    group = zarr.open_group(unbroken["zarr"][0], mode="r")
    return {name: group[name][:] for name in ("sequence", *LAYERS)}


def complete_samples_are_right(path: Path, format: str, truth: dict[str, np.ndarray]) -> int:
    """Read with plain xarray or plain torch; how many samples are marked complete."""
    return (of_a_store if format == "zarr" else of_a_folder)(path, truth)


def of_a_store(path: Path, truth: dict[str, np.ndarray]) -> int:
    root = path / "zarr.json"
    if not root.exists() or "consolidated_metadata" not in json.loads(root.read_text()):
        assert not list(path.rglob("marks/[0-9]*.json")) and not list(path.glob("complete/c/*"))
        return 0
    data = xarray.open_zarr(path, chunks=None)
    complete = data["complete"].values
    for name, values in truth.items():
        found = data[name].values
        assert np.array_equal(found[complete], values[complete]), name
        assert (np.isnan(found) | (found == values)).all(), f"{name} holds what is neither NaN nor right"
    return int(complete.sum())


def of_a_folder(path: Path, truth: dict[str, np.ndarray]) -> int:
    names = [f"sample_{k:04d}" for k in range(COUNT)]
    marked = [
        name
        for mark in path.glob(".recording/[0-9]*.json")
        for name in json.loads(mark.read_text())["samples"]
    ]
    for array, values in truth.items():
        folder, kind = ("sequences", "sequence") if array == "sequence" else (array, "trajectory")
        for row, name in enumerate(names):
            file = path / folder / f"{name}_{kind}.pt"
            assert file.exists() or name not in marked
            if file.exists():
                assert torch.equal(torch.load(file, weights_only=True), torch.from_numpy(values[row])), file
    return len(marked)


def went_on(recorder, arguments, path: Path) -> None:
    done = recorder.run(*arguments, "--output", path, "--resume")
    assert done.code == 0, done.said


@pytest.mark.parametrize("format", FORMATS)
def test_random_kills_lose_no_finished_sample_and_leave_the_bytes_of_an_unbroken_run(
    arguments, unbroken, truth, recorder, contents, tmp_path, format
):
    whole, seconds = unbroken[format]
    rng, kills, runs, found = random.Random(f"{format} 1"), 0, 0, []
    while kills < KILLS or len(set(found)) < 2:
        assert runs < 4 * KILLS, f"all kills came at the same stage: {found}"
        path, former = place(tmp_path / str(runs), format), 0
        path.parent.mkdir()
        runs += 1
        for _ in range(4):
            running = recorder.start(*arguments, "--output", path, "--resume")
            time.sleep(rng.uniform(0, seconds))
            running.send(signal.SIGKILL)
            killed = running.wait() == -signal.SIGKILL
            kills += killed
            # The machine may be busier or idler than when it was timed: the times follow its pace.
            seconds *= 1.3 if killed else 0.7
            if path.exists():
                found.append(complete_samples_are_right(path, format, truth))
                assert found[-1] >= former, "a finished sample was lost"
                former = found[-1]
        went_on(recorder, arguments, path)
        assert contents(path) == contents(whole)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_file_event_of_a_run_costs_the_samples_in_flight_at_most(
    arguments, unbroken, truth, recorder, contents, tmp_path, format, stride
):
    event, found = 1, []
    while True:
        path = place(tmp_path / str(event), format)
        path.parent.mkdir()
        done = recorder.run(*arguments, "--output", path, dies_at=event)
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done.said
        if path.exists():
            found.append(complete_samples_are_right(path, format, truth))
        went_on(recorder, arguments, path)
        assert contents(path) == contents(unbroken[format][0]), event
        event += stride
    assert sorted(set(found)) == [0, 4, 8, 10] or stride > 1
    assert found == sorted(found) and event > 100


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stride", [29, pytest.param(2, marks=pytest.mark.slow)])
def test_a_kill_while_a_recording_is_replaced_leaves_the_former_one_or_the_new_one(
    arguments, unbroken, truth, recorder, contents, tmp_path, format, stride
):
    other = [*arguments, "--seed", "5", "--scheduler", "ddpm"]
    former = place(tmp_path, format)
    assert recorder.run(*other, "--output", former).code == 0
    group = zarr.open_group(place(tmp_path, "zarr"), mode="r") if format == "zarr" else None
    event, ends = 1, set()
    while True:
        path = place(tmp_path / str(event), format)
        shutil.copytree(former, path)
        done = recorder.run(*arguments, "--output", path, "--overwrite", dies_at=event)
        if done.code == 0:
            break
        if group is not None:
            ends.add(which_is_complete(path, {name: group[name][:] for name in truth}, truth))
        again = recorder.run(*arguments, "--output", path, "--overwrite")
        assert again.code == 0, again.said
        assert contents(path) == contents(unbroken[format][0]), event
        event += stride
    assert format == "pt" or ends == {"former", "nothing", "new"}


def which_is_complete(path: Path, former: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> str:
    """Whose samples a store says are complete; that they are right is checked."""
    if "consolidated_metadata" not in json.loads((path / "zarr.json").read_text()):
        return "nothing"
    which = "former" if xarray.open_zarr(path).attrs["scheduler"] == "DDPMScheduler" else "new"
    return which if of_a_store(path, former if which == "former" else new) else "nothing"
