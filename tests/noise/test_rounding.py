"""Noises that differ and become equal in the precision of a run are named in a warning."""

import logging

import pytest
import torch

import denoscope as ds
from denoscope.noise.coercion import as_noises

SHAPE = (2, 8, 8)


def pair(separation: float, *, dtype=torch.float64) -> torch.Tensor:
    """Two noises of float32 values, the second moved by `separation` in one pixel."""
    rows = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype).repeat(2, 1, 1, 1)
    rows[1, 0, 0, 0] = rows[0, 0, 0, 0] + separation
    return rows


def warnings_of(caplog, call) -> list[str]:
    caplog.clear()
    result = call()
    if hasattr(result, "__next__"):
        list(result)
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    "call",
    [
        lambda d, x: ds.record(d, x, steps=1, extract_states=False),
        lambda d, x: ds.sample(d, x, steps=1),
        lambda d, x: ds.denoise(d, x, steps=1),
        lambda d, x: ds.gradient(d, x, lambda x_0: x_0.sum((1, 2, 3)), steps=1),
    ],
)
def test_rows_that_become_equal_are_named_once_with_precision_and_remedy(tiny, caplog, call):
    rows = torch.cat([pair(1e-9), pair(1e-9)[1:] + 1, pair(1e-9)[1:]])
    (line,) = warnings_of(caplog, lambda: call(tiny, rows))
    assert line.startswith("noise_0000 and noise_0001 differ, but are equal in float32")
    assert "1 more" in line and "dtype='float64'" in line and "\n" not in line


def test_noises_of_a_folder_that_become_equal_are_named(tiny, caplog, tmp_path):
    as_noises(pair(1e-9), shape=None).write(tmp_path)
    (line,) = warnings_of(caplog, lambda: ds.sample(tiny, ds.noise.read(tmp_path), steps=1))
    assert line.startswith("noise_0000 and noise_0001 differ, but are equal in float32")


def test_rows_that_stay_apart_or_were_equal_before_give_no_warning(tiny, caplog):
    for rows in (
        pair(1e-3),
        pair(0.0),
        pair(1e-3, dtype=torch.float32),
        torch.tensor([0.0, -0.0]).double()[:, None, None, None].expand(2, *SHAPE),
    ):
        assert not warnings_of(caplog, lambda rows=rows: ds.sample(tiny, rows, steps=1))


def test_double_precision_keeps_the_rows_apart(make_unet, make_scheduler, caplog):
    double = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu", dtype="float64")
    assert not warnings_of(caplog, lambda: ds.sample(double, pair(1e-9), steps=1))
    x_0 = ds.sample(double, pair(1e-9), steps=1)
    assert (x_0[0] != x_0[1]).any()
    (line,) = warnings_of(caplog, lambda: ds.sample(double, pair(1e-9), steps=1, sampler_dtype="float32"))
    assert line.endswith("sampler_dtype='float64'")


def test_perturbations_too_small_for_half_precision_are_named(make_unet, make_scheduler, caplog):
    half = ds.load(make_unet(), scheduler=make_scheduler("ddim"), device="cpu", dtype="bfloat16")
    x = ds.noise.perturbed(9, SHAPE, epsilon=2e-5)
    equal = [k for k in range(1, 10) if torch.equal(x[k].bfloat16(), x[0].bfloat16())]
    apart = [k for k in range(1, 10) if k not in equal]
    assert equal
    for noises in (x, x.subset([0, *equal])):
        (line,) = warnings_of(
            caplog, lambda noises=noises: ds.record(half, noises, steps=1, extract_states=False)
        )
        others = len(noises) - len(torch.stack(list(noises)).bfloat16().float().unique(dim=0)) - 1
        assert line.startswith(f"{x.names[0]} and {x.names[equal[0]]} differ, but are equal in bfloat16")
        assert (f" {others} more" in line or not others) and line.endswith("dtype='float32'")
    assert not warnings_of(caplog, lambda: ds.sample(half, x.subset([0, *apart[:1]]), steps=1))
    assert not warnings_of(
        caplog, lambda: ds.sample(half, ds.noise.perturbed(3, SHAPE, epsilon=5.0), steps=1)
    )
