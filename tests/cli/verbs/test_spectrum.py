"""`denoscope dynamics spectrum`, `full_spectrum` and `local_expansion`."""

import json
import signal

import numpy as np
import pytest
import torch
from command_line import call, load, snapshot

import denoscope as ds
from denoscope import dynamics
from denoscope.foundation import checkpoint


def read(path) -> dict:
    return json.loads(path.read_text())


def test_spectrum_writes_the_exponents_of_the_first_noises(small_model, inputs, here, capsys):
    call(f"dynamics spectrum --model {small_model} --samples 2 --k 2 --num_steps 1 --device cpu")
    written, x = read(here / "spectrum.json"), ds.noise.read(inputs)
    denoiser = ds.load(small_model, device="cpu")
    assert list(written) == ["noise_0000", "noise_0001"]
    for index, (name, result) in enumerate(written.items()):
        expected = dynamics.spectrum(denoiser, x.batch([index]), 2, steps=1, name=name)
        np.testing.assert_allclose(result["exponents"], expected.exponents, atol=1e-6)
        assert result["origin"]["fingerprint"]["num_steps"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["noise_0000", "noise_0001", "spectrum.json"]
    assert [line.split()[1] for line in lines[:2]] == ["exponents", "exponents"]


def test_spectrum_of_a_layer_with_its_directions(small_model, inputs, here):
    call(
        f"dynamics spectrum --model {small_model} --k 1 --num_steps 2 --device cpu --layer conv_in --layer_step 1"
        " --differences --vectors vectors"
    )
    x = ds.noise.read(inputs).batch([0])
    options = {"steps": 2, "layer": "conv_in", "step": 1, "differences": True}
    expected = dynamics.spectrum(ds.load(small_model, device="cpu"), x, 1, **options)
    written = read(here / "spectrum.json")["noise_0000"]
    assert written["exponents"] == expected.exponents.tolist()
    assert written["difference_errors"] == expected.difference_errors.tolist()
    assert torch.equal(load(here / "vectors" / "noise_0000.pt"), expected.right)


@pytest.mark.slow
@pytest.mark.usefixtures("inputs")
def test_spectrum_resumes_after_a_kill(model, recorder, here, refused):
    line = f"dynamics spectrum --model {model} --k 2 --num_steps 1 --device cpu --output"
    words = line.split()
    whole = recorder.run(*words, "whole.json", "--samples", 2, "--vectors", "whole")
    assert whole.code == 0, whole.output
    # Each noise takes 16 calls of the network: the process is killed during the second noise.
    running = recorder.start(*words, "spectrum.json", "--samples", 2, holds_at=[24])
    running.until("call 24\n")
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert list(read(here / "spectrum.json")) == ["noise_0000"]
    unfinished = int(checkpoint.read(here / "spectrum.kept" / "noise_0001.npz")["iterations"])
    finished = int(checkpoint.read(here / "whole.kept" / "noise_0001.npz")["iterations"])
    assert 1 <= unfinished < finished

    (here / ".spectrum.json.lock").unlink()  # of the killed process; the next one would remove it
    before = snapshot(here)
    line += " spectrum.json"
    refused(line, "spectrum.json exists", "--resume", "--overwrite")
    refused(f"{line} --resume --overwrite", "--resume", "--overwrite")
    # The messages before the error say what is resumed.
    for flags, fragment in (("--num_steps 2", "num_steps: 1 → 2"), ("--k 3", "k: 2 → 3")):
        other = recorder.run(*line.split(), "--resume", *flags.split())
        assert other.code == 2 and fragment in other.output and "Traceback" not in other.output
    assert snapshot(here) == before

    resumed = recorder.run(*line.split(), "--samples", 2, "--vectors", "vectors", "--resume", holds_at=[99])
    assert resumed.code == 0, resumed.output
    assert "call 1\n" in resumed.output and "call 24\n" not in resumed.output
    assert (here / "spectrum.json").read_bytes() == (here / "whole.json").read_bytes()
    for name in ("noise_0000", "noise_0001"):
        assert torch.equal(load(here / "vectors" / f"{name}.pt"), load(here / "whole" / f"{name}.pt"))
    call(f"{line} --samples 3 --resume")
    assert list(read(here / "spectrum.json")) == [f"noise_000{k}" for k in range(3)]

    call(f"{line} --num_steps 2 --overwrite")
    # The files of the earlier work do not block the new work.
    call(f"{line} --num_steps 2 --samples 2 --resume")
    for written in read(here / "spectrum.json").values():
        assert written["origin"]["fingerprint"]["num_steps"] == 2


@pytest.mark.usefixtures("inputs")
def test_spectrum_without_usable_checkpoints_is_not_resumed(small_model, here, refused):
    (here / "spectrum.json").write_text("{}")
    line = f"dynamics spectrum --model {small_model} --k 2 --num_steps 1 --device cpu"
    refused(line, "spectrum.json exists", "--overwrite")
    refused(f"{line} --resume", "spectrum.json", "spectrum.kept", "--overwrite")
    assert (here / "spectrum.json").read_text() == "{}"
    call(f"{line} --overwrite")
    (here / "spectrum.json").unlink()
    refused(line, "noise_0000.npz exists", "--overwrite")
    (here / "spectrum.kept" / "noise_0000.npz").write_bytes(b"half")
    refused(f"{line} --resume", "noise_0000.npz", "damaged")
    call(f"{line} --overwrite")
    assert list(read(here / "spectrum.json")) == ["noise_0000"]


def test_exponents_of_a_full_spectrum_add_up_to_its_determinant(small_model, inputs, here, capsys):
    call(
        f"dynamics full_spectrum --model {small_model} --device cpu --num_steps 2 --dtype float64 --clip_sample False"
    )
    denoiser = ds.load(small_model, device="cpu", dtype="float64", clip_sample=False)
    expected = dynamics.full_spectrum(denoiser, ds.noise.read(inputs).batch([0]), steps=2)
    np.testing.assert_allclose(read(here / "full_spectrum.json")["exponents"], expected.exponents, rtol=1e-12)
    counts, sums, _, *paths = capsys.readouterr().out.splitlines()
    assert counts.startswith(f"64 exponents, {(expected.exponents > 0).sum()} above 0")
    assert sums == f"sum {expected.exponents.sum():.10g}, ln|det| {expected.log_det:.10g}"
    assert paths == ["full_spectrum.json", "full_spectrum.png", "full_spectrum.npz"]
    assert all((here / name).exists() for name in paths)


def test_local_expansion_prints_the_rates_of_each_step(small_model, inputs, here, capsys):
    call(f"dynamics local_expansion --model {small_model} --device cpu --num_steps 3 --k 2")
    x = ds.noise.read(inputs).batch([0])
    expected = dynamics.local_expansion(ds.load(small_model, device="cpu"), x, 2, steps=3)
    written = read(here / "local_expansion.json")
    assert written["rates"] == expected.rates.tolist()
    assert written["origin"]["fingerprint"]["num_steps"] == 3
    lines = capsys.readouterr().out.splitlines()
    printed = [float(rate) for line in lines[:3] for rate in line.split()[2:]]
    assert printed == pytest.approx(expected.rates.ravel().tolist(), abs=5e-4)
    assert lines[3:] == ["local_expansion.json", "local_expansion.png"]


def test_a_folder_without_gaussian_norms_is_warned_of_once(small_model, inputs, capsys):
    line = f"--model {small_model} --device cpu --num_steps 1"
    for command in (
        f"dynamics local_expansion {line} --k 1",
        f"dynamics spectrum {line} --k 1",
        f"record {line}",
    ):
        torch.save(load(inputs / "noise_0000.pt") * 10, inputs / "noise_0000.pt")
        call(command)
        (warning,) = (text for text in capsys.readouterr().err.splitlines() if "Gaussian" in text)
        assert warning.startswith("warning: ") and "noises in inputs" in warning and "√64" in warning
