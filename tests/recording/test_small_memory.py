"""Commands under ever lower memory limits: the former result reads as before, or the new one is complete."""

import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

import denoscope as ds
from denoscope.foundation import checkpoint

STEPS = 20


def limit(step: int) -> int:
    """Bytes from too few for anything, 4 MiB, to enough for any number of threads, 2.8 GiB: each thread reserves up to 136 MiB."""
    return int(2 ** (22 + step / 2))


CREATED = re.compile(rb'"created": "[^"]*"')
SECONDS = 120
LOST = 3
"""The most processes of a test that may end without a report."""
LIMITED = """
import resource, signal
signal.alarm({seconds})
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {extra}, resource.RLIM_INFINITY))
{code}
"""
"""Code that may take `extra` bytes of address space beyond what its process has, and no more than some seconds."""
COMMAND = "from denoscope.cli import main; main({words!r}.split())"
INTERRUPTED = """
from torch.nn.modules.module import register_module_forward_pre_hook
calls = 0
def count(module, _):
    global calls
    calls += type(module).__name__ == "UNet2DModel"
    if calls == {last}:
        raise KeyboardInterrupt
register_module_forward_pre_hook(count)
try:
    {code}
finally:
    print("calls", calls)
"""
"""A command that is interrupted in its call number `last` of the network."""
EXPORT = """
import sys
import denoscope as ds
try:
    ds.open("out.zarr").export("exported", format="{format}")
except (MemoryError, RuntimeError, ds.UserError):
    sys.exit(2)
"""


def same_recording(path: Path, right: Path) -> bool:
    found, wanted = ds.open(path).dataset, ds.open(right).dataset
    return bool(found["complete"].all()) and found.drop_attrs().identical(wanted.drop_attrs())


def same_numbers(path: Path, right: Path) -> bool:
    return checkpoint.read(path).drop_attrs().identical(checkpoint.read(right).drop_attrs())


def same_bytes(path: Path, right: Path) -> bool:
    return path.read_bytes() == right.read_bytes()


OF_MODEL = "--model MODEL --device cpu --num_steps 2"
PLANE = "--num_prompts_per_direction 2 1 --len_per_direction 8"
COMMANDS = {
    "out.zarr": (
        f"record {OF_MODEL} --inputs inputs --lanes 4 --output out.zarr --seed SEED",
        same_recording,
    ),
    "out": (f"record {OF_MODEL} --inputs inputs --lanes 4 --output out --seed SEED", same_recording),
    "growth.npz": (f"dynamics growth {OF_MODEL} {PLANE} 4 --base_seed SEED", same_numbers),
    "pictures/final_tensors/a.png": ("image --tensor-path SEED/a.pt --output-base-dir pictures", same_bytes),
}
"""Each result, what makes it, and how it is compared."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Noises, and two pictures."""
    made = tmp_path_factory.mktemp("memory")
    ds.noise.random(5, (1, 8, 8), seed=1).write(made / "inputs")
    for seed in ("1", "2"):
        (made / seed).mkdir()
        torch.save(torch.full((1, 8, 8), float(seed) - 1.5), made / seed / "a.pt")
    return made


def limited(recorder, place: Path, code: str, extra: int) -> tuple[int | None, str]:
    """Run code in a folder: its exit code and its errors; None if nothing in the process could report what failed.

    Without memory the loader of libraries and zarr's event loop can spin or wait for ever, and compiled code can fail
    without an exception. The files must bear that too.
    """
    ended, _, errors = recorder.block(place, code=LIMITED.format(code=code, extra=extra, seconds=SECONDS))
    if ended == -signal.SIGALRM or "SystemError: " in errors:
        return None, ""
    return ended, errors


def check_codes(codes: list[int | None]) -> None:
    """Check that too little memory was reported, enough sufficed, and few processes ended without a report."""
    assert {0, 2} <= set(codes) and codes.count(None) <= LOST


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but hidden files, and when a recording was made."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    hidden = {name for name in named if any(part.startswith(".") for part in name.split("/"))}
    return {name: CREATED.sub(b"", data) for name, data in named.items() if name not in hidden}


