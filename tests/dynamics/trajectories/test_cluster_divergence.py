"""Separations by worker processes: those of one process."""

import shutil
from contextlib import nullcontext

import numpy as np
import pytest
from worker_faults import name_device_again, rename_device

import denoscope as ds
from denoscope.cli.command import main
from denoscope.cluster import connection


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """The path of a recording of two bases, each with two perturbed noises."""
    folder = tmp_path_factory.mktemp("run")
    path = folder / "run.zarr"
    for base_seed in (1, 2):
        ds.noise.perturbed(2, digits.shape, epsilon=0.5, base_seed=base_seed).write(folder / "noises")
    ds.record(
        digits,
        ds.noise.read(folder / "noises"),
        path,
        steps=3,
        layers=["conv_in", "mid_block"],
        extract_estimates=True,
    )
    return path


def test_divergence_by_workers_is_that_of_one_process(run, workers):
    alone = ds.dynamics.divergence(run)
    assert {"separation", "x_0_estimate separation", "mid_block cosine"} <= set(alone.data_vars)
    assert ds.dynamics.divergence(run, cluster=workers).identical(alone)
    chosen = {"layers": "conv_in", "threshold": 1.5}
    assert ds.dynamics.divergence(run, cluster=workers, **chosen).identical(
        ds.dynamics.divergence(run, **chosen)
    )


def test_workers_that_differ_are_refused(run, workers):
    first, _ = sorted(workers.nthreads())
    workers.run(rename_device, workers=[first])
    try:
        with pytest.raises(ds.UserError, match=r"differ \(device: .* of another kind"):
            ds.dynamics.divergence(run, cluster=workers)
        found = ds.dynamics.divergence(run, cluster=workers, allow_different_devices=True)
    finally:
        workers.run(name_device_again)
    assert found.identical(ds.dynamics.divergence(run))


def test_damage_that_a_worker_finds_is_named(run, workers, tmp_path):
    damaged = tmp_path / "run.zarr"
    shutil.copytree(run, damaged)
    chunk = max(
        (file for file in (damaged / "sequence").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size
    )
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ds.UserError, match="damaged"):
        ds.dynamics.divergence(damaged, cluster=workers)


def test_a_recording_in_memory_is_refused(digits, workers):
    x = ds.noise.perturbed(1, digits.shape, epsilon=0.5)
    with pytest.raises(ds.UserError, match="a recording in memory cannot be shared with workers"):
        ds.dynamics.divergence(ds.record(digits, x, steps=1), cluster=workers)


def test_the_command_takes_workers(run, workers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext(workers))
    main(f"dynamics divergence {run} --cluster local:2 --output shared.npz".split())
    main(f"dynamics divergence {run} --output alone.npz".split())
    with np.load("shared.npz") as shared, np.load("alone.npz") as alone:
        for name in alone.files:
            np.testing.assert_array_equal(shared[name], alone[name])
