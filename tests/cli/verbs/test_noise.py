"""`denoscope noise …`: the files of noises."""

import pytest
import torch
from command_line import call, load, names, snapshot
from scipy import stats

import denoscope as ds


@pytest.mark.parametrize("flag", ["--num_samples", "--num-samples"])
def test_random_noises_are_written(flag):
    call(f"noise random {flag} 4 --seed 7")
    assert names("inputs") == [f"noise_{k:04d}.pt" for k in range(4)]
    for k in range(4):
        noise = load(f"inputs/noise_{k:04d}.pt")
        assert torch.equal(noise[0], ds.noise.random(4, (1, 28, 28), seed=7).tensor(k))
        assert noise.shape == (1, 1, 28, 28) and noise.dtype == torch.float32


@pytest.mark.parametrize(
    ("count", "written"),
    [
        (1, "1 tensor [1, 1, 8, 8] in inputs: noise_0000.pt"),
        (3, "3 tensors [1, 1, 8, 8] in inputs: noise_0000.pt … noise_0002.pt"),
    ],
)
def test_the_files_are_printed(capsys, model, count, written):
    call(f"noise random --num_samples {count} --model {model}")
    assert capsys.readouterr().out == f"{written}\n"


def test_perturbed_noises_are_written():
    call("noise perturbed --num_perturbations 2 --epsilon 500 --base-seed 3 --perturb_seed 4")
    assert names("inputs") == [
        "set_0003_base.pt",
        "set_0003_pert_000_eps_500.0000.pt",
        "set_0003_pert_001_eps_500.0000.pt",
    ]
    base = load("inputs/set_0003_base.pt").double()
    for name in names("inputs", "*pert*"):
        assert (load(f"inputs/{name}").double() - base).norm().item() == pytest.approx(500, rel=1e-6)


def test_a_plane_of_noises_is_written():
    call(
        "noise plane --num_prompts_per_direction 2 3 --center-coords 2000.0 -1500.0 "
        "--len_per_direction 10 20 --direction_seeds 1 2 --base_seed 5"
    )
    assert names("inputs") == [f"plane_0005_1_2_x{i:03d}_y{j:03d}.pt" for i in range(2) for j in range(3)]
    assert names("inputs", "*.json") == ["plane_0005_1_2.json"]
    x = ds.noise.read("inputs")
    assert x.coords["u"].tolist() == [1995.0] * 3 + [2005.0] * 3
    assert x.coords["v"].tolist() == [-1510.0, -1500.0, -1490.0] * 2


def test_a_plane_is_flat_or_spherical(capsys, refused):
    line = "noise plane --num_prompts_per_direction 3 3 --len_per_direction 40 40"
    for geometry in ("flat", "spherical"):
        call(f"{line} --geometry {geometry} --inputs {geometry}")
        shown = capsys.readouterr().err
        x, wanted = (
            ds.noise.read(geometry),
            ds.noise.plane((3, 3), (1, 28, 28), lengths=(40.0, 40.0), geometry=geometry),
        )
        assert torch.equal(x.batch(range(9)), wanted.batch(range(9)))
        norms = x.batch(range(9)).double().flatten(1).norm(dim=1)
        if geometry == "flat":
            beyond = norms.max().item() - stats.chi(784).ppf(1 - 1e-6)
            assert shown.count("norms") == 1 and f"{beyond:.4g}" in shown and "--geometry spherical" in shown
        else:
            assert norms.max() - norms.min() < 1e-4 and not shown
    call(f"{line} --inputs default -q")
    assert torch.equal(ds.noise.read("default").tensor(0), ds.noise.read("flat").tensor(0))
    refused(
        f"{line} --geometry spherical --len_per_direction 500 3 --inputs new", "--len_per_direction is", "180"
    )


def test_a_plane_without_lengths_is_as_long_as_its_geometry_allows():
    line = "noise plane --num_prompts_per_direction 2 2 -q"
    call(f"{line} --inputs flat")
    call(f"{line} --geometry spherical --inputs spherical")
    assert ds.noise.read("flat").coords["u"].tolist() == [-1000.0, -1000.0, 1000.0, 1000.0]
    assert ds.noise.read("flat").coords["v"].tolist() == [-1500.0, 1500.0] * 2
    sphere = ds.noise.read("spherical")
    circumference = 2 * torch.pi * sphere.tensor(0).double().norm().item()
    for axis in ("u", "v"):
        assert sphere.coords[axis].max() - sphere.coords[axis].min() == pytest.approx(
            circumference / 3, rel=1e-6
        )


def test_noises_have_the_shape_of_the_model(model, refused):
    call(f"noise random --model {model} --num_samples 1")
    assert load("inputs/noise_0000.pt").shape == (1, 1, 8, 8)
    call(f"noise random --model {model} --num_samples 1 --image_size 8 --channels 1")
    refused(f"noise random --model {model} --image_size 9", "--image_size is 9", "allowed: 8")
    refused(f"noise plane --model {model} --channels 3", "--channels is 3", "allowed: 1")


def test_noises_are_replaced_with_overwrite_only(here, refused):
    call("noise random --num_samples 3")
    call("noise random --num_samples 3")
    before = snapshot(here)
    refused("noise random --num_samples 2", "inputs/noise", "--overwrite")
    refused("noise random --num_samples 3 --seed 5", "inputs/noise", "--overwrite")
    assert snapshot(here) == before
    call("noise plane --num_prompts_per_direction 2 1")
    call("noise random --num_samples 2 --seed 5 --overwrite")
    assert names("inputs", "noise_*") == ["noise_0000.pt", "noise_0001.pt"] and len(names("inputs")) == 4
    (here / "mine").mkdir()
    (here / "mine" / "noise_0001.pt").write_text("mine")
    refused("noise random --num_samples 2 --inputs mine", "mine/noise_0001.pt exists", "--overwrite")
    assert names("mine", "*") == ["noise_0001.pt"]
