"""Patching by worker processes: the map of one process, whatever happens to the workers."""

from contextlib import nullcontext

import numpy as np
import pytest
from worker_faults import killing, name_device_again, rename_device

import denoscope as ds
from denoscope.cli.command import main
from denoscope.cluster import connection
from denoscope.foundation.threads import threads_set_to


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with threads_set_to(1):
        yield


@pytest.fixture(scope="module")
def pair(digits, tmp_path_factory):
    """The paths of two recordings."""
    folder = tmp_path_factory.mktemp("pair")
    for name, seed in (("a", 1), ("b", 2)):
        x = ds.noise.random(3, digits.shape, seed=seed)
        ds.record(digits, x, folder / f"{name}.zarr", steps=2, layers=["conv_in", "mid_block"])
    return folder / "a.zarr", folder / "b.zarr"


@pytest.fixture(scope="module")
def alone(digits, pair):
    return ds.patch(digits, *pair)


def test_cells_of_killed_workers_are_computed_by_others(digits, pair, alone, workers, tmp_path):
    assert (alone["moved"] != 0).all()
    with killing(workers, tmp_path / "calls", {5}) as calls:
        found = ds.patch(digits, *pair, batch_size=2, cluster=workers)
        assert calls() > 6
    assert found.identical(alone)


def test_an_interrupted_map_is_continued_by_workers(digits, pair, alone, workers, tmp_path):
    out, seen = tmp_path / "patch.npz", []

    def stop(finished, total):
        seen.append((finished, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.patch(digits, *pair, checkpoint=ds.Checkpoint(out, progress=stop))
    resumed = ds.Checkpoint(out, resume=True, progress=lambda *counts: seen.append(counts))
    assert ds.patch(digits, *pair, checkpoint=resumed, cluster=workers).equals(alone)
    assert seen == [(6, 12), (12, 12)]


def test_the_map_names_the_device_of_its_workers(digits, pair, workers):
    workers.run(rename_device)
    try:
        found = ds.patch(digits, *pair, steps=1, layers="mid_block", cluster=workers)
    finally:
        workers.run(name_device_again)
    assert found.attrs["identity"]["device"] == "cpu of another kind"


def test_what_workers_cannot_read_is_refused(digits, pair, workers):
    in_memory = ds.record(digits, ds.noise.random(3, digits.shape, seed=1), steps=2, layers=["conv_in"])
    with pytest.raises(ds.UserError, match="a recording in memory cannot be shared with workers"):
        ds.patch(digits, in_memory, pair[1], layers="conv_in", cluster=workers)


def test_the_command_takes_workers(pair, alone, workers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext(workers))
    with killing(workers, tmp_path / "calls") as calls:
        main(f"patch {pair[0]} {pair[1]} --device cpu --cluster local:2 --output patch.npz".split())
        assert calls() > 6
    with np.load("patch.npz") as found:
        np.testing.assert_array_equal(found["moved"], alone["moved"])
