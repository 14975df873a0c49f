"""Standard output on a full disk, closed, or in an encoding that lacks characters."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HELP = [sys.executable, "-m", "denoscope", "--help"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor"), (">&- <&-", "descriptor")],
)
def test_lost_output_is_reported_in_one_line(redirection, reason):
    done = subprocess.run(
        f"{' '.join(HELP)} {redirection}", shell=True, capture_output=True, text=True, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: standard output") and reason in line


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_lost_messages_change_nothing_else(redirection):
    line = f"{' '.join(HELP[:-1])} record --batch_size 0 {redirection}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_the_encoding_lacks_are_replaced(encoding):
    done = subprocess.run(
        HELP, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    last = done.stdout.decode(encoding).splitlines()[-1]
    assert done.returncode == 0 and done.stderr == b""
    assert "Plane of noises" in last and ("→" if encoding == "utf-8" else "?") in last


ONTO = """
import os, sys
target = os.open({target!r}, os.O_WRONLY)
os.dup2(target, 1)
from denoscope.cli import main
main({words!r}.split())
"""
"""A command whose standard output goes to a file that takes nothing."""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_a_command_writes_is_whole_although_its_output_is_lost(recorder, tmp_path, encoding):
    words = "noise random --num_samples 2 --inputs x"
    code = ONTO.format(target="/dev/full", words=words).replace(
        "import os, sys", f"import os, sys; sys.stdout.reconfigure(encoding={encoding!r})"
    )
    ended, _, errors = recorder.block(tmp_path, code=code)
    assert ended == 1 and errors.count("\n") == 1 and "No space left" in errors
    assert len(json.loads((tmp_path / "x" / "noise.json").read_text())["samples"]) == 2
    assert len(list((tmp_path / "x").glob("noise_*.pt"))) == 2


def test_a_reader_that_has_gone_does_not_end_the_work(recorder, tmp_path):
    code = (
        "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        "from denoscope.cli import main; main('noise random --num_samples 2 --inputs x'.split())"
    )
    ended, _, errors = recorder.block(tmp_path, code=code)
    assert ended == 128 + signal.SIGPIPE and errors == ""
    assert len(list((tmp_path / "x").glob("*"))) == 3
