"""A lack of memory ends a command in one line, while modules are imported too."""

import errno

import pytest
from command_line import refuse

from denoscope import cli
from denoscope.cli import registry


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
    ids=str,
)
def test_a_module_of_a_command_that_cannot_be_imported_for_lack_of_memory(capsys, monkeypatch, error):
    def verb(_name):
        raise error

    monkeypatch.setattr(registry, "verb", verb)
    refuse(capsys, "layers digits", "the memory is too small")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(errno.EIO, "Input/output error")], ids=str)
def test_other_errors_remain_what_they_are(monkeypatch, error):
    def verb(_name):
        raise error

    monkeypatch.setattr(registry, "verb", verb)
    with pytest.raises(type(error)) as caught:
        cli.main(["layers", "digits"])
    assert caught.value is error
