"""Ctrl-C during the imports of a command, by real signals at a known point of a real process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRESSED = """
import os, signal, sys
class Pressing:
    pressed = 0
    def find_spec(self, name, *_):
        if name != {module!r} or self.pressed:
            return
        self.pressed = 1
        try:
            for _ in range({times}):
                os.kill(os.getpid(), signal.SIGINT)
                sum(range(10_000))  # a handler of Python runs between two instructions
        except BaseException:
            os.abort()  # as where C++ has called Python
        {then}
sys.meta_path.insert(0, Pressing())
signal.signal(signal.SIGINT, {handler})
sys.argv = ["denoscope", *{words!r}.split()]
from denoscope.cli import main, script
{call}
"""
"""A command in whose import of a module Ctrl-C is pressed; an exception there ends the process by signal 6."""


def pressed(
    folder: Path,
    module: str,
    words: str,
    *,
    times: int = 1,
    then: str = "return",
    handler: str = "signal.default_int_handler",
    call: str = "main()",
) -> subprocess.CompletedProcess[str]:
    """The ended command."""
    code = PRESSED.format(module=module, words=words, times=times, then=then, handler=handler, call=call)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def check_stopped(done: subprocess.CompletedProcess[str]) -> None:
    assert done.stderr == "\nstopped\n" and done.returncode == 130, (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("denoscope.cli.command", "--help"),
        ("denoscope.cli.flags", "--help"),
        ("denoscope.cli.verbs.record", "record --help"),
        ("tyro", "record --help"),
        ("numpy", "noise random"),
        ("torch", "noise random"),
        ("torch._C", "noise random"),  # C++, from which Python is called
        ("torch.nn.functional", "noise random"),
        ("diffusers", "layers digits"),
        ("diffusers.models.unets.unet_2d", "layers digits"),
    ],
)
def test_the_import_ends_before_the_command_in_one_line(tmp_path, module, words):
    check_stopped(pressed(tmp_path, module, words))
    assert not list(tmp_path.iterdir())


def test_a_script_ends_in_the_same_way(tmp_path):
    call = "script('noise random', 'main.py')"
    check_stopped(pressed(tmp_path, "denoscope.cli.overview", "--help", call=call))


def test_an_import_that_fails_ends_the_same_way(tmp_path):
    check_stopped(pressed(tmp_path, "tyro", "record --help", then="raise ImportError('broken')"))


def test_a_second_time_the_process_ends_at_once(tmp_path):
    done = pressed(tmp_path, "tyro", "record --help", times=2, then="print('went on', flush=True)")
    check_stopped(done)
    assert not done.stdout


def test_the_rest_of_the_command_does_not_run(tmp_path):
    done = pressed(tmp_path, "tyro", "record --help", then="print('imported', flush=True)")
    check_stopped(done)
    assert done.stdout == "imported\n"


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: None"])
def test_a_command_that_ignores_it_goes_on(tmp_path, handler):
    """As `nohup denoscope … &` in a script."""
    done = pressed(tmp_path, "tyro", "record --help", handler=handler)
    assert done.returncode == 0 and "--num_steps" in done.stdout and not done.stderr


def test_imports_under_way_before_the_command_do_not_count(tmp_path):
    """A module that runs a command while it is imported, whose Ctrl-C would otherwise wait for the command's end."""
    (tmp_path / "own.py").write_text(
        "import os, signal\n"
        "from denoscope.cli import command, main\n"
        "command.main = lambda _: (os.kill(os.getpid(), signal.SIGINT), print('went on', flush=True))\n"
        "main()\n"
    )
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.path.append(''); import own"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    check_stopped(done)
    assert not done.stdout


def test_the_handler_of_the_caller_returns():
    from denoscope import cli

    before = signal.getsignal(signal.SIGINT)
    cli.main(["--version"])
    assert signal.getsignal(signal.SIGINT) is before
