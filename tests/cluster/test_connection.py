"""How workers are reached and started: running schedulers, and the options of batch systems."""

import gc
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import dask
import psutil
import pytest

import denoscope as ds
from denoscope.cluster import connection, job_rules
from denoscope.cluster.connection import connected, planned_workers
from denoscope.cluster.job_rules import RENAMED
from denoscope.cluster.source import SCHEDULERS


def refuse(source, match):
    with pytest.raises(ds.UserError, match=match), connected(source):
        pass


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refuse("local", r"needs distributed, which is not installed; .*denoscope\[cluster\]")


def test_the_missing_library_of_batch_systems_is_named(tmp_path, monkeypatch):
    (tmp_path / "jobs.yaml").write_text("workers: 1\ninterface: lo")
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    match = r"needs dask_jobqueue, which is not installed; .*denoscope\[cluster\]"
    refuse(f"slurm:{tmp_path / 'jobs.yaml'}", match)
    with pytest.raises(ds.UserError, match=match):
        connection.check_source(f"slurm:{tmp_path / 'jobs.yaml'}")


def test_ctrl_c_is_left_as_it_was_by_the_library_of_batch_systems():
    """In a process of its own: only the first import of the library installs its handler."""
    code = (
        "import signal; from denoscope.cluster import job_rules; library = job_rules.jobqueue(); "
        "print(library.__name__, signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "dask_jobqueue True\n"


def test_a_worker_that_is_missing_when_dask_looks_is_replaced_all_the_same():
    """Dask looks 15 seconds after a death, here at once, as if the next worker had just died by then."""
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}), connected("local:1") as client:
        (former,) = client.nthreads()
        os.kill(client.run(os.getpid)[former], signal.SIGKILL)
        limit = time.monotonic() + 120
        while set(client.nthreads()) <= {former}:
            assert time.monotonic() < limit, "no worker has taken its place"
            time.sleep(0.05)


def test_the_page_of_dask_is_where_the_message_says(caplog):
    pytest.importorskip("bokeh")
    with caplog.at_level(logging.INFO, logger=connection.__name__), connected("local:1"):
        (link,) = re.findall(
            r"workers and their progress: (http://127\.0\.0\.1:\d+/status)$", caplog.text, re.MULTILINE
        )
        with urllib.request.urlopen(link) as answer:
            assert answer.status == 200 and b"Dask" in answer.read()


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
        (
            "workers: 1\nfoo: 3",
            r"jobs.yaml: 'foo' is not an option of slurm; allowed: account, config_name, cores",
        ),
        (
            "workers: 1\nwaltime: 1h",
            r"'waltime' is not an option of slurm; did you mean walltime\? allowed: account",
        ),
        ("workers: 1\nenv_extra: []", r"did you mean job_script_prologue\?"),
        ("workers: 1\nhost: 10.0.0.1", r"'host' is not an option of slurm; did you mean scheduler_options\?"),
        ("workers: 1\nlsf_units: mb", "'lsf_units' is not an option of slurm"),
        (
            "workers: 1\nscheduler_options: {hots: a}",
            r"'hots' is not one of the scheduler_options; did you mean host\?",
        ),
        ("workers: 1\nprotocol: quic", "jobs.yaml: protocol is 'quic'; allowed: tcp or tls"),
        ("workers: 1\ncores: two", "cores is 'two'; allowed: an integer of at least 1"),
        ("workers: 1\ncores: 4", "cores is 4; allowed: 1, one for each process"),
        ("workers: 1\ncores: 4\nprocesses: 2", "cores is 4; allowed: 2, one for each process"),
        ("workers: 1\nmemory: much", "memory is 'much'; allowed: a size in memory or on disk, such as 4GB"),
        ("workers: 1\nmemory: 0", "memory is 0; allowed: a size"),
        ("workers: 1\nwalltime: 1:30:00", 'walltime is 5400; allowed: a time in quotes, such as "00:30:00"'),
        ("workers: 1\nnanny: 'no'", "nanny is 'no'; allowed: true or false"),
        ("workers: 1\nsecurity: ca.pem", "security is 'ca.pem'; allowed: true"),
        ("workers: 1\ndeath_timeout: long", "death_timeout is 'long'; allowed: a time"),
        ("workers: 1\njob_extra_directives: --exclusive", r"is '--exclusive'; allowed: a list, such as"),
        ("workers: 1\nworker_extra_args: [[a]]", r"worker_extra_args is \[\['a'\]\]; allowed: a list"),
        ("workers: 1\nqueue: [a, b]", r"queue is \['a', 'b'\]; allowed: a text"),
        ("workers: 1\nqueue: yes", "queue is True; allowed: a text"),
    ],
)
def test_options_of_a_batch_system_that_cannot_be_used_are_refused(tmp_path, text, line):
    file = tmp_path / "jobs.yaml"
    file.write_text(text)
    refuse(f"slurm:{file}", line)


@pytest.mark.filterwarnings("ignore:unclosed cluster:ResourceWarning")  # the one that could not be made
def test_options_that_are_missing_for_the_batch_system_are_named_and_nothing_is_left(tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text("workers: 1\ninterface: lo")
    refuse(f"slurm:{file}", "SLURMCluster cannot be started: You must specify")
    gc.collect()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("system", SCHEDULERS)
def test_the_options_of_each_batch_system_are_those_that_its_documentation_names(system):
    """The docstring of its class; the deprecated ones have other names."""
    documented = re.findall(r"^    (\w+) : ", job_rules.cluster_class(system).__doc__, re.MULTILINE)
    assert len(documented) > 20
    left_out = {"asynchronous", "scheduler_cls", "n_workers", *RENAMED}
    own = {"workers", "job_name", "memory", "protocol"}  # the last three have other indents there, or none
    assert job_rules.option_names(system) == {*documented, *own} - left_out


def test_the_directives_of_htcondor_have_names(tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text("workers: 1\ninterface: lo\njob_extra_directives: {getenv: true}")
    assert planned_workers(f"htcondor:{file}") == 1
    file.write_text("workers: 1\ninterface: lo\njob_extra_directives: [getenv]")
    refuse(
        f"htcondor:{file}",
        r"job_extra_directives is \['getenv'\]; allowed: values by name, such as {getenv: true}",
    )


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
