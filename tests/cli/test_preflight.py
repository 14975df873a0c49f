"""Mistakes that are refused before PyTorch is imported."""

import subprocess
import sys

import pytest

from denoscope.cli.command import main

MISTAKES = {
    "record --inputs nowhere": "--inputs is nowhere",
    "record --inputs hollow": "--inputs is hollow",
    "record --inputs full --model mnits": "--model is 'mnits'; did you mean mnist?",
    "record --inputs full --model hollow": "no config.json in hollow",
    "record --num_stesp 3": "--num_stesp; did you mean --num_steps?",
    "record --inputs full --intervene none.json": "--intervene is none.json",
    "record --threads 0": "--threads is 0; allowed: an integer from 1 to 1024",
    "record --inputs full --output old.zarr": "old.zarr already holds a recording; resume it (--resume), replace it (--overwrite)",
    "record --resume --overwrite": "--resume and --overwrite",
    "dynamics growth --output taken.npz": "taken.npz exists",
    "dynamics local_expansion --inputs full --output taken.json": "taken.json exists",
    "dynamics spectrum --inputs full --output taken.json": "taken.json exists",
    "dynamics growth --output growth.pdf": "--output is growth.pdf; allowed: a name that ends in .npz",
    "dynamics lyapunov --inputs full --checkpoint taken.npz": "taken.npz exists",
    "dynamics verdict plane.pt --output taken.json": "taken.json exists",
    "classify --classifier_weights none": "--classifier_weights is none",
    "compare --folder nowhere": "--folder is nowhere",
    "image --folder_path nowhere": "nowhere",
    "noise random --model mnits": "--model is 'mnits'",
    "noise plane --direction_seeds 5 5": "--direction_seeds is 5 5",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("hollow", "full", "old.zarr"):
        (tmp_path / folder).mkdir()
    (tmp_path / "old.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "full" / "noise.pt").write_bytes(b"")
    for name in ("taken.npz", "taken.json"):
        (tmp_path / name).write_bytes(b"mine")
    return tmp_path


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_flag(capsys, line):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    (message,) = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and message.startswith("error: ") and MISTAKES[line] in message


def test_none_of_them_imports_pytorch():
    code = f"""
import sys
from denoscope.cli.command import main
for line in {list(MISTAKES)!r}:
    try:
        main(line.split())
    except SystemExit as stop:
        assert stop.code == 2, line
    assert not {{"torch", "diffusers"}} & sys.modules.keys(), line
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_each_format_has_its_manifest(tiny, tmp_path, out):
    """The names that the preflight checks repeat are those that the storage writes."""
    import json

    import denoscope as ds
    from denoscope.cli.preflight import MANIFESTS

    ds.record(tiny, ds.noise.random(1, tiny.shape), tmp_path / out, steps=1)
    (found,) = [name for name in MANIFESTS if (tmp_path / out / name).is_file()]
    assert (
        json.loads((tmp_path / out / found).read_text())[MANIFESTS[found]]["format"] == "denoscope recording"
    )
