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
from outputs import OUTPUTS, SAMPLED_OUTPUTS
from ten_samples import COUNT, LATE, LAYERS

import denoscope as ds

LENGTH = 4
"""How often a recording is killed before it may end."""


@pytest.fixture(scope="module")
def truth(unbroken):
    """Every array of the unbroken store, read by plain zarr: [samples, …]."""
    group = zarr.open_group(unbroken / "run.zarr", mode="r")
    return {name: group[name][:] for name in ("sequence", *LAYERS)}


def complete_samples(path: Path, truth: dict[str, np.ndarray]) -> int:
    """Check with plain xarray or plain torch that complete samples are right; returns how many have a mark.

    A sample is finished once its mark is there; `complete` may be set a moment earlier.
    """
    return (of_store if path.suffix == ".zarr" else of_folder)(path, truth)


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
    assert done.code == 0, done.output


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("chains", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_kills_in_a_row_lose_no_finished_sample_and_leave_the_bytes_of_an_unbroken_run(
    arguments, counted, truth, recorder, contents, tmp_path, out, chains
):
    unbroken, file_events = counted[out]
    # With this seed the kills hit different stages; with others all may come before the first or after the last mark.
    rng, found = random.Random(f"{out} 3"), []
    for chain in range(chains):
        path, former = tmp_path / str(chain) / out, 0
        path.parent.mkdir()
        for kill in range(LENGTH):
            # Each of the first kills falls in its own quarter of a run, so that they hit different stages.
            event = 1 + int((kill + rng.random()) / LENGTH * file_events)
            killed = recorder.run(*arguments, "--output", path, "--resume", dies_at=event)
            assert killed.code in (0, -signal.SIGKILL), killed.output
            if path.exists():
                found.append(complete_samples(path, truth))
                assert found[-1] >= former, "a finished sample was lost"
                former = found[-1]
        resume(recorder, arguments, path)
        assert contents(path) == contents(unbroken)
    assert len(set(found)) > 2, "the kills came at different stages"


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
@pytest.mark.parametrize("kills", [1, pytest.param(LATE, marks=pytest.mark.slow)])
def test_a_kill_at_any_file_event_costs_at_most_the_samples_in_flight(
    arguments, counted, truth, recorder, contents, tmp_path, out, kills
):
    (unbroken, file_events), found = counted[out], []
    for event in spread(kills, file_events):
        path = tmp_path / str(event) / out
        path.parent.mkdir()
        done = recorder.run(*arguments, "--output", path, dies_at=event)
        assert done.code == -signal.SIGKILL, done.output
        if path.exists():
            found.append(complete_samples(path, truth))
        resume(recorder, arguments, path)
        assert contents(path) == contents(unbroken), event
        shutil.rmtree(path.parent)
    assert set(found) == {0, 4, 8, 10} or kills < LATE
    assert found == sorted(found) and file_events > 100


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
@pytest.mark.parametrize("kills", [2, pytest.param(150, marks=pytest.mark.slow)])
def test_a_kill_during_a_replacement_leaves_the_former_recording_or_the_new_one(
    arguments, small_model, unbroken, recorder, contents, tmp_path, out, kills
):
    former = tmp_path / out
    denoiser = ds.load(small_model, scheduler="ddpm", device="cpu")
    ds.record(denoiser, ds.noise.random(COUNT, denoiser.shape, seed=5), former, steps=2, layers=LAYERS)
    replaced = tmp_path / "replaced" / out
    shutil.copytree(former, replaced)
    events = recorder.run(*arguments, "--output", replaced, "--overwrite", dies_at=LATE).file_events
    ends = set()
    for event in spread(kills, events):
        path = tmp_path / str(event) / out
        shutil.copytree(former, path)
        done = recorder.run(*arguments, "--output", path, "--overwrite", dies_at=event)
        assert done.code == -signal.SIGKILL, done.output
        ends.add("former" if reads_as(path, former) else "new" if reads_as(path, unbroken / out) else "other")
        again = recorder.run(*arguments, "--output", path, "--overwrite")
        assert again.code == 0, again.output
        assert contents(path) == contents(unbroken / out), event
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
