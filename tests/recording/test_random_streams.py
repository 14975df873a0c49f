"""Recordings name their random streams, and are resumed and recomputed from the same streams."""

import numpy as np
import pytest
import torch
from jittering import jittering
from outputs import SAMPLED_OUTPUTS

import denoscope as ds
from denoscope.config import InferenceConfig
from denoscope.foundation.random_streams import generator
from denoscope.recording import verify
from denoscope.recording.job import Job

STEPS, COUNT = 3, 5
OPTIONS = {"lanes": 2, "batch_size": 2}


@pytest.fixture(scope="module")
def small(make_small_unet, make_scheduler):
    """A small denoiser with DDPM."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddpm"), device="cpu")


@pytest.fixture
def x(small):
    return ds.noise.random(COUNT, small.shape, seed=1)


def record(denoiser, x, out, **options):
    return ds.record(denoiser, x, out, steps=STEPS, layers=["conv_in"], noise_seed=7, **OPTIONS, **options)


def record_with_streams_1(denoiser, x, out, **options):
    """A recording with the draws of denoscope 0.1."""
    chosen = InferenceConfig(num_steps=STEPS, layers=("conv_in",), **OPTIONS, **options)
    Job.prepared(denoiser, x, out, chosen, 7, streams=1).run()
    return ds.open(out)


@pytest.mark.parametrize(
    ("scheduler", "do", "streams"),
    [("ddim", None, None), ("ddpm", None, 2), ("ddim", "scale", None), ("ddim", "noise", 2)],
)
def test_the_version_stands_where_it_decides_bits(
    make_small_unet, make_scheduler, x, tmp_path, scheduler, do, streams
):
    denoiser = ds.load(make_small_unet(), scheduler=make_scheduler(scheduler), device="cpu")
    interventions = [ds.Intervention("conv_in", do, 0.5)] if do else []
    rec = record(denoiser, x, tmp_path / "a.zarr", interventions=interventions)
    assert rec.attrs.get("streams") == rec.attrs["fingerprint"].get("streams") == streams
    assert verify.store(tmp_path / "a.zarr", recompute=2, source=denoiser.network).sound


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_streams_1_are_the_draws_of_denoscope_0_1(small, x, tmp_path, monkeypatch, noise):
    rec = record_with_streams_1(small, x, tmp_path / "a.zarr", noise=noise)
    names = rec.dataset["sample"].to_numpy().tolist()

    def drawn(purpose, seed, index, *, name, version):
        assert (purpose, version) == ("step noise", 2)
        return generator(f"step noise of {name}" if noise == "independent" else "step noise", seed, index)

    monkeypatch.setattr("denoscope.foundation.random_streams.stream", drawn)
    truth = ds.sample(
        small, x.batch(range(COUNT)), steps=STEPS, lanes=2, noise=noise, names=names, noise_seed=7
    )
    assert torch.equal(torch.from_numpy(rec.final.to_numpy()), truth)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_half_finished_recording_of_streams_1_is_resumed_with_them(small, x, tmp_path, dies_at, out):
    whole = record_with_streams_1(small, x, tmp_path / "whole" / out)
    dies_at(small.network, 1 + STEPS + 1)
    with pytest.raises(RuntimeError, match="on purpose"):
        record_with_streams_1(small, x, tmp_path / out)
    assert ds.open(tmp_path / out).dataset["complete"].to_numpy().sum() == 2
    rec = record(small, x, tmp_path / out, resume=True)
    assert np.array_equal(rec.sequence, whole.sequence) and rec.dataset["complete"].all()
    assert "streams" not in rec.attrs
    report = verify.store(tmp_path / out, recompute=COUNT, source=small.network)
    assert report.sound and not report.notes
    assert not np.array_equal(record(small, x, tmp_path / out, overwrite=True).final, whole.final)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_resume_under_a_scheduler_of_the_callers_draws_as_the_unbroken_run(
    make_small_unet, x, tmp_path, dies_at, out
):
    denoiser = ds.load(make_small_unet(), scheduler=jittering(), device="cpu")
    whole = record(denoiser, x, tmp_path / "whole" / out)
    dies_at(denoiser.network, 1 + STEPS + 1)
    with pytest.raises(RuntimeError, match="on purpose"):
        record(denoiser, x, tmp_path / out)
    assert ds.open(tmp_path / out).dataset["complete"].to_numpy().sum() == 2
    rec = record(denoiser, x, tmp_path / out, resume=True)
    assert np.array_equal(rec.sequence, whole.sequence) and rec.dataset["complete"].all()
    assert denoiser.is_stochastic and rec.attrs["fingerprint"]["streams"] == 2


def test_the_noise_floor_under_a_scheduler_of_the_callers_compares_lane_counts_alone(make_unet):
    denoiser = ds.load(make_unet(), scheduler=jittering(), device="cpu")
    floor = verify.precision(denoiser, steps=2, layers=None, lanes=2, samples=2)
    assert floor.between_precisions is None and floor.between_lane_counts < 1e-4
