"""Calls of the command in this process."""

from pathlib import Path

import pytest
import torch

from denoscope.cli import main


def call(line: str, *words: object) -> None:
    """Run the command with the words of a line, and further words that may hold spaces."""
    main([*line.split(), *map(str, words)])


def check_refusal(text: str, *fragments: str) -> str:
    """The one line on stderr of a refused command, which must hold all fragments."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("error: "), text
    for fragment in fragments:
        assert fragment in lines[0], f"{fragment!r} is not in {lines[0]!r}"
    return lines[0]


def refuse(capsys: pytest.CaptureFixture[str], line: str, *fragments: str) -> str:
    """Run a command that must end with exit code 2 and one line with all fragments; returns the line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    printed = capsys.readouterr()
    assert caught.value.code == 2, printed.err
    assert printed.out == "", line
    return check_refusal(printed.err, *fragments)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """All paths below a folder, and the content of those that are files."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def load(path: str | Path) -> torch.Tensor:
    """A tensor from a file."""
    return torch.load(path, weights_only=True)


def names(folder: str | Path, pattern: str = "*.pt") -> list[str]:
    """The names of the files in a folder that match a pattern."""
    return sorted(path.name for path in Path(folder).glob(pattern))
