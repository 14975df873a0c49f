"""Commands and code in processes of their own, forked from one that has imported everything: 0.1 s each, not 10.

Run as a program, this is that process: it takes requests as lines of JSON and answers each with one.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


@dataclass
class Running:
    """One call of the command that is under way, or over."""

    recorder: Recorder
    pid: int
    log: Path
    code: int | None = None
    released: int = 0

    def send(self, signal_number: int) -> None:
        os.kill(self.pid, signal_number)

    def release(self) -> None:
        """Let the process continue from the call at which it holds, or will hold next."""
        self.released += 1
        Path(f"{self.log}.released{self.released}").touch()

    def wait(self) -> int:
        """The exit code; minus the number of the signal that ended it."""
        if self.code is None:
            self.code = self.recorder.ask({"wait": self.pid})["code"]
        return self.code

    @property
    def output(self) -> str:
        """Everything that the process has printed so far."""
        return self.log.read_text()

    @property
    def file_events(self) -> int:
        """The number of file events of a process that ended before the event at which it was to be killed."""
        return int(self.output.rpartition("file events: ")[2].split()[0])

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Wait until the process has printed a text."""
        limit = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < limit, f"{text!r} was never printed: {self.output}"
            time.sleep(0.002)


class Recorder:
    """The process that forks, seen from a test."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, request: dict) -> dict:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, *arguments: object, holds_at: Sequence[int] = (), dies_at: int = 0) -> Running:
        """Begin a call of the command.

        Args:
            holds_at: calls of a network, counted from 1, at which the process prints "call N" and waits for `release`.
                The first two calls of a recording are those of the survey of its layers, the third is the
                fingerprint's probe.
            dies_at: the file event, counted from 1, at which the process is killed (one of FILE_EVENTS below the
                output).
        """
        self.count += 1
        log = self.folder / f"{self.count}.txt"
        log.touch()
        words = [str(argument) for argument in arguments]
        request = {
            "arguments": words,
            "log": str(log),
            "holds_at": list(holds_at),
            "dies_at": dies_at,
            "cwd": os.getcwd(),
        }
        return Running(self, self.ask(request)["pid"], log)

    def run(self, *arguments: object, **options: float) -> Running:
        """The result of a call of the command, after it ends."""
        running = self.start(*arguments, **options)
        running.wait()
        return running

    def block(self, folder: Path, *, code: str = "", arguments: Sequence[str] = ()) -> tuple[int, str, str]:
        """Code, or a call of the command, run in a folder with warnings as errors: its exit code, stdout and stderr."""
        self.count += 1
        log, beside = (self.folder / f"{self.count}.{stream}.txt" for stream in ("out", "err"))
        for file in (log, beside):
            file.touch()
        request = {
            "arguments": list(arguments),
            "code": code,
            "log": str(log),
            "beside": str(beside),
            "cwd": str(folder),
        }
        ended = Running(self, self.ask(request)["pid"], log).wait()
        return ended, log.read_text(), beside.read_text()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Answer requests until there are no more."""
    import diffusers
    import matplotlib.figure  # noqa: F401
    import numcodecs.zstd  # noqa: F401
    import torch._decomp.decompositions_for_jvp
    import torch.utils.serialization  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401
    from diffusers import DDIMScheduler, UNet2DModel  # noqa: F401

    import denoscope.basins
    import denoscope.cli.command
    import denoscope.cli.verbs.record
    import denoscope.dynamics
    import denoscope.noise
    import denoscope.storage.zarr.byte_store_view  # noqa: F401
    from denoscope.cli import flags, registry
    from denoscope.config import Settings
    from denoscope.recording import record, verify  # noqa: F401

    _ = DDIMScheduler().compatibles  # which loading imports
    flags.parse(
        registry.verb("record"), [], Settings(), ""
    )  # which imports most of tyro and fills its caches
    # A collection in a fork would touch, and so copy, all that was imported.
    gc.collect()
    gc.freeze()
    diffusers.utils.logging.disable_progress_bar()
    os.fsync = lambda _file: None  # a busy disk would take long
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": os.fork() or call(request)}
        print(json.dumps(answer), flush=True)


def call(request: dict) -> None:
    """Run the command or the code in this process, and end it."""
    from denoscope import cli

    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    beside = os.open(request["beside"], os.O_WRONLY | os.O_APPEND) if "beside" in request else log
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (beside, 2)):
        os.dup2(source, target)
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "beside" in request:
        be_strict()
    if request.get("holds_at"):
        hold(request["holds_at"], request["log"])
    count_events = None
    if request.get("dies_at"):
        output = request["arguments"][request["arguments"].index("--output") + 1]
        count_events = die_at_event(request["dies_at"], output)
    code = 1
    try:
        if request.get("code"):
            exec(compile(request["code"], "<block>", "exec"), {"__name__": "__main__"})
        else:
            cli.main(request["arguments"])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if count_events:
            os.write(1, f"file events: {count_events()}\n".encode())
        os._exit(code)


def be_strict() -> None:
    """Make warnings errors, except NumPy 2's warning about how some diffusers schedulers convert tensors."""
    import warnings

    warnings.resetwarnings()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation doesn't", DeprecationWarning)


def hold(holds_at: Sequence[int], log: str) -> None:
    """Announce each call of a network, and wait in some calls for the release."""
    import itertools

    from torch.nn.modules.module import register_module_forward_pre_hook

    calls = itertools.count(1)

    def wait(module: object, _arguments: object) -> None:
        if type(module).__name__ == "UNet2DModel":
            call = next(calls)
            os.write(2, f"call {call}\n".encode())
            while call in holds_at and not os.path.exists(f"{log}.released{holds_at.index(call) + 1}"):
                time.sleep(0.002)

    register_module_forward_pre_hook(wait)


def die_at_event(number: int, output: str) -> Callable[[], int]:
    """End without a word at the file event of that number that concerns the output, or what is hidden beside it; returns
    how to count them."""
    left = number
    folder, name = os.path.split(output)
    concerned = output, os.path.join(folder, f".{name}.")

    def count(event: str, arguments: tuple) -> None:
        nonlocal left
        if event in FILE_EVENTS and any(path in str(arguments[0]) for path in concerned):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return lambda: number - left


if __name__ == "__main__":
    serve()
