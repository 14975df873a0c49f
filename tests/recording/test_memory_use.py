"""The memory of a recording: constant in steps and samples; a recording that does not fit is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import denoscope as ds
from denoscope.foundation import memory

PROGRAM = """
import sys
from pathlib import Path
import torch
from diffusers import DDIMScheduler
import denoscope as ds

class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_in = torch.nn.Conv2d(1, 16, 1)

    def forward(self, x, timestep):
        return self.conv_in(x).mean(1, keepdim=True)

out, samples, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
denoiser = ds.load(Wide(), scheduler=DDIMScheduler(), shape=(1, 28, 28), device="cpu")
x = ds.noise.random(samples, denoiser.shape)
rec = ds.record(denoiser, x, out, steps=steps, layers=["conv_in"], batch_size=8)
assert rec.dataset["complete"].values.all()
(line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(line.split()[1]) * 1024)
"""
STATE = 16 * 28 * 28 * 4


def peak(folder: Path, format: str, samples: int, steps: int) -> int:
    """The peak memory of a process that records."""
    out = folder / f"{samples}_{steps}{'.zarr' if format == 'zarr' else ''}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), str(samples), str(steps)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["zarr", "pt"])
def test_memory_does_not_grow_with_the_number_of_steps(tmp_path, format):
    few, many = peak(tmp_path, format, 8, 50), peak(tmp_path, format, 8, 1000)
    assert 0.5 * few < 950 * 8 * STATE, "the states would show if they were held in memory"
    assert many < 1.05 * few, (few, many)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["zarr", "pt"])
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path, format):
    few, many = peak(tmp_path, format, 64, 10), peak(tmp_path, format, 1000, 10)
    assert 0.5 * few < 936 * 10 * STATE, "the states would show if they were held in memory"
    assert many < 1.05 * few, (few, many)


def test_a_recording_that_does_not_fit_in_memory_is_refused_before_anything_is_written(
    tiny, tmp_path, monkeypatch
):
    x = ds.noise.random(100, tiny.shape)
    # Of a row: x before and after, output and estimate, [2, 8, 8] each; conv_in is [8, 8, 8].
    one = (4 * 2 * 8 * 8 + 8 * 8 * 8) * 4
    options = {"steps": 1, "lanes": 4, "layers": ["conv_in"]}
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 20 * one)
    with pytest.raises(ds.UserError, match=r"at least 96\.0 KiB .*80\.0 KiB are free.*batch_size"):
        ds.record(tiny, x, tmp_path / "run.zarr", batch_size=22, **options)  # which makes 24 in flight
    assert not list(tmp_path.iterdir())
    ds.record(tiny, x, tmp_path / "run.zarr", batch_size=20, **options)


def test_whole_states_and_projection_matrices_count(tiny, tmp_path, monkeypatch):
    """A reduced state may be a thousandth of the full state, but memory holds the full state."""
    x = ds.noise.random(1, tiny.shape)
    one = (4 * 2 * 8 * 8 + 8 * 8 * 8) * 4
    options = {"steps": 1, "lanes": 1, "batch_size": 1, "layers": ["conv_in"]}
    for reduce, needed in (("norm", one), ("project:3", one + 3 * 8 * 8 * 8 * 4)):
        monkeypatch.setattr(memory, "free_bytes", lambda _device, free=needed - 1: free)
        with pytest.raises(ds.UserError, match="of memory"):
            ds.record(tiny, x, tmp_path / f"{reduce}.zarr", reduce=reduce, **options)
        monkeypatch.setattr(memory, "free_bytes", lambda _device, free=needed: free)
        ds.record(tiny, x, tmp_path / f"{reduce}.zarr", reduce=reduce, **options)
