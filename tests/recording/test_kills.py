"""Recordings whose process is killed, at any file event and again and again, then resumed."""

import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr

import denoscope as ds

COUNT, LANES, STEPS = 10, 4, 3
LAYERS = ("conv_in", "mid_block")
LENGTH = 4
"""How often a recording is killed before it may end."""
LATE = 10**6
"""A later file event than any recording has."""
FORMATS = ("zarr", "pt")
SAMPLED_FORMATS = ["zarr", pytest.param("pt", marks=pytest.mark.slow)]
"""One format by default; both in the slow tests."""


def output(folder: Path, format: str) -> Path:
    return folder / ("run.zarr" if format == "zarr" else "run")


@pytest.fixture(scope="module")
def arguments(model, tmp_path_factory):
    """The words of the command that records ten samples, except the output."""
    inputs = tmp_path_factory.mktemp("inputs")
    ds.noise.random(COUNT, (1, 8, 8), seed=3).write(inputs)
    line = f"record --model {model} --inputs {inputs} --device cpu --lanes {LANES} --batch_size {LANES}"
    return [*line.split(), "--num_steps", STEPS, "--layers", *LAYERS]


@pytest.fixture(scope="module")
def unbroken(arguments, recorder, tmp_path_factory):
    """The uninterrupted recording, by format."""
    folder = tmp_path_factory.mktemp("unbroken")
    for format in FORMATS:
        done = recorder.run(*arguments, "--output", output(folder, format))
        assert done.code == 0, done.said
    return {format: output(folder, format) for format in FORMATS}


@pytest.fixture(scope="module")
def file_events(arguments, recorder, tmp_path_factory):
    """The number of file events of an uninterrupted recording, by format."""
    folder = tmp_path_factory.mktemp("counted")
    return {
        format: recorder.run(*arguments, "--output", output(folder, format), dies_at=LATE).file_events
        for format in FORMATS
    }


@pytest.fixture(scope="module")
def truth(unbroken):
    """Every array of the unbroken store, read by plain zarr: [samples, …]."""
    group = zarr.open_group(unbroken["zarr"], mode="r")
    return {name: group[name][:] for name in ("sequence", *LAYERS)}


def complete_samples(path: Path, format: str, truth: dict[str, np.ndarray]) -> int:
    """Check with plain xarray or plain torch that complete samples are right; returns how many have a mark.

    A sample is finished once its mark is there; `complete` may be set a moment earlier.
    """
    return (of_store if format == "zarr" else of_folder)(path, truth)


def of_store(path: Path, truth: dict[str, np.ndarray]) -> int:
    root = path / "zarr.json"
    if not root.exists() or "consolidated_metadata" not in json.loads(root.read_text()):
        assert not list(path.rglob("marks/[0-9]*.json")) and not list(path.glob("complete/c/*"))
        return 0
    data = xarray.open_zarr(path, chunks=None)
    complete = data["complete"].values
    for name, values in truth.items():
        found = data[name].values
        assert np.array_equal(found[complete], values[complete]), name
        assert (np.isnan(found) | (found == values)).all(), (
            f"{name} holds values that are neither NaN nor right"
        )
    marked = sum(len(json.loads(mark.read_text())["samples"]) for mark in path.rglob("marks/[0-9]*.json"))
    assert complete[:marked].all()
    return marked


def of_folder(path: Path, truth: dict[str, np.ndarray]) -> int:
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


def resume(recorder, arguments, path: Path) -> None:
    done = recorder.run(*arguments, "--output", path, "--resume")
    assert done.code == 0, done.said


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("chains", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_kills_in_a_row_lose_no_finished_sample_and_leave_the_bytes_of_an_unbroken_run(
    arguments, unbroken, truth, file_events, recorder, contents, tmp_path, format, chains
):
    rng, found = random.Random(f"{format} 1"), []
    for chain in range(chains):
        path, former = output(tmp_path / str(chain), format), 0
        path.parent.mkdir()
        for kill in range(LENGTH):
            # Each of the first kills falls in its own quarter of a run, so that they hit different stages.
            event = 1 + int((kill + rng.random()) / LENGTH * file_events[format])
            killed = recorder.run(*arguments, "--output", path, "--resume", dies_at=event)
            assert killed.code in (0, -signal.SIGKILL), killed.said
            if path.exists():
                found.append(complete_samples(path, format, truth))
                assert found[-1] >= former, "a finished sample was lost"
                former = found[-1]
        resume(recorder, arguments, path)
        assert contents(path) == contents(unbroken[format])
    assert len(set(found)) > 2, "the kills came at different stages"


@pytest.mark.parametrize("format", SAMPLED_FORMATS)
@pytest.mark.parametrize("kills", [3, pytest.param(LATE, marks=pytest.mark.slow)])
def test_a_kill_at_any_file_event_costs_at_most_the_samples_in_flight(
    arguments, unbroken, truth, file_events, recorder, contents, tmp_path, format, kills
):
    found = []
    for event in spread(kills, file_events[format]):
        path = output(tmp_path / str(event), format)
        path.parent.mkdir()
        done = recorder.run(*arguments, "--output", path, dies_at=event)
        assert done.code == -signal.SIGKILL, done.said
        if path.exists():
            found.append(complete_samples(path, format, truth))
        resume(recorder, arguments, path)
        assert contents(path) == contents(unbroken[format]), event
        shutil.rmtree(path.parent)
    assert set(found) == {0, 4, 8, 10} or kills < LATE
    assert found == sorted(found) and file_events[format] > 100


@pytest.mark.parametrize("format", SAMPLED_FORMATS)
@pytest.mark.parametrize("kills", [2, pytest.param(150, marks=pytest.mark.slow)])
def test_a_kill_during_a_replacement_leaves_the_former_recording_or_the_new_one(
    arguments, unbroken, recorder, contents, tmp_path, format, kills
):
    former = output(tmp_path, format)
    done = recorder.run(*arguments, "--seed", "5", "--scheduler", "ddpm", "--output", former)
    assert done.code == 0, done.said
    replaced = output(tmp_path / "counted", format)
    shutil.copytree(former, replaced)
    counted = recorder.run(*arguments, "--output", replaced, "--overwrite", dies_at=LATE)
    ends = set()
    for event in spread(kills, counted.file_events):
        path = output(tmp_path / str(event), format)
        shutil.copytree(former, path)
        done = recorder.run(*arguments, "--output", path, "--overwrite", dies_at=event)
        assert done.code == -signal.SIGKILL, done.said
        ends.add(
            "former" if reads_as(path, former) else "new" if reads_as(path, unbroken[format]) else "other"
        )
        again = recorder.run(*arguments, "--output", path, "--overwrite")
        assert again.code == 0, again.said
        assert contents(path) == contents(unbroken[format]), event
        assert list(path.parent.iterdir()) == [path], "nothing else is left"
        shutil.rmtree(path.parent)
    assert ends == {"former", "new"}


def spread(count: int, events: int) -> list[int]:
    """Numbers of file events, spread from the first to the last; all if there are no more."""
    return sorted({1 + round(k) for k in np.linspace(0, events - 1, min(count, events))})


def reads_as(path: Path, right: Path) -> bool:
    """Whether a recording is finished and has the samples and the values of another one."""
    found, wanted = ds.open(path).dataset, ds.open(right).dataset
    return bool(found["complete"].all()) and found.drop_attrs().identical(wanted.drop_attrs())
