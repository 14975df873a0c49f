"""`denoscope dynamics` on recordings: divergence, sweep, commitment, geometry, U-turns, similarity, distances."""

import json

import numpy as np
import pytest
import torch
from command_line import call

import denoscope as ds
from denoscope import dynamics
from denoscope.foundation import checkpoint


def read(path) -> dict:
    return json.loads(path.read_text())


def test_divergence_prints_each_pair_and_draws(copied, here, capsys):
    path = copied("pairs.zarr")
    call("dynamics divergence run.zarr --picture curves.pdf --threshold 1.5")
    printed = capsys.readouterr()
    pairs = [line for line in printed.out.splitlines() if line.startswith("set_0042_pert_")]
    assert len(pairs) == 5 and all("per step" in line and "diverged" in line for line in pairs)
    assert printed.err.count("no noise floor") == 1 and (here / "curves.pdf").read_bytes()[:4] == b"%PDF"
    expected = dynamics.divergence(ds.open(path), threshold=1.5)
    written = checkpoint.read(here / "divergence.npz")
    assert set(written) == set(expected)
    assert all(np.array_equal(written[name], expected[name], equal_nan=True) for name in expected)


def test_commitment_of_a_recording(copied, here, capsys):
    rec = ds.open(copied("digits.zarr"))
    call("dynamics commitment run.zarr --device cpu")
    expected = dynamics.commitment(rec)
    assert checkpoint.read(here / "commitment.npz").drop_attrs().identical(expected.drop_attrs())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:4]] == ["0", "1", "2", "3"]
    assert lines[3].split()[5] == f"{float(expected['decided'][3]):.1%}"
    assert lines[4:] == ["commitment.npz", "commitment.png"]


def test_geometry_of_a_recording(copied, here, capsys):
    rec = ds.open(copied("digits.zarr"))
    call("dynamics geometry run.zarr")
    written, path = read(here / "geometry.json"), dynamics.path_geometry(rec.sequence.to_numpy())
    assert written["path"]["lengths"] == path.lengths.tolist()
    origin = written["computed_from"]
    assert origin["recording"] == "run.zarr" and origin["fingerprint"] == rec.attrs["fingerprint"]
    printed = capsys.readouterr()
    assert printed.out.startswith(f"length {np.median(path.lengths):.4g}") and "6 samples" in printed.err
    assert (here / "geometry.png").stat().st_size > 1000


def test_u_turn_noises_the_images_of_a_recording(copied, digits, here, capsys):
    rec = ds.open(copied("digits.zarr"))
    line = "dynamics u_turn run.zarr --draws 2 --device cpu --samples 2"
    call(f"{line} --output each_step.npz")
    assert checkpoint.read(here / "each_step.npz")["level"].to_numpy().tolist() == [0.25, 0.5, 0.75, 1]
    capsys.readouterr()
    call(f"{line} --levels 0.25 1")
    images = torch.from_numpy(rec.final[:2].to_numpy())
    expected = dynamics.u_turn(digits, images, (0.25, 1.0), draws=2, steps=4, seed=42)
    np.testing.assert_array_equal(checkpoint.read(here / "u_turn.npz")["same"], expected["same"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["0.25", "1.00"]
    assert lines[2:] == ["u_turn.npz", "u_turn.png"]


def test_sweep_of_epsilons_is_that_of_the_library(digits, here, capsys):
    for epsilon in (0.003, 0.01, 0.03, 10):
        ds.noise.perturbed(3, digits.shape, epsilon=epsilon).write(here / "inputs")
    rec = ds.record(digits, ds.noise.read(here / "inputs"), here / "run.zarr", steps=3, layers=["conv_in"])
    call("dynamics sweep run.zarr")
    expected = dynamics.epsilon_sweep(dynamics.divergence(rec))
    assert read(here / "sweep.json")["growth"] == expected.growth.tolist()
    lines = capsys.readouterr().out.splitlines()
    assert expected.linear.tolist() == [True, True, True, False]
    assert [line.endswith("linear") for line in lines[:4]] == [True, True, True, False]
    assert lines[4:] == ["sweep.json", "sweep.png"]


def test_similarity_compares_layers_and_steps(copied, here, capsys):
    rec = ds.open(copied("digits.zarr"))
    call("dynamics similarity run.zarr --steps 0 -1")
    written = read(here / "similarity.json")
    assert written["sets"] == ["conv_in, step 0", "conv_in, step 3", "mid_block, step 0", "mid_block, step 3"]
    states = [rec.states[layer][:, step].to_numpy() for layer in ("conv_in", "mid_block") for step in (0, 3)]
    assert written["debiased"] == dynamics.cka_matrix(states).debiased.tolist()
    origin = written["computed_from"]
    assert origin["recording"] == "run.zarr" and origin["fingerprint"] == rec.attrs["fingerprint"]
    assert "conv_in, step 0  most like " in capsys.readouterr().out and (here / "similarity.png").exists()


@pytest.mark.parametrize(
    "metric",
    [
        "dtw",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("euclidean", "cosine", "frechet", "hausdorff")
        ),
    ],
)
def test_distances_print_the_nearest_trajectory(recordings, here, capsys, metric):
    path = recordings / "pairs.zarr"
    call(f"dynamics distances {path} --metric {metric}")
    rec = ds.open(path)
    expected = dynamics.trajectory_distances(rec.sequence.to_numpy(), metric=metric).values
    written = read(here / "distances.json")
    assert written["values"] == expected.tolist()
    assert written["computed_from"]["fingerprint"] == rec.origin["fingerprint"]
    samples, nearest = written["samples"], (expected + np.diag([np.inf] * 6)).argmin(1)
    assert capsys.readouterr().out.splitlines() == [
        *(f"{samples[k]}  nearest {samples[j]}: {expected[k, j]:.4g} ({metric})" for k, j in enumerate(nearest)),
        "distances.json",
        "distances.png",
    ]  # fmt: skip


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_a_damaged_recording_is_refused_in_one_line(digits, here, refused, capsys, out):
    x = ds.noise.perturbed(2, digits.shape, epsilon=1.0)
    ds.record(digits, x, here / out, steps=2, layers=["conv_in"])
    files = (here / out / ("sequence" if out == "run.zarr" else "sequences")).rglob("*")
    damaged = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    for measure in ("divergence", "geometry", "commitment --device cpu", "u_turn --levels 1 --device cpu"):
        fragments = ("sequence", f"`denoscope verify store {out}`", "--resume")
        refused(f"dynamics {measure} {out}", f"{out} is damaged", *fragments)
    with pytest.raises(ds.UserError, match="cannot be read"):
        ds.open(here / out).final.to_numpy()
    with pytest.raises(SystemExit) as caught:
        call(f"verify store {out}")
    assert caught.value.code == 1 and damaged.name in capsys.readouterr().out


def test_an_unfinished_recording_is_refused_until_it_is_resumed(digits, here, refused, recorder):
    ds.noise.random(8, digits.shape).write(here / "inputs")
    line = "record --model digits --inputs inputs --output run.zarr --num_steps 2 --batch_size 4 --lanes 4 --device cpu"
    running = recorder.run(*line.split(), dies_at=150)
    assert running.code != 0 and not ds.open(here / "run.zarr").dataset["complete"].all()
    for measure in ("geometry", "u_turn --levels 1 --device cpu", "commitment --device cpu"):
        refused(f"dynamics {measure} run.zarr", "run.zarr is not finished", "--resume")
    assert recorder.run(*line.split(), "--resume").code == 0
    call("dynamics geometry run.zarr")
