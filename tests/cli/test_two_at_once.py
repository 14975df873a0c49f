"""Every command that writes, started again on the same output while the first one is about to write."""

import contextvars
import os
import shutil
from pathlib import Path

import pytest
from command_line import call

import denoscope as ds
from denoscope.cli import command, registry

READERS = {"layers", "compare", "verify determinism", "verify store", "selfcheck", "status", "cluster check"}
"""Commands that write nothing."""
PLANE = "--num_prompts_per_direction 2 1 --len_per_direction 8 4"
LINES = {
    "noise random": "--num_samples 2 --inputs new",
    "noise perturbed": "--num_perturbations 1",
    "noise plane": "--num_prompts_per_direction 2 1",
    "record": "OF_MODEL --lanes 4 --output out.zarr",
    "patch": "run.zarr run.zarr --steps 0 --layers mid_block",
    "basins map": f"--device cpu --num_steps 1 {PLANE}",
    "basins zoom": f"--device cpu --num_steps 1 --levels 1 {PLANE.replace('2 1', '25 25')}",
    "dynamics spectrum": "OF_MODEL --k 2 --vectors vectors",
    "dynamics full_spectrum": "OF_MODEL --dtype float64 --clip_sample False",
    "dynamics local_expansion": "OF_MODEL --k 2",
    "dynamics growth": f"OF_MODEL {PLANE}",
    "dynamics divergence": "pairs.zarr",
    "dynamics sweep": "several.zarr",
    "dynamics lyapunov": "OF_MODEL --level 1 --iterations 40 --discard 0 --k 1",
    "dynamics orbit": "OF_MODEL --level 1 --iterations 30 --discard 0",
    "dynamics orbit_diagram": "OF_MODEL --iterations 4 --discard 2 --levels 1",
    "dynamics basins": "plane.pt",
    "dynamics uncertainty": "--device cpu --num_steps 1 --points 12 --epsilons 3 10 30 --seed 2",
    "dynamics verdict": "plane.pt",
    "dynamics commitment": "run.zarr --device cpu",
    "dynamics u_turn": "run.zarr --draws 2 --device cpu --samples 2",
    "dynamics similarity": "run.zarr --steps 0 -1",
    "dynamics distances": "run.zarr",
    "dynamics geometry": "run.zarr",
    "image": "--folder-path run_final/final_tensors",
    "plot": "run.zarr",
    "classify": "--tensors run_final",
    "verify precision": "--path run.zarr --device cpu",
    "report": "run.zarr",
    "pipeline": f"--device cpu --num_steps 1 --lanes 4 {PLANE}",
    "explore": "digits --device cpu --export view.html --view #model=digits&steps=1&level=0 --cache points.db",
}
BY_DEFAULT = (
    "noise random",
    "record",
    "dynamics growth",
    "image",
    "explore",
)


def test_every_command_that_writes_is_here():
    assert set(LINES) | READERS == set(registry.VERBS)


@pytest.fixture(scope="module")
def several(tiny, tmp_path_factory) -> Path:
    """A recording of pairs at three distances."""
    folder = tmp_path_factory.mktemp("several")
    for epsilon in (0.1, 1.0, 10.0):
        ds.noise.perturbed(1, tiny.shape, epsilon=epsilon).write(folder / "inputs")
    ds.record(tiny, ds.noise.read(folder / "inputs"), folder / "several.zarr", steps=1)
    return folder / "several.zarr"


@pytest.fixture(scope="module")
def final_images(recordings, tmp_path_factory) -> Path:
    """Final images in a folder of tensor files."""
    return ds.open(recordings / "final.zarr").export(tmp_path_factory.mktemp("final") / "run", format="pt")


@pytest.fixture
def line(small_model, inputs, copied, plane, final_images, several, here):  # noqa: ARG001
    """The words of a command."""
    (here / "several.zarr").symlink_to(several)
    copied("digits.zarr")
    copied("pairs.zarr", "pairs.zarr")
    shutil.copytree(final_images, here / "run_final")

    def words(verb: str) -> str:
        return f"{verb} {LINES[verb]}".replace(
            "OF_MODEL", f"--model {small_model} --device cpu --num_steps 1"
        )

    return words


@pytest.mark.parametrize(
    "verb", [verb if verb in BY_DEFAULT else pytest.param(verb, marks=pytest.mark.slow) for verb in LINES]
)
def test_the_second_is_refused_in_one_line_and_the_first_finishes(verb, line, here, monkeypatch, capsys):
    """The first holds at its first rename; another context knows nothing of its claims, as another process would."""
    replace, ends = os.replace, []
    flags = ["", *([" --overwrite"] if verb != "verify precision" else [])]

    def second(flag: str) -> int:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            command.main(f"{line(verb)}{flag}".split())
        assert capsys.readouterr().err.count("\n") == 1
        return caught.value.code

    def hold(source, target, **options) -> None:
        monkeypatch.setattr(os, "replace", replace)
        if not ends:
            ends.extend(contextvars.Context().run(second, flag) for flag in flags)
        replace(source, target, **options)

    before = set(here.rglob("*"))
    monkeypatch.setattr(os, "replace", hold)
    call(line(verb))
    assert ends == [2] * len(flags)
    hidden = {path for path in set(here.rglob("*")) - before if path.name.startswith(".")}
    assert {path.name for path in hidden} <= {".recording"}
    assert set(here.rglob("*")) - before or verb == "verify precision"


@pytest.mark.parametrize("flags", ["", " --overwrite"])
@pytest.mark.parametrize("verb", ["dynamics geometry", pytest.param("explore", marks=pytest.mark.slow)])
def test_a_result_that_another_process_finishes_meanwhile_is_not_replaced(
    flags, verb, line, here, monkeypatch
):
    """The second has seen a free output before the first claims it, and claims it after the first has finished."""
    from denoscope.foundation.writing import claims

    claim, began = claims.claim, []

    def late(path: Path) -> None:
        if not began:
            began.append(path)
            contextvars.Context().run(call, line(verb))
        claim(path)

    monkeypatch.setattr(claims, "claim", late)
    if flags:
        call(f"{line(verb)}{flags}")
    else:
        with pytest.raises(SystemExit) as caught:
            call(line(verb))
        assert caught.value.code == 2
    assert began and any((here / name).exists() for name in ("geometry.json", "view.html"))
