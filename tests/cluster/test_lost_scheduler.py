"""A scheduler that dies while its workers compute: one line says so, and what is finished is kept."""

import re
import subprocess
import sys
import time

import pytest
from cluster_recipes import Told
from command_line import call
from dask_processes import dask_processes

import denoscope as ds
from denoscope.cluster.connection import connected
from denoscope.cluster.crew import crew
from denoscope.cluster.hand_out import HandOut
from denoscope.cluster.lost_scheduler import is_lost, lost_reported
from denoscope.cluster.unit import Done, Unit

GONE = "is gone: it has ended, or the network to it has failed; "


@pytest.fixture
def started(tmp_path_factory, monkeypatch):
    """A scheduler that a test kills, with a worker that finds what the tests import."""
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    with dask_processes(tmp_path_factory.mktemp("dask")) as processes:
        processes.add_lone_worker()
        yield processes


def test_a_scheduler_that_dies_during_a_run_ends_it_and_what_it_says_itself_is_not_shown(
    started, tmp_path, capfd
):
    finished, gone = [], rf"^the scheduler {started.address} {GONE}all is kept$"
    with connected(started.address) as client:
        with crew(client, Told(tmp_path)) as workers:
            described = list(workers.descriptions().values())
            units = [Unit("first", ("double", 1)), *(Unit(f"unit {n}", ("wait", n)) for n in range(2, 9))]
            handing = HandOut(workers, units, described, kept="all is kept")
            with pytest.raises(ds.UnfinishedError, match=gone) as raised:
                for outcome in handing.outcomes():
                    assert isinstance(outcome, Done)
                    finished.append(outcome.result)
                    started.scheduler.kill()
        assert finished == [2] and raised.value.parts == {}
        assert is_lost(client)
        with pytest.raises(ds.UnfinishedError, match=gone), lost_reported(client, "all is kept"):
            raise ConnectionError("as Dask may say it")
    assert capfd.readouterr().err == ""


def test_other_errors_of_a_run_pass_while_the_scheduler_lives(workers):
    with pytest.raises(FileNotFoundError, match="no file"), lost_reported(workers, ""):
        raise FileNotFoundError("no file")


@pytest.mark.slow
def test_a_recording_whose_scheduler_dies_ends_in_one_line_and_is_resumed_to_the_same_bytes(
    started, tmp_path, monkeypatch, contents
):
    monkeypatch.chdir(tmp_path)
    call("noise random --model digits --num_samples 400 --inputs noises")
    line = "record --model digits --inputs noises --num_steps 20 --batch_size 8 --quiet"
    words = [*line.split(), "--output", "run.zarr", "--cluster", started.address]
    with subprocess.Popen(
        [sys.executable, "-m", "denoscope", *words],
        env=started.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        marks = tmp_path / "run.zarr/complete/c"
        while not marks.exists():
            assert command.poll() is None, command.stderr.read()
            time.sleep(0.01)
        started.scheduler.kill()
        printed = command.stderr.read()
    assert re.fullmatch(
        rf"error: the scheduler {started.address} {GONE}finished samples are stored: continue with --resume\n",
        printed,
    )
    assert command.returncode == 3
    call(f"{line} --output run.zarr --resume --threads 1")
    call(f"{line} --output one.zarr --threads 1")
    assert contents(tmp_path / "run.zarr") == contents(tmp_path / "one.zarr")
