"""Recordings by jobs of a real SLURM on this machine: the bytes of one process, however the jobs end."""

import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import dask
import psutil
import pytest
import slurm_cluster
from authorities import Authority
from command_line import call, refuse, snapshot
from slurm_cluster import SlurmCluster
from worker_faults import EndsJobs, having

import denoscope as ds
from denoscope.cluster import kept_jobs
from denoscope.cluster.connection import connected
from denoscope.foundation.threads import threads_set_to

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing()),
]
ROOT = Path(__file__).parents[2]
RECIPE = re.search(r"```yaml\n(workers: .*?)```", (ROOT / "docs/scaling.md").read_text(), re.DOTALL)[1]
"""The file that the documentation shows."""
RUN = {"steps": 4, "layers": ["conv_in"], "lanes": 4, "batch_size": 4}
SAMPLES = 40
SECONDS = 600
"""How long jobs are waited for, however busy the machine is."""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM that runs while the tests of this module do, with an environment in which jobs find what tests import."""
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    support = os.pathsep.join(filter(None, [str(ROOT / "tests/support"), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**cluster.environment, "PYTHONPATH": support, "OMP_NUM_THREADS": "1"}.items():
            patched.setenv(name, value)
        patched.setattr(kept_jobs, "TEND_SECONDS", 1.0)
        yield cluster
    cluster.close()


def recipe(folder: Path, *lines: str) -> Path:
    """The file of the documentation with some of its lines replaced, or with others added."""
    options = dict(line.split(": ", 1) for line in (*RECIPE.splitlines(), *lines))
    file = folder / "jobs.yaml"
    file.write_text("".join(f"{name}: {value}\n" for name, value in options.items()))
    return file


@pytest.fixture(scope="module")
def denoiser(model):
    return ds.load(model, scheduler="ddpm", device="cpu")


@pytest.fixture(scope="module")
def x(denoiser):
    return ds.noise.random(SAMPLES, denoiser.shape, seed=3)


@pytest.fixture(scope="module")
def alone(denoiser, x, tmp_path_factory):
    """The recording of one process."""
    path = tmp_path_factory.mktemp("alone") / "run.zarr"
    with threads_set_to(1):
        ds.record(denoiser, x, path, **RUN)
    return path


def until(condition) -> None:
    limit = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.2)


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_jobs_write_the_bytes_of_one_process(
    slurm, contents, tmp_path, tmp_path_factory, monkeypatch, protocol
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my jobs"
    folder.mkdir()
    file = recipe(folder, f"protocol: {protocol}")
    call("noise random --model digits --num_samples 16 --inputs noises")
    record = "record --model digits --inputs noises --num_steps 3 --lanes 4 --batch_size 4"
    call(f"{record} --output one.zarr --threads 1")
    configuration = {}
    if protocol == "tls":
        authority = Authority(tmp_path_factory.mktemp("authority"), "own")
        configuration = authority.configuration
        for name, value in authority.environment.items():  # that of the jobs, too
            monkeypatch.setenv(name, value)
    with dask.config.set(configuration):
        call(f"{record} --output jobs.zarr --cluster", f"slurm:{file}")
    assert contents(tmp_path / "jobs.zarr") == contents(tmp_path / "one.zarr")
    assert not slurm.jobs()
    assert {path.name for path in tmp_path.iterdir()} == {"noises", "one.zarr", "jobs.zarr", "my jobs"}
    assert {path.name for path in folder.iterdir()} == {"jobs.yaml", "jobs.logs"}
    printed = "".join(file.read_text() for file in (folder / "jobs.logs").iterdir())
    assert f"Start worker at:      {protocol}://127.0.0.1" in printed


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("queue: none", ["jobs.yaml: sbatch refuses a job: invalid partition specified: none"]),
        ("memory: 1000GB", ["sbatch refuses a job:", "Requested node configuration is not available"]),
        ("account: none\nwalltime: never", ["sbatch refuses a job: Invalid --time specification"]),
        ("interface: none", ["jobs.yaml: interface is 'none'", "lo"]),
        (
            "python: /none/python",
            ["no worker has come: job", "ended before its worker came; its output is in"],
        ),
    ],
)
def test_jobs_that_cannot_run_are_refused_in_one_line(slurm, capsys, tmp_path, monkeypatch, line, fragments):
    monkeypatch.chdir(tmp_path)
    recipe(tmp_path, *line.splitlines())
    call("noise random --model digits --num_samples 2 --inputs noises")
    before = snapshot(tmp_path)
    logging.disable(logging.WARNING)  # jobs that end early are reported one by one, too
    try:
        refuse(
            capsys,
            "record --model digits --inputs noises --output run.zarr --cluster slurm:jobs.yaml",
            *fragments,
        )
    finally:
        logging.disable(logging.NOTSET)
    after = snapshot(tmp_path)
    logs = {name for name in after if "jobs.logs" in name}
    assert {name: after[name] for name in after.keys() - logs} == before
    assert any(b"/none/python" in (after[name] or b"") for name in logs) == line.startswith("python")
    assert not slurm.jobs()


def test_the_jobs_of_a_killed_client_end(slurm, tmp_path):
    program = (
        "import sys, time\n"
        "from denoscope.cluster.connection import connected\n"
        "with connected(sys.argv[1]) as client:\n"
        "    busy = client.submit(time.sleep, 3600)\n"
        "    while not any(client.processing().values()): pass\n"
        "    print('ready', flush=True); input()"
    )
    words = [sys.executable, "-c", program, f"slurm:{recipe(tmp_path, 'workers: 1')}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "ready\n"
        assert len(slurm.jobs()) == 1
        client.kill()
    until(lambda: not slurm.jobs())


@pytest.fixture(scope="module")
def jobs(slurm, tmp_path_factory):
    """A client of three jobs, of which only two have room at a time. Tests with jobs of their own come before."""
    file = recipe(tmp_path_factory.mktemp("jobs"), "workers: 3")
    with threads_set_to(1), connected(f"slurm:{file}") as client:
        yield client
    assert not slurm.jobs(), "all jobs were cancelled"


ENDS = {
    "walltime": "scontrol update JobId={job} EndTime=now",  # SLURM looks for such jobs every 30 seconds
    "cancelled": "scancel {job}",
    "requeued": "scontrol requeue {job}",
    "killed": "kill -KILL 0",  # all processes at once, as where the memory is too small
}


@pytest.mark.parametrize("end", ENDS)
def test_a_unit_whose_job_ends_is_done_again_and_another_job_follows(
    slurm, jobs, denoiser, x, alone, contents, tmp_path, caplog, end
):
    jobs.wait_for_workers(2, timeout=SECONDS)
    former = slurm.jobs()
    fault = EndsJobs(tmp_path / "calls", {20}, ENDS[end])  # in mid-unit, after the workers were compared
    with having(jobs, fault) as calls, caplog.at_level(logging.INFO, logger="denoscope"):
        ds.record(denoiser, x, tmp_path / "run.zarr", cluster=jobs, **RUN)
        assert calls() > 20
    assert contents(tmp_path / "run.zarr") == contents(alone)
    assert not list(tmp_path.rglob("*.partial"))
    announced = "has left; run.zarr sample" in caplog.text
    assert announced != ("died while it did" in caplog.text)
    assert announced == (end != "killed"), (
        "all ends but SIGKILL are announced, and no unit is blamed for them"
    )
    if end == "requeued":  # SLURM itself starts the job again, after two minutes unless told otherwise
        assert slurm.jobs() == former
    else:
        until(lambda: len(slurm.jobs()) == 3 and len(set(slurm.jobs()) & set(former)) == 2)
    for job in slurm.jobs("PENDING"):
        slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now")
    jobs.wait_for_workers(2, timeout=SECONDS)


def test_a_waiting_job_that_is_cancelled_is_replaced(slurm, jobs, caplog):
    jobs.wait_for_workers(2, timeout=SECONDS)
    (waiting,) = slurm.jobs("PENDING")
    slurm.command("scancel", waiting)
    until(lambda: len(slurm.jobs("PENDING")) == 1 and slurm.jobs("PENDING") != [waiting])
    assert f"job {waiting} ended before its worker came" in caplog.text


def test_nothing_listens_beyond_the_interface(slurm, jobs):
    jobs.wait_for_workers(2, timeout=SECONDS)
    numbers, own = set(map(str, slurm.jobs("RUNNING"))), psutil.Process()
    listening = {
        item.laddr.ip
        for process in psutil.process_iter()
        if process == own or environment_of(process).get("SLURM_JOB_ID") in numbers
        for item in process.net_connections()
        if item.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
