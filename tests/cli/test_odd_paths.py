"""Every path of every command and script where nothing can be: at or below a loop of links, below a file, of a wrong name."""

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import check_refusal

from denoscope.cli import command, registry
from denoscope.cli.verb import Verb
from denoscope.config import Settings
from denoscope.foundation.checked import type_hints
from denoscope.models import sources

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    path.name: found[1]
    for path in sorted(ROOT.glob("*.py"))
    if (found := re.search(r'script\("([\w ]+)", __file__\)', path.read_text()))
}
"""The command of each script."""
PATHS = ("loop", "loop/below", "file/below", "n" * 300, f"missing/{'n' * 300}", "null\0byte")
SUFFIXES = ("", ".zarr", ".npz", ".json", ".html", ".gif")
TEXTS = {
    *("scheduler", "device", "branches", "channels", "height", "width", "reduce", "step", "result", "view", "side"),
    *("layer", "layers", "query", "class_colors"),
}  # fmt: skip
"""Flags of texts that are no paths. All other texts may be paths, as a model may."""
WITHIN = {"cluster": "slurm:{}"}
"""Texts that hold a path."""
ALSO = {("image", "output_base_dir"): ("--tensor_path", "elsewhere")}
"""What a command needs with a flag."""
Item = dataclasses.Field[Any]


def path_flags(verb: Verb) -> dict[str, Item]:
    """The field of each flag that is a path or may be one."""
    classes = {config: type(value) for config, value in vars(Settings()).items()}
    places = [(verb.own_flags, item.name, item.name) for item in fields_of(verb.own_flags)]
    places += [(classes[config], attribute, flag) for config, attribute, flag in verb.fields()]
    found = {}
    for owner, attribute, flag in places:
        (item,) = (item for item in fields_of(owner) if item.name == attribute)
        hint = str(type_hints(owner)[attribute])
        if re.search(r"\bPath\b", hint) or (re.search(r"\bstr\b", hint) and flag not in TEXTS):
            found[flag] = item
    return found


def fields_of(owner: type | None) -> tuple[Item, ...]:
    return dataclasses.fields(owner) if owner else ()


def allowed_suffix(item: Item) -> str:
    """A suffix that the rule of a flag allows."""
    if item.metadata["rule"] is None or item.name in WITHIN:
        return ""
    _, allows = item.metadata["rule"]
    return next(suffix for suffix in SUFFIXES if allows(Path(f"x{suffix}")))


def trials(name: str) -> Iterator[tuple[str, str, list[str]]]:
    """(flag as messages spell it, path, words of the call) of each trial of a command."""
    verb = registry.verb(name)
    positional = [item.name for item in fields_of(verb.own_flags) if item.metadata["positional"]]
    for flag, item in path_flags(verb).items():
        # The suffix of an input decides how it is read.
        suffixes = SUFFIXES if flag in positional else (allowed_suffix(item),)
        for path in (f"{path}{suffix}" for path in PATHS for suffix in suffixes):
            word = WITHIN.get(flag, "{}").format(path)
            words = [word if other == flag else "elsewhere" for other in positional]
            if flag in positional:
                yield flag.upper(), path, words
            else:
                yield f"--{flag}", path, [*words, *ALSO.get((name, flag), ()), f"--{flag}", word]


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch):
    """Load no model: what is refused is refused before."""

    def fail(*_: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr(sources, "with_weights", fail)


@pytest.fixture
def oddities(here: Path) -> Path:
    """A file, a loop of two links for each suffix, and the default folder of noises, of which only the names are read."""
    (here / "file").write_text("")
    (here / "inputs").mkdir()
    (here / "inputs" / "noise.pt").write_text("")
    for suffix in SUFFIXES:
        (here / f"loop{suffix}").symlink_to(f"knot{suffix}")
        (here / f"knot{suffix}").symlink_to(f"loop{suffix}")
    return here


def faults(capsys: pytest.CaptureFixture[str], run: Any, given: Iterator[Any]) -> list[str]:
    """What is wrong in the refusals of some trials."""
    found = []
    for flag, path, words in given:
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as caught:
                run(words)
            printed = capsys.readouterr()
            assert caught.value.code == 2 and not printed.out, printed
            line = check_refusal(printed.err, flag)
            assert path.replace("\0", "\\x00")[:40] in line, line
        except BaseException as error:
            found.append(f"{' '.join(words)[:99]!r}: {type(error).__name__} {str(error)[-300:]}")
    return found


@pytest.mark.parametrize("name", [name for name in registry.VERBS if path_flags(registry.verb(name))])
def test_a_path_where_nothing_can_be_is_refused_in_one_line(name, oddities, capsys):
    before = sorted(oddities.rglob("*"))
    found = faults(capsys, lambda words: command.main([*name.split(), *words]), trials(name))
    assert not found, "\n".join(found)
    assert sorted(oddities.rglob("*")) == before


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_refuses_the_same_paths(script, oddities, capsys, monkeypatch):
    def run(words: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", [script, *words])
        command.script(SCRIPTS[script], str(ROOT / script))

    before = sorted(oddities.rglob("*"))
    found = faults(capsys, run, trials(SCRIPTS[script]))
    assert not found, "\n".join(found)
    assert sorted(oddities.rglob("*")) == before


def test_all_scripts_are_tried():
    named = [path.name for path in ROOT.glob("*.py") if "cli import script" in path.read_text()]
    assert sorted(named) == sorted(SCRIPTS)
