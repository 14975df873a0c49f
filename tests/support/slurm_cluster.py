"""SLURM on this machine alone, with one node of two CPUs, in processes that end with the tests, however those end.

Run as a program, this is the process that starts the daemons, and stops them when its standard input ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
SECONDS = 60
"""How long a daemon may take to start, and jobs to end."""
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait={kill_wait}
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=main Nodes={host} Default=YES State=UP
"""
KILL_WAIT = 30
"""Seconds from SIGTERM to SIGKILL for a job that reaches its walltime: SLURM's own default."""


def missing() -> str:
    """Why SLURM cannot be started on this machine; empty if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    return f"{', '.join(absent)} not installed (make slurm)" if absent else ""


def search_path() -> str:
    """Where programs are looked for: daemons are not on every user's path."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class SlurmCluster:
    """The cluster as tests see it: `environment` is what its commands need."""

    def __init__(self, folder: Path):
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.process = subprocess.Popen(
            [sys.executable, "-s", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C ends the tests, and then this process does its part
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != "ready":
            self.close()
            raise RuntimeError(f"SLURM cannot be started: {line}")

    def command(self, *words: object) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            [*map(str, words)],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self, states: str = "PENDING,RUNNING") -> list[int]:
        """The numbers of the jobs in some states, oldest first."""
        return sorted(
            map(int, self.command("squeue", "--noheader", "--format=%A", f"--states={states}").split())
        )

    def close(self) -> None:
        """Cancel all jobs and stop the daemons."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Daemons:
    """The daemons of a cluster whose files lie in a folder."""

    def __init__(self, folder: Path):
        self.folder, self.running = folder, list[subprocess.Popen[bytes]]()
        self.environment = {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        folder = self.folder
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        text = CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            ports=free_ports(2),
            kill_wait=KILL_WAIT,
        )
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = [
            f"--{name}={folder}/munge.{name.partition('-')[0]}"
            for name in ("socket", "key-file", "pid-file", "log-file", "seed-file")
        ]
        self._run("munged", "--foreground", "--force", *files)
        self._wait(lambda: (folder / "munge.socket").exists())
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D")
        self._wait(lambda: "idle" in self._answer("sinfo", "--noheader", "--format=%T"))

    def stop(self) -> None:
        """End all jobs, then the daemons, the last one first."""
        limit = time.monotonic() + SECONDS
        while self._answer("squeue", "--noheader") and time.monotonic() < limit:
            self._answer("scancel", "--signal=KILL", "--full", f"--user={os.getuid()}")
            self._answer("scancel", f"--user={os.getuid()}")
            time.sleep(0.2)
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _run(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.out").open("wb") as out:
            self.running.append(
                subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self.environment,
                    cwd=self.folder,
                )
            )

    def _wait(self, ready: Callable[[], bool]) -> None:
        limit = time.monotonic() + SECONDS
        while not ready():
            ended = [process for process in self.running if process.poll() is not None]
            if ended or time.monotonic() > limit:
                name = (ended or self.running)[-1].args[0]  # type: ignore[index]
                raise RuntimeError(f"{name}: {(self.folder / f'{name}.out').read_text()[-2000:]!r}")
            time.sleep(0.1)

    def _answer(self, *words: str) -> str:
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False).stdout


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(folder: Path) -> None:
    """Run the daemons until the standard input ends, as it does when the tests end in whatever way."""
    daemons = Daemons(folder)
    try:
        daemons.start()
    except (OSError, RuntimeError) as error:
        print(" ".join(str(error).split()), flush=True)
    else:
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        daemons.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
