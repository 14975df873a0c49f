"""How workers are reached and started: running schedulers, and the options of batch systems."""

import gc
import sys

import pytest

import denoscope as ds
from denoscope.cluster import connection
from denoscope.cluster.connection import connected


def refuse(source, match):
    with pytest.raises(ds.UserError, match=match), connected(source):
        pass


def test_a_scheduler_that_nobody_runs_is_refused_soon(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.1)
    refuse("tcp://127.0.0.1:9", r"cluster: tcp://127.0.0.1:9 cannot be reached")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refuse("local", r"needs distributed, which is not installed; .*denoscope\[cluster\]")


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
