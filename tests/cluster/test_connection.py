"""How workers are reached and started: running schedulers, and the options of batch systems."""

import gc
import os
import signal
import subprocess
import sys
import time

import dask
import psutil
import pytest

import denoscope as ds
from denoscope.cluster.connection import connected


def refuse(source, match):
    with pytest.raises(ds.UserError, match=match), connected(source):
        pass


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refuse("local", r"needs distributed, which is not installed; .*denoscope\[cluster\]")


def test_a_worker_that_is_missing_when_dask_looks_is_replaced_all_the_same():
    """Dask looks 15 seconds after a death, here at once, as if the next worker had just died by then."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}), connected("local:1") as client:
        (former,) = client.nthreads()
        os.kill(client.run(os.getpid)[former], signal.SIGKILL)
        limit = time.monotonic() + 120
        while set(client.nthreads()) <= {former}:
            assert time.monotonic() < limit, "no worker has taken its place"
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "holds no options by name"),
        ("- workers: 1", "holds no options by name"),
        ("workers: [", "is not YAML"),
        ("queue: gpu", "workers is None; allowed: an integer of at least 1"),
        ("workers: true", "workers is True; allowed: an integer of at least 1"),
        ("workers: 0", "workers is 0; allowed"),
        ("workers: 1", "names no network; allowed: interface: lo"),
        ("workers: 1\nscheduler_options:", "names no network"),
        ("workers: 1\nscheduler_options: lo", "scheduler_options is 'lo'; allowed: options by name"),
    ],
)
def test_options_of_a_batch_system_that_cannot_be_used_are_refused(tmp_path, text, line):
    file = tmp_path / "jobs.yaml"
    file.write_text(text)
    refuse(f"slurm:{file}", line)


@pytest.mark.filterwarnings("ignore:unclosed cluster:ResourceWarning")  # the one that could not be made
def test_options_that_are_missing_for_the_batch_system_are_named(tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text("workers: 1\ninterface: lo")
    refuse(f"slurm:{file}", "SLURMCluster cannot be started: You must specify")
    gc.collect()


def test_a_missing_file_of_a_batch_system_is_refused(tmp_path):
    refuse(f"slurm:{tmp_path / 'none.yaml'}", r"none.yaml, which cannot be read: No such file")


@pytest.mark.slow
def test_the_processes_of_a_killed_client_end():
    program = (
        "from denoscope.cluster.connection import connected\n"
        "with connected('local:2') as client:\n"
        "    client.wait_for_workers(2); print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout.readline() == "ready\n"
        started = psutil.Process(client.pid).children(recursive=True)
        client.kill()
    assert len(started) >= 3  # two workers and the process from which they are forked
    assert not psutil.wait_procs(started, timeout=120)[1]
