"""Commands under ever lower memory limits: the former result reads as before, or the new one is complete."""

import shutil
from pathlib import Path

import pytest
import torch

import denoscope as ds
from denoscope.foundation import checkpoint

STEPS = 20
LIMITED = """
import resource
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {extra}, resource.RLIM_INFINITY))
from denoscope.cli import command
command.main({words!r}.split())
"""
"""A command that may take `extra` bytes of address space beyond what its process has."""


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
    ended = set()

    def run(place: Path, seed: int, extra: int, flags: str = "") -> tuple[int, str]:
        words = line.replace("SEED", str(seed)) + flags
        code, _, said = recorder.block(place, code=LIMITED.format(words=words, extra=extra))
        return code, said

    for name, seed in (("former", 1), ("new", 2)):
        shutil.copytree(folder, tmp_path / name)
        code, said = run(tmp_path / name, seed, 2**34)
        assert code == 0, said
    for step in steps:
        place = tmp_path / str(step)
        shutil.copytree(tmp_path / "former", place)
        code, said = run(place, 2, step * 2**24, " --overwrite")
        assert "Traceback" not in said and code in (0, 2), said
        ended.add(code)
        former, new = (same(place / result, tmp_path / name / result) for name in ("former", "new"))
        assert new or (former and code)
        code, said = run(place, 2, 2**34, " --overwrite")
        assert code == 0 and same(place / result, tmp_path / "new" / result), said
        shutil.rmtree(place)
    assert len(steps) == 1 or ended == {0, 2}
