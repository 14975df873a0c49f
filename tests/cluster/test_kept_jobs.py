"""Jobs that a batch system refuses, ends or loses, with commands in place of its own; a real one is in test_slurm_jobs.py."""

import os
import signal
import time
from pathlib import Path

import pytest
from command_line import call, refuse, snapshot

import denoscope as ds
from denoscope.cluster import kept_jobs
from denoscope.cluster.connection import connected
from denoscope.cluster.source import Jobs

OPTIONS = "cores: 1\nmemory: 1GB\ninterface: lo\n"
SBATCH = """number=1; set -C
until true > {folder}/job$number; do number=$((number+1)); done 2> /dev/null
echo called >> {folder}/calls
if [ $number = {refused} ]; then echo "sbatch: error: Socket timed out" >&2; exit 1; fi
echo "Submitted batch job $number"
"""
"""Submits nothing, and refuses one of the jobs, which are numbered also if several are submitted at the same time."""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Puts shell scripts, by the names of commands, in place of those that are installed."""
    monkeypatch.setattr(kept_jobs, "TEND_SECONDS", 0.05)
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(**scripts):
        for name, script in scripts.items():
            file = folder / name
            file.write_text(f"#!/bin/sh\n{script}")
            file.chmod(0o755)

    return make


def options(folder: Path, text: str = "workers: 2") -> Jobs:
    """The jobs of a file with these options."""
    file = folder / "jobs.yaml"
    file.write_text(f"{OPTIONS}{text}\n")
    return Jobs("slurm", str(file))


def until(condition) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.05)


def submitted(folder: Path) -> int:
    file = folder / "calls"
    return len(file.read_text().split()) if file.exists() else 0


@pytest.mark.usefixtures("commands")
def test_a_machine_that_cannot_submit_jobs_is_named_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options(tmp_path)
    call("noise random --model digits --num_samples 2 --inputs noises")
    before = snapshot(tmp_path)
    line = "jobs.yaml: sbatch is not installed on this machine; start from a node that may submit jobs"
    refuse(capsys, "record --model digits --inputs noises --output run.zarr --cluster slurm:jobs.yaml", line)
    assert snapshot(tmp_path) == before


def test_a_job_that_is_refused_once_is_submitted_again(commands, tmp_path, caplog):
    commands(sbatch=SBATCH.format(folder=tmp_path, refused=2), squeue="echo 1 2 3", scancel="")
    with kept_jobs.kept_jobs(options(tmp_path)) as jobs:
        until(lambda: submitted(tmp_path) == 3)
        until(lambda: {job.job_id for job in jobs.cluster.workers.values()} == {"1", "3"})
        jobs.check()
    assert "jobs.yaml: sbatch refuses a job: Socket timed out; another one follows" in caplog.text
    assert not (tmp_path / "jobs.logs").exists()  # the jobs have printed nothing


def test_jobs_that_end_one_after_the_other_before_a_worker_comes_end_the_wait(commands, tmp_path):
    commands(sbatch=SBATCH.format(folder=tmp_path, refused=0), squeue="", scancel="")
    line = rf"no worker has come: \S+jobs.yaml: job \d+ ended before its worker came; its output is in {tmp_path}/jobs.logs"
    with pytest.raises(ds.UserError, match=line), connected(f"slurm:{options(tmp_path).file}"):
        pass
    assert submitted(tmp_path) >= 2 * kept_jobs.STARTS - 1


@pytest.mark.parametrize(("printed", "left"), [("", set()), ("echo hello > {logs}/1.out\n", {"of", "1.out"})])
def test_of_the_folder_for_what_jobs_print_only_what_holds_something_stays(commands, tmp_path, printed, left):
    made = tmp_path / "logs" / "of" / "jobs"
    script = SBATCH.format(folder=tmp_path, refused=0) + printed.format(logs=made.parent)
    commands(sbatch=script, squeue="echo 1 2", scancel="")
    (tmp_path / "logs").mkdir()
    with kept_jobs.kept_jobs(options(tmp_path, f"workers: 2\nlog_directory: {made}")):
        assert made.is_dir()
    assert {path.name for path in (tmp_path / "logs").rglob("*")} == left


def test_a_queue_that_does_not_answer_ends_no_job(commands, tmp_path):
    commands(
        sbatch=SBATCH.format(folder=tmp_path, refused=0),
        squeue=f"echo asked >> {tmp_path}/asked; exit 1",
        scancel=f"echo $1 >> {tmp_path}/cancelled",
    )
    with kept_jobs.kept_jobs(options(tmp_path)) as jobs:
        until(lambda: (tmp_path / "asked").exists() and (tmp_path / "asked").read_text().count("asked") > 5)
        jobs.check()
        assert submitted(tmp_path) == 2
    assert sorted((tmp_path / "cancelled").read_text().split()) == ["1", "2"]


@pytest.mark.slow
def test_a_job_of_another_batch_system_is_replaced_when_its_worker_stays_away(
    commands, tmp_path, monkeypatch
):
    monkeypatch.setattr(kept_jobs, "STEADY_SECONDS", 1.0)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/bin:/bin")
    commands(
        qsub=f'echo called >> {tmp_path}/calls; cp "$1" {tmp_path}/job.sh\n'
        f"setsid sh {tmp_path}/job.sh > /dev/null 2>&1 &\necho $!\n",
        qdel=f"echo $1 >> {tmp_path}/cancelled; kill -9 -- -$1\n",
    )
    file = options(tmp_path, "workers: 1\nnanny: false").file
    with connected(f"pbs:{file}") as client:
        (former,) = client.nthreads()
        group = os.getpgid(client.run(os.getpid)[former])
        os.killpg(group, signal.SIGKILL)
        until(lambda: set(client.nthreads()) - {former})
        assert submitted(tmp_path) == 2
        assert (tmp_path / "cancelled").read_text().split() == [str(group)]
