"""Layers are stored in their own dtype, with the values that a hook sees."""

import numpy as np
import pytest
import torch
import xarray
from torch import nn

import denoscope as ds
from denoscope.recording import verify

LARGE = 2**24 + 1
"""The first integer that float32 does not hold."""
FUNCTIONS = {
    "int64": lambda h: (h > 0).long() + LARGE,
    "uint8": lambda h: (h.abs() * 100).to(torch.uint8),
    "bool": lambda h: h > 0,
    "complex64": torch.fft.rfft2,
    "float64": lambda h: h.double() / 3,
    "float16": lambda h: h.half(),
}


class Function(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, h):
        return FUNCTIONS[self.name](h)


class Network(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 1, 3, padding=1), Function(name)

    def forward(self, x, _t):
        self.function(x)
        return self.conv(x)


@pytest.fixture
def denoiser_of(make_scheduler):
    def make(name):
        torch.manual_seed(0)
        return ds.load(Network(name), scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")

    return make


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("out", [None, "run.zarr", "run"])
def test_a_layer_is_stored_in_its_own_dtype(denoiser_of, tmp_path, name, out):
    denoiser, x = denoiser_of(name), ds.noise.random(3, (1, 8, 8))
    rec = ds.record(denoiser, x, out and tmp_path / out, steps=2, layers=["function"])
    expected = FUNCTIONS[name](torch.from_numpy(rec.sequence[:, :2].to_numpy()))
    assert rec["function"].dtype == expected.numpy().dtype == np.dtype(name)
    np.testing.assert_array_equal(rec["function"], expected)
    if out == "run.zarr":
        np.testing.assert_array_equal(xarray.open_zarr(tmp_path / out)["function"], expected)
        assert verify.store(tmp_path / out).sound


def test_unfinished_samples_read_as_missing_values(denoiser_of, dies_at, tmp_path):
    for name, missing in (("int64", 0), ("complex64", complex(np.nan, 0)), ("float64", np.nan)):
        denoiser = denoiser_of(name)
        dies_at(denoiser.network, 3)
        with pytest.raises(RuntimeError, match="on purpose"):
            ds.record(
                denoiser,
                ds.noise.random(8, (1, 8, 8)),
                tmp_path / name,
                steps=2,
                layers=["function"],
                lanes=4,
                batch_size=4,
            )
        values = ds.open(tmp_path / name)["function"].to_numpy()
        np.testing.assert_array_equal(values[4:], np.full_like(values[4:], missing))


def test_measures_count_both_parts_of_complex_states_and_do_not_overflow_integers(denoiser_of):
    x = ds.noise.perturbed(1, (1, 8, 8), epsilon=0.5)
    for name in ("complex64", "uint8", "bool"):
        rec = ds.record(denoiser_of(name), x, steps=1, layers=["function"])
        base, other = rec["function"][:, 0].to_numpy()
        expected = np.linalg.norm((other.astype(complex) - base.astype(complex)).ravel())
        measured = ds.dynamics.divergence(rec)["function separation"]
        np.testing.assert_allclose(measured, [[expected]], rtol=1e-6)


def test_complex_states_are_neither_reduced_nor_cast(denoiser_of):
    denoiser, x = denoiser_of("complex64"), ds.noise.random(1, (1, 8, 8))
    with pytest.raises(
        ds.UserError, match="'function': reduce is 'norm', but the states are complex; allowed: none"
    ):
        ds.record(denoiser, x, steps=1, layers=["function"], reduce="norm")
    with pytest.raises(
        ds.UserError, match="'function': state_dtype is 'float16', but its states are complex; allowed: auto"
    ):
        ds.record(denoiser, x, steps=1, layers=["function"], state_dtype="float16")


def test_integers_are_reduced_in_double_precision(denoiser_of):
    rec = ds.record(
        denoiser_of("int64"),
        ds.noise.random(1, (1, 8, 8)),
        steps=1,
        layers=["function"],
        reduce="spatial_mean",
    )
    state = FUNCTIONS["int64"](torch.from_numpy(rec.sequence[0, 0].to_numpy()))
    assert rec["function"].dtype == np.float64
    np.testing.assert_allclose(rec["function"][0, 0], state.double().mean((1, 2)), rtol=1e-15)


NOT_STORED = {
    "qint8": lambda h: torch.quantize_per_tensor(h.float(), 0.1, 0, torch.qint8),
    "quint8": lambda h: torch.quantize_per_tensor(h.float(), 0.1, 0, torch.quint8),
    "uint3": lambda h: torch.empty(h.shape, dtype=torch.uint3),
    "bits8": lambda h: torch.empty(h.shape, dtype=torch.bits8),
    "float4_e2m1fn_x2": lambda h: torch.empty(h.shape, dtype=torch.float4_e2m1fn_x2),
}


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning", "ignore:torch.ao.quantization")
@pytest.mark.parametrize("name", NOT_STORED)
def test_a_layer_whose_dtype_recordings_cannot_hold_is_refused_before_the_run(
    denoiser_of, tmp_path, monkeypatch, name
):
    monkeypatch.setitem(FUNCTIONS, name, NOT_STORED[name])
    denoiser, x = denoiser_of(name), ds.noise.random(2, (1, 8, 8))
    for run in (
        lambda: ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["function"]),
        lambda: next(ds.denoise(denoiser, x, steps=2, layers=["function"])),
        lambda: ds.sample(denoiser, x, steps=2, interventions=[ds.Intervention("function", "set", 1)]),
    ):
        with pytest.raises(ds.UserError) as caught:
            run()
        message = str(caught.value)
        assert f"layer 'function' has states in {name}, which recordings cannot hold" in message
        assert "!function" in message and "complex64" in message and "\n" not in message
    assert not list(tmp_path.iterdir())
    assert ds.record(denoiser, x, steps=2, layers=["**", "!function"])["conv"].shape == (2, 2, 1, 8, 8)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("out", [None, "run.zarr", "run"])
