"""Modules whose names PyTorch allows and paths do not: recorded, read by plain xarray, checked and written to."""

import numpy as np
import pytest
import torch
import xarray
from torch import nn

import denoscope as ds
from denoscope.recording import verify

NAMES = ["up/0", "a\\b%", "c[0]"]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleDict({name: nn.Conv2d(1, 1, 3, padding=1) for name in NAMES})

    def forward(self, x, _t):
        for block in self.blocks.values():
            x = block(x)
        return x


@pytest.fixture
def denoiser(make_scheduler):
    torch.manual_seed(0)
    return ds.load(Network(), scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_layers_of_any_name_are_recorded_and_read_and_checked(denoiser, tmp_path, out):
    x, layers = ds.noise.random(2, (1, 8, 8)), [f"blocks.{name}" for name in NAMES]
    seen = {layer: [] for layer in layers}
    for name in NAMES:
        block = denoiser.network.blocks[name]
        block.register_forward_hook(lambda _m, _a, state, layer=f"blocks.{name}": seen[layer].append(state))
    ds.sample(denoiser, x.batch(range(2)), steps=2, lanes=2)
    expected = {layer: torch.stack(states[-2:], 1).numpy() for layer, states in seen.items()}

    rec = ds.record(denoiser, x, tmp_path / out, steps=2, lanes=2, layers=layers)
    for found in (rec, ds.open(tmp_path / out)):
        assert list(found.states) == layers
        for layer in layers:
            np.testing.assert_array_equal(found[layer], expected[layer])
            np.testing.assert_array_equal(found.states[layer], expected[layer])
    if out == "run.zarr":
        plain = xarray.open_zarr(tmp_path / out)
        stored = [
            array for array in plain.values() if array.dims[:2] == ("sample", "step") and array.ndim == 5
        ]
        assert len(stored) == len(layers)
        for layer in layers:
            assert any(np.array_equal(array, expected[layer]) for array in stored)
    exported = rec.export(tmp_path / "exported", format="pt")
    for layer in layers:
        np.testing.assert_array_equal(ds.open(exported)[layer], expected[layer])
    assert verify.store(tmp_path / out, recompute=1, source=denoiser.network).sound


def test_layers_of_any_name_are_written_to(denoiser):
    x = ds.noise.random(1, (1, 8, 8))
    for name in NAMES:
        rec = ds.record(
            denoiser,
            x,
            steps=1,
            interventions=ds.Intervention(f"blocks.{name}", "ablate"),
            layers=["blocks.*"],
        )
        assert not rec[f"blocks.{name}"].to_numpy().any()
