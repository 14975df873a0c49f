"""Exponents by worker processes: those of one process, whatever happens to the workers."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from worker_faults import killing, name_device_again, rename_device

import denoscope as ds
from denoscope.cli.command import main
from denoscope.cluster import connection
from denoscope.foundation.threads import threads_set_to


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with threads_set_to(1):
        yield


@pytest.fixture(scope="module")
def digits():
    """Loaded here, since other tests of this folder have a smaller network."""
    return ds.load("digits", device="cpu")


@pytest.fixture(scope="module")
def x(digits):
    return ds.noise.random(3, digits.shape, seed=2)


def same(one, other):
    return one.to_dict() == other.to_dict() and torch.equal(one.right, other.right)


OPTIONS = {"steps": 2, "k": 2, "iterations": 2}


def test_spectra_by_workers_are_those_of_one_process(digits, x, workers, tmp_path):
    alone = dict(ds.dynamics.spectra(digits, x, **OPTIONS))
    assert list(alone) == list(x.names)
    assert same(alone["noise_0001"], ds.dynamics.spectrum(digits, x[1], name="noise_0001", **OPTIONS))

    def saved(name):
        return ds.Checkpoint(tmp_path / f"{name}.npz")

    with killing(workers, tmp_path / "calls", {9, 40}) as calls:
        shared = dict(ds.dynamics.spectra(digits, x, checkpoint_of=saved, cluster=workers, **OPTIONS))
        assert calls() > 40
    assert all(same(shared[name], alone[name]) for name in x.names)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == [f"{name}.npz" for name in x.names]
    with pytest.raises(ds.UserError, match=r"noise_0000\.npz exists; resume it"):
        next(ds.dynamics.spectra(digits, x, checkpoint_of=saved, cluster=workers, **OPTIONS))


@pytest.mark.parametrize("loading", [{}, {"dtype": "float64", "clip_sample": False}])
def test_a_full_spectrum_by_workers_is_that_of_one_process(x, workers, tmp_path, loading):
    denoiser = ds.load("digits", device="cpu", **loading)
    alone = ds.dynamics.full_spectrum(denoiser, x[0], steps=2)
    out, seen = tmp_path / "product.npz", []

    def stop(finished, _total):
        seen.append(finished)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.dynamics.full_spectrum(denoiser, x[0], steps=2, checkpoint=ds.Checkpoint(out, progress=stop))
    resumed = ds.Checkpoint(out, resume=True)
    with killing(workers, tmp_path / "calls", {5}) as calls:
        for checkpoint in (None, resumed):
            shared = ds.dynamics.full_spectrum(
                denoiser, x[0], steps=2, checkpoint=checkpoint, cluster=workers
            )
            assert same(shared, alone)
        assert calls() > 8
    assert seen == [1]


def test_a_full_spectrum_names_the_device_of_its_workers(digits, x, workers):
    workers.run(rename_device)
    try:
        found = ds.dynamics.full_spectrum(digits, x[0], steps=1, cluster=workers)
    finally:
        workers.run(name_device_again)
    assert found.origin["fingerprint"]["device"] == "cpu of another kind"


def test_the_commands_take_workers(workers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext(workers))
    main(["noise", "random", "--model", "digits", "--num_samples", "2", "--inputs", "noises"])
    for verb, more in (
        ("spectrum", "--samples 2 --k 1 --vectors NAME"),
        ("full_spectrum", "--checkpoint NAME.npz"),
    ):
        line = f"dynamics {verb} --model digits --inputs noises --device cpu --num_steps 1 --output NAME.json {more}"
        main([*line.replace("NAME", f"{verb}_alone").split(), "--threads", "1"])
        shared = [*line.replace("NAME", f"{verb}_shared").split(), "--cluster", "local:2"]
        with killing(workers, tmp_path / f"{verb}_calls") as calls:
            main(shared)
            assert calls() > 4
            main([*shared, "--overwrite"])
        alone, found = (
            json.loads((tmp_path / f"{verb}_{name}.json").read_text()) for name in ("alone", "shared")
        )
        assert alone == found and list(alone) == list(found)
    for name in ("noise_0000", "noise_0001"):
        one, other = (torch.load(tmp_path / f"spectrum_{who}" / f"{name}.pt") for who in ("alone", "shared"))
        assert np.array_equal(one, other)
