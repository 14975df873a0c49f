"""Every command and code block of the documentation runs and prints the output shown."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from recorder import Recorder

from denoscope.cli import flags, registry
from denoscope.config import Settings

ROOT = Path(__file__).parents[2]
PAGES = [
    "docs/library.md",
    "docs/layers.md",
    "docs/interventions.md",
    "docs/pipelines.md",
    "docs/guide.md",
    "docs/reproducibility.md",
    "docs/maps.md",
    "docs/explorer.md",
    "docs/report.md",
    "docs/basins.md",
    "docs/divergence.md",
    "docs/exponents.md",
    "docs/closed_loop.md",
    "docs/decided.md",
    "docs/geometry.md",
    "docs/selfcheck.md",
    "docs/stored_format.md",
]
# These commands set up the environment, in which the tests already run, or run the tests.
ELSEWHERE = ("make ", "source ", "pip install")
# A call of the command, or of a script, that needs no shell.
COMMAND = re.compile(r"denoscope [\w ./:,=+-]+")
SCRIPT = re.compile(r"python \w+\.py[\w ./:,=+\"-]*")
RUN_SCRIPT = "import runpy, sys; sys.argv = {words!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.M | re.S)
ROW = re.compile(r"^\| `(\w+\.py)` \| `denoscope ([\w ]+)` \| `(python .*)` \|$", flags=re.M)
SCRIPTS = ROW.findall((ROOT / "README.md").read_text())
"""The README's table of scripts: the script, its command and an example."""


@dataclass
class Block:
    """A fenced block and its expected output, the text block that immediately follows it."""

    language: str
    content: str
    output: str | None

    def __str__(self) -> str:
        return self.content.splitlines()[0]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    found = list(FENCE.finditer(text))
    result = []
    for match, following in itertools.zip_longest(found, found[1:]):
        expected = following and following[1] == "text" and not text[match.end() : following.start()].strip()
        if match[1] != "text":
            result.append(Block(match[1], match[2], following[2] if following and expected else None))
    return result


def pattern_of(output: str) -> str:
    """A pattern in which … matches any text, and a line of … alone any lines."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else _line(line) + r"\n" for line in output.splitlines()]
    return "".join(lines)


def _line(line: str) -> str:
    return ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + " *"


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts in a folder of its own, as after a clone."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for pattern in ("*.py", "*.sh"):
        for path in ROOT.glob(pattern):
            shutil.copy(path, folder)
    return folder


def run(block: Block, folder: Path, recorder: Recorder | None) -> str:
    """What a block prints: run as a user would, or in processes that a recorder forks, where that can be done."""
    if block.language == "python":
        return of_code(block.content, folder, recorder)
    lines = block.content.splitlines()
    return "".join(of_line(line, folder, recorder) for line in lines if not line.startswith(ELSEWHERE))


def of_code(code: str, folder: Path, recorder: Recorder | None) -> str:
    if recorder is None:
        return run_program([sys.executable, "-c", code], folder)
    return forked(recorder, folder, code=code)


def of_line(line: str, folder: Path, recorder: Recorder | None) -> str:
    words = shlex.split(line)
    if recorder is not None and COMMAND.fullmatch(line):
        return forked(recorder, folder, arguments=words[1:])
    if recorder is not None and SCRIPT.fullmatch(line):
        return forked(recorder, folder, code=RUN_SCRIPT.format(words=words[1:]))
    return run_program(["bash", "-c", line], folder)


def forked(recorder: Recorder, folder: Path, **what) -> str:
    code, printed, beside = recorder.block(folder, **what)
    assert code == 0, f"{what}: {beside[-2000:]}\n{printed[-2000:]}"
    return printed


def run_program(program: list[str], folder: Path) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        # NumPy 2's warning about how some diffusers schedulers convert tensors.
        "PYTHONWARNINGS": "error,ignore:__array__ implementation doesn't:DeprecationWarning",
    }
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program[-1]}: {done.stderr[-2000:]}\n{done.stdout[-2000:]}"
    return done.stdout


def test_the_python_of_the_readme_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for block in blocks("README.md"):
        if block.language == "python":
            exec(compile(block.content, "README.md", "exec"), {"__name__": "__main__"})
            check_output(block, capsys.readouterr().out)


def test_the_table_of_scripts_has_the_command_and_flags_of_each_script(checkout):
    rows = re.findall(r"^\| `(\w+\.py)`", (ROOT / "README.md").read_text(), flags=re.M)
    assert rows and [name for name, *_ in SCRIPTS] == rows
    for name, command, example in SCRIPTS:
        assert f'script("{command}", __file__)' in (checkout / name).read_text()
        words, verb = shlex.split(example), registry.verb(command)
        assert words[:2] == ["python", name]
        flags.merged(verb, Settings(), flags.parse(verb, words[2:], Settings(), name))


@pytest.mark.slow
def test_every_block_of_the_readme_runs_in_an_interpreter_of_its_own(checkout):
    check("README.md", checkout, None)


@pytest.mark.slow
def test_the_examples_of_the_table_of_scripts_run_in_its_order(checkout, recorder):
    for name, _, example in SCRIPTS:
        if name == "pipeline.py":  # it refuses an outputs/ that holds a recording
            of_line("./clean_output.sh", checkout, recorder)
        of_line(example, checkout, recorder)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs_in_the_order_of_the_page(page, checkout, recorder):
    """In forked processes, since imports would take most of the time."""
    check(page, checkout, recorder)


def check(page: str, checkout: Path, recorder: Recorder | None) -> None:
    for block in blocks(page):
        assert block.language in ("python", "bash"), (
            f"{page} holds a block in {block.language}: nothing runs it"
        )
        check_output(block, run(block, checkout, recorder))
    made = {path.name for path in checkout.iterdir()} - {path.name for path in ROOT.iterdir()}
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert not [name for name in made if not any(fnmatch(name, pattern) for pattern in ignored)]


def check_output(block: Block, printed: str) -> None:
    if block.output is not None:
        assert re.fullmatch(pattern_of(block.output), printed), f"{block} printed:\n{printed}"


def test_the_pages_name_only_files_that_exist():
    for page in ("README.md", *PAGES):
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)#:]+?)\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
