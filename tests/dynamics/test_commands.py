"""The commands of the measures: what they print and write, and one line for every mistake."""

import json

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope import cli, dynamics


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, line: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    assert caught.value.code == 2
    (told,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    return told


def test_spectrum_writes_the_exponents_of_the_first_noises(model, here, capsys):
    x = ds.noise.random(3, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    cli.main(f"dynamics spectrum --model {model} --samples 2 --k 3 --num_steps 2 --device cpu".split())
    written = json.loads((here / "spectrum.json").read_text())
    denoiser = ds.load(model, device="cpu")
    assert list(written) == ["noise_0000", "noise_0001"]
    for index, (name, found) in enumerate(written.items()):
        expected = dynamics.spectrum(denoiser, x.batch([index]), 3, steps=2, name=name)
        np.testing.assert_allclose(found["exponents"], expected.exponents, atol=1e-6)
        assert found["origin"]["fingerprint"]["num_steps"] == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["noise_0000", "noise_0001", "spectrum.json"]


def test_divergence_prints_each_pair_and_draws(tiny, here, capsys):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    ds.record(tiny, x, here / "run.zarr", steps=3, layers=["conv_in", "mid_block"])
    cli.main(["dynamics", "divergence", "run.zarr", "--output", "curves.pdf", "--threshold", "1.5"])
    told = capsys.readouterr()
    pairs = [line for line in told.out.splitlines() if line.startswith("set_0042_pert_")]
    assert len(pairs) == 2 and all("per step" in line and "diverged" in line for line in pairs)
    assert "no noise floor was measured" in told.err and (here / "curves.pdf").read_bytes()[:4] == b"%PDF"


def test_verdict_says_what_a_plane_shows(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(90), torch.arange(90), indexing="ij")
    torch.save((rows + 2 * columns > 130).long(), here / "plane.pt")
    cli.main(["dynamics", "verdict", "plane.pt"])
    assert capsys.readouterr().out.startswith("smooth: ")


def test_mistakes_are_one_line(model, tiny, here, capsys):
    ds.noise.random(1, (1, 8, 8)).write(here / "inputs")
    ds.record(tiny, ds.noise.random(1, tiny.shape), here / "random.zarr", steps=1)
    torch.save(torch.zeros(30, 30).long(), here / "one.pt")
    spectrum = f"dynamics spectrum --model {model} --num_steps 2 --device cpu"
    assert "--samples is 2; allowed: 1 to 1" in refused(capsys, f"{spectrum} --samples 2")
    assert "--k is 0; allowed: a whole number of at least 1" in refused(capsys, f"{spectrum} --k 0")
    assert "k is 65; allowed: 1 to 64" in refused(capsys, f"{spectrum} --k 65")
    assert "holds no perturbed noises" in refused(capsys, "dynamics divergence random.zarr")
    assert "no such recording" in refused(capsys, "dynamics divergence none.zarr")
    assert "labels hold 1 classes" in refused(capsys, "dynamics verdict one.pt")
    assert not (here / "spectrum.json").exists() and not (here / "divergence.png").exists()