@pytest.mark.parametrize(
    ("result", "steps"),
    [
        ("out", [3]),
        ("pictures/final_tensors/a.png", [3]),
        *(pytest.param(result, range(STEPS), marks=pytest.mark.slow) for result in COMMANDS),
    ],
)
def test_a_result_survives_too_little_memory(result, steps, folder, model, recorder, tmp_path):
    line, same = COMMANDS[result]
    line = line.replace("MODEL", model).replace("record ", "record --scheduler ddpm ")
    ended = []

    def run(place: Path, seed: int, extra: int, flags: str = "") -> tuple[int | None, str]:
        words = line.replace("SEED", str(seed)) + flags
        return limited(recorder, place, COMMAND.format(words=words), extra)

    for name, seed in (("former", 1), ("new", 2)):
        shutil.copytree(folder, tmp_path / name)
        code, errors = run(tmp_path / name, seed, 2**34)
        assert code == 0, errors
    for step in steps:
        place = tmp_path / str(step)
        shutil.copytree(tmp_path / "former", place)
        code, errors = run(place, 2, limit(step), " --overwrite")
        assert "Traceback" not in errors and code in (0, 2, None), errors
        ended.append(code)
        former, new = (same(place / result, tmp_path / name / result) for name in ("former", "new"))
        assert new or (former and code != 0)
        code, errors = run(place, 2, 2**34, " --overwrite")
        assert code == 0 and same(place / result, tmp_path / "new" / result), errors
        shutil.rmtree(place)
    if len(steps) > 1:
        check_codes(ended)


@pytest.mark.slow
@pytest.mark.parametrize("result", ["out.zarr", "out"])
def test_a_recording_is_resumed_to_the_bytes_of_an_unbroken_run_after_too_little_memory(
    result, folder, model, recorder, tmp_path
):
    options = "record --scheduler ddpm --batch_size 4 "
    line = COMMANDS[result][0].replace("MODEL", model).replace("record ", options)
    record = COMMAND.format(words=line.replace("SEED", "1"))
    resume = COMMAND.format(words=line.replace("SEED", "1") + " --resume")
    for name in ("whole", "half"):
        shutil.copytree(folder, tmp_path / name)
    code, printed, errors = recorder.block(tmp_path / "whole", code=INTERRUPTED.format(code=record, last=-1))
    assert code == 0, errors
    last = int(printed.rpartition("calls ")[2])
    code, _, errors = recorder.block(tmp_path / "half", code=INTERRUPTED.format(code=record, last=last))
    assert code == 130, errors
    before = ds.open(tmp_path / "half" / result)
    assert before.dataset["complete"].sum() == 4
    ended, whole = [], contents(tmp_path / "whole" / result)
    for step in range(STEPS):
        place = tmp_path / str(step)
        shutil.copytree(tmp_path / "half", place)
        code, errors = limited(recorder, place, resume, limit(step))
        assert "Traceback" not in errors and code in (0, 2, None), errors
        ended.append(code)
        assert code != 0 or contents(place / result) == whole
        assert ds.open(place / result).dataset["complete"].sum() >= 4
        code, errors = limited(recorder, place, resume, 2**34)
        assert code == 0 and contents(place / result) == whole, errors
        shutil.rmtree(place)
    check_codes(ended)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["safetensors", "npz", "pt"])
def test_an_export_is_whole_or_can_be_repeated_after_too_little_memory(
    format, folder, model, recorder, tmp_path
):
    line = COMMANDS["out.zarr"][0].replace("MODEL", model).replace("record ", "record --scheduler ddpm ")
    shutil.copytree(folder, tmp_path / "whole")
    export, codes = EXPORT.format(format=format), []
    for code in (COMMAND.format(words=line.replace("SEED", "1")), export):
        ended, errors = limited(recorder, tmp_path / "whole", code, 2**34)
        assert ended == 0, errors
    whole = contents(tmp_path / "whole" / "exported")
    for step in range(STEPS):
        place = tmp_path / str(step)
        shutil.copytree(tmp_path / "whole", place)
        shutil.rmtree(place / "exported")
        code, errors = limited(recorder, place, export, limit(step))
        assert code in (0, 2, None), errors
        codes.append(code)
        found = contents(place / "exported")
        assert found == whole or (code != 0 and found.items() <= whole.items()), (
            "a file that has its name is whole"
        )
        code, errors = (code, errors) if code == 0 else limited(recorder, place, export, 2**34)
        assert code == 0 and contents(place / "exported") == whole, errors
        shutil.rmtree(place)
    check_codes(codes)
