"""What the workers of a cluster see, and whether they compute the same bits."""

from contextlib import contextmanager

import pytest
from command_line import call, refuse
from worker_faults import name_device_again, rename_device, using_bucket

import denoscope as ds
from denoscope.cli.verbs.cluster import check
from denoscope.cluster import scheduler, worker
from denoscope.cluster.crew import versions
from denoscope.recording.verify import cluster
from denoscope.sampling.settings import Loop


@pytest.fixture
def checked(workers, model, monkeypatch, capsys):
    """The exit code and the lines of the command, for the workers of the tests."""

    @contextmanager
    def workers_of(_settings):
        yield workers

    def run(*words):
        monkeypatch.setattr(check, "workers_of", workers_of)
        code = 0
        try:
            call(f"cluster check --model {model} --device cpu --num_steps 2", *words)
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def different(workers):
    """The address of the second worker, which says that it computes on another device."""
    address = sorted(workers.nthreads())[1]
    workers.run(rename_device, workers=[address])
    yield address
    workers.run(name_device_again, workers=[address])


def test_equal_workers_are_listed_with_what_they_see(checked, workers, tmp_path):
    code, lines = checked("--output", tmp_path / "run.zarr")
    assert code == 0 and not list(tmp_path.iterdir())
    assert lines[0].startswith("2 workers; this process has python 3.")
    for address, line in zip(sorted(workers.nthreads()), lines[1:3], strict=True):
        assert line.startswith(f"  {address}: ") and "cpu " in line and line.endswith(" free, 1 thread")
    assert lines[3:] == [
        "  the scheduler: the same versions",
        f"all workers compute the same bits and write to {tmp_path / 'run.zarr'}",
    ]


def test_workers_that_write_to_a_bucket_are_said_to(checked, workers, s3):
    with using_bucket(workers, s3.environment):
        code, lines = checked("--output", "s3://bucket/run.zarr")
    assert code == 0 and not s3.contents()
    assert lines[-1] == "all workers compute the same bits and write to s3://bucket/run.zarr"


def test_bits_that_differ_are_named(checked, different):
    code, lines = checked()
    assert code == 1 and lines[-1] == "workers differ"
    assert lines[2].startswith(f"  {different}: ")
    assert lines[3].startswith("    device: cpu ") and lines[3].endswith("→ cpu of another kind")


def test_versions_that_differ_are_named_and_nothing_is_computed(checked, monkeypatch):
    monkeypatch.setattr(worker, "LIBRARIES", ("denoscope",))
    code, lines = checked()
    assert code == 1 and lines[-1] == "versions differ: no bits were compared"
    assert sum("torch: None → " in line for line in lines) == 2  # the scheduler runs in this process


def test_workers_that_do_not_see_the_store_are_named_also_one_that_joins_after_the_versions_are_compared(
    checked, workers, tmp_path, monkeypatch
):
    late = max(workers.nthreads())

    def earlier_versions(client):
        return {address: found for address, found in versions(client).items() if address != late}

    monkeypatch.setattr(cluster, "versions", earlier_versions)
    assert checked("--output", tmp_path / "run.zarr")[0] == 0
    monkeypatch.chdir(tmp_path)
    code, lines = checked("--output", "/proc/self/cwd/run.zarr")
    assert code == 1 and sum("cannot write into /proc/self/cwd" in line for line in lines) == 2
    place = next(index for index, line in enumerate(lines) if line.startswith(f"  {late}: "))
    assert "cannot write into /proc/self/cwd" in lines[place + 1]


def test_a_model_without_a_name_is_refused(tiny, workers):
    with pytest.raises(
        ds.UserError, match="UNet2DModel was built in Python, and workers load a model by its name"
    ):
        cluster.cluster(tiny, workers, Loop(steps=2))


def test_a_check_without_workers_is_refused(capsys):
    refuse(
        capsys,
        "cluster check --cluster None",
        "--cluster is None; allowed: local, local:N (N from 1 to 9999), tcp://HOST:PORT",
    )


def test_a_scheduler_that_nobody_runs_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(scheduler, "CONNECT_SECONDS", 0.1)
    refuse(
        capsys,
        "cluster check --cluster tcp://127.0.0.1:9",
        "--cluster: tcp://127.0.0.1:9 cannot be reached",
    )