def test_narrow_dtypes_without_a_name_in_numpy_are_stored_exactly_in_a_wider_one(
    denoiser_of, tmp_path, monkeypatch, out
):
    for name, stored in (("complex32", "complex64"), ("float8_e5m2", "float32"), ("bfloat16", "float32")):
        dtype = getattr(torch, name)
        imaginary = 0.75j if dtype.is_complex else 0
        monkeypatch.setitem(FUNCTIONS, name, lambda h, d=dtype, i=imaginary: ((h > 0) + 1.5 + i).to(d))
        rec = ds.record(
            denoiser_of(name),
            ds.noise.random(3, (1, 8, 8)),
            out and tmp_path / name / out,
            steps=2,
            layers=["function"],
        )
        expected = (rec.sequence[:, :2] > 0) + 1.5 + imaginary  # halves and quarters, which all three hold
        assert rec["function"].dtype == np.dtype(stored)
        np.testing.assert_array_equal(rec["function"], expected)


@pytest.mark.parametrize(
    ("reduce", "reduced"),
    [
        ("spatial_mean", lambda s: s.mean((-2, -1))),
        ("norm", lambda s: np.linalg.norm(s.reshape(2, 1, -1), axis=-1)),
    ],
)
def test_float8_states_are_reduced_in_float32(denoiser_of, monkeypatch, reduce, reduced):
    monkeypatch.setitem(FUNCTIONS, "float8", lambda h: h.to(torch.float8_e4m3fn))
    denoiser, x = denoiser_of("float8"), ds.noise.random(2, (1, 8, 8))
    options = {"steps": 1, "layers": ["function"]}
    whole = ds.record(denoiser, x, **options)["function"].to_numpy().astype(np.float64)
    part = ds.record(denoiser, x, reduce=reduce, **options)["function"]
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, reduced(whole), rtol=1e-5)


@pytest.mark.parametrize("name", ["int64", "bool", "complex64"])
def test_derivatives_of_a_layer_without_real_states_are_refused(denoiser_of, name):
    denoiser, x = denoiser_of(name), ds.noise.random(1, (1, 8, 8))[0]
    with pytest.raises(
        ds.UserError, match=f"layer: layer 'function' has states in {name}, whose derivatives"
    ):
        ds.dynamics.spectrum(denoiser, x, steps=1, layer="function", k=1)
    if name == "complex64":
        return
    with pytest.raises(ds.UserError, match=f"wrt: layer 'function' has states in {name}, whose derivatives"):
        ds.gradient(denoiser, x[None], lambda x_0: x_0.sum((1, 2, 3)), steps=1, wrt="function")
