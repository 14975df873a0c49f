"""The files that measures write, files they never replace, and the message that says where interrupted work is saved."""

import signal

import pytest
from command_line import call, snapshot

import denoscope as ds


@pytest.fixture
def measures(model, inputs, copied, plane) -> dict[str, list[str]]:  # noqa: ARG001
    """The line of each measure, and the files that it writes."""
    copied("pairs.zarr")
    of_model = f"--model {model} --device cpu --num_steps 1"
    small = "--num_prompts_per_direction 2 1 --len_per_direction 8 4"
    return {
        f"dynamics spectrum {of_model} --k 2 --vectors vectors": [
            "spectrum.json",
            "spectrum.kept/noise_0000.npz",
            "vectors/noise_0000.pt",
        ],
        "dynamics divergence run.zarr": ["divergence.npz", "divergence.png"],
        f"dynamics growth {of_model} {small} --picture ridges.svg": ["growth.npz", "ridges.svg"],
        f"dynamics lyapunov {of_model} --level 1 --iterations 40 --discard 0 --k 1": [
            "lyapunov.json",
            "lyapunov.npz",
        ],
        "dynamics geometry run.zarr": ["geometry.json", "geometry.png"],
        "dynamics basins plane.pt": ["basins.json"],
        "dynamics verdict plane.pt": ["verdict.json"],
    }


@pytest.mark.slow
def test_a_file_is_replaced_with_overwrite_only(measures, here, refused):
    for line, files in measures.items():
        for name in files:
            (here / name).parent.mkdir(exist_ok=True)
            (here / name).write_bytes(b"mine")
            message = refused(line, f"{name} exists", "--overwrite")
            if "--num_steps" in line and "--resume" not in message:
                refused(f"{line} --resume", name, "--overwrite")
            assert (here / name).read_bytes() == b"mine"
            assert not [other for other in files if other != name and (here / other).exists()]
            (here / name).unlink()
        call(line)
        assert all((here / name).exists() for name in files)
        (here / files[-1]).write_bytes(b"mine")
        call(f"{line} --overwrite")
        assert (here / files[-1]).read_bytes() != b"mine"


def test_the_noises_that_are_measured_are_never_an_output(measures, here, refused):
    before = snapshot(here)
    line = f"{next(iter(measures))} --overwrite --vectors {here}/inputs/../inputs"
    refused(line, "--vectors is", "inputs/*.pt")
    assert snapshot(here) == before


def test_an_output_that_cannot_be_written_is_refused_before_the_measurement(measures, here, refused):
    (here / "file").write_text("")
    (here / "folder.json").mkdir()
    before = snapshot(here)
    spectrum, divergence, growth, lyapunov, *_ = measures
    for line, problem in (
        (f"{spectrum} --vectors /proc/v", "cannot write /proc/v/*.pt"),
        (f"{spectrum} --output file/s.json", "--output is file/s.json: Not a directory"),
        (f"{divergence} --picture file/p.png", "--picture is file/p.png: Not a directory"),
        (f"{growth} --output file/g.npz", "--output is file/g.npz: Not a directory"),
        (f"{lyapunov} --checkpoint file/l.npz", "--checkpoint is file/l.npz: Not a directory"),
    ):
        refused(line, problem)
    for flags in ("", "--overwrite"):
        refused(
            f"{lyapunov} --output folder.json {flags}",
            "--output is folder.json, which is a folder; name a file",
        )
    for line, allowed in ((spectrum, ".json"), (growth, ".npz"), (lyapunov, ".json")):
        for place in (".", "/", "inputs"):
            refused(f"{line} --output {place}", f"--output is {place};", allowed)
    refused(f"{lyapunov} --output a.json --checkpoint a.json", "--checkpoint is a.json", ".npz")
    assert snapshot(here) == before


def test_a_measure_that_is_refused_by_the_model_leaves_earlier_results(measures, here, refused):
    lines = [line for line in measures if "--num_steps" in line]
    before = snapshot(here)
    for line in lines:
        refused(line.replace("--num_steps 1", "--num_steps 1001"), "--num_steps is 1001", "1 to 1000")
    assert snapshot(here) == before
    for name in (name for line in lines for name in measures[line]):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(b"mine")
    before = snapshot(here)
    for line in lines:
        refused(line.replace("--num_steps 1", "--num_steps 1001") + " --overwrite", "--num_steps is 1001")
    assert snapshot(here) == before


@pytest.mark.parametrize(
    ("measure", "held_at", "saved_in"),
    [
        pytest.param("spectrum --samples 2 --k 2", 24, "spectrum.kept/*.npz", marks=pytest.mark.slow),
        pytest.param(
            "growth --batch_size 1 --num_prompts_per_direction 5 5", 15, "growth.npz", marks=pytest.mark.slow
        ),
        pytest.param(
            "lyapunov --level 1 --iterations 40 --discard 0 --k 1", 30, "lyapunov.npz", marks=pytest.mark.slow
        ),
        ("orbit --level 1 --iterations 30 --discard 0", 20, "orbit.npz"),
    ],
)
def test_ctrl_c_prints_where_the_work_is_saved(small_model, recorder, here, measure, held_at, saved_in):
    ds.noise.random(2, (1, 8, 8), seed=1).write(here / "inputs")
    words = f"dynamics {measure} --model {small_model} --device cpu --num_steps 1".split()
    running = recorder.start(*words, holds_at=[held_at])
    running.until(f"call {held_at}\n")
    running.send(signal.SIGINT)
    assert running.wait() == 130
    last = running.output.splitlines()[-1]
    assert saved_in in last and "--resume" in last and "Traceback" not in running.output
    resumed = recorder.run(*words, "--resume")
    assert resumed.code == 0, resumed.output
