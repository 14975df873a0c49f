"""Interventions on states that are not real numbers in a precision of layers: exact, or refused before the run."""

import pytest
import torch
from torch import nn

import denoscope as ds

SHAPE = (4, 3, 3)
COUNTS = torch.tensor([3, 1, 4, 1])[:, None, None].expand(SHAPE)
STATES = {
    "int64": lambda x: COUNTS.expand(x.shape).clone(),
    "uint16": lambda x: COUNTS.expand(x.shape).to(torch.uint16),
    "bool": lambda x: (COUNTS > 1).expand(x.shape).clone(),
    "float8_e4m3fn": lambda x: COUNTS.expand(x.shape).to(torch.float8_e4m3fn),
    "complex64": lambda x: torch.complex(COUNTS.float(), -2.0 * COUNTS).expand(x.shape).clone(),
}


class Counts(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


class Network(nn.Module):
    """Zero for every x; `counts` are states of their own."""

    def __init__(self, make):
        super().__init__()
        self.counts = Counts(make)

    def forward(self, x, _t):
        self.counts(x)
        return torch.zeros_like(x)


def recorded(kind, *interventions, out=None):
    """The states of one sample, as they are after the interventions."""
    denoiser = ds.load(Network(STATES[kind]), scheduler="ddim", shape=SHAPE, device="cpu")
    rec = ds.record(
        denoiser, torch.zeros(1, *SHAPE), out, steps=1, layers="counts", interventions=interventions
    )
    return torch.from_numpy(rec["counts"].to_numpy()[0, 0])


def refusal(kind, *arguments, **options):
    with pytest.raises(ds.UserError) as caught:
        recorded(kind, ds.Intervention("counts", *arguments, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["int64", "uint16", "bool", "float8_e4m3fn"])
@pytest.mark.parametrize(
    "do",
    [("ablate", "mean"), ("noise", 0.5), ("project_out", [1.0, 0, 0, 0]), ("add", 1), ("scale", 2)],
    ids=str,
)
def test_arithmetic_on_such_states_is_refused_with_the_dtype(kind, do):
    if kind == "int64" and do[0] in ("add", "scale"):
        expected = COUNTS + 1 if do[0] == "add" else COUNTS * 2
        assert torch.equal(recorded(kind, ds.Intervention("counts", *do)), expected)
        return
    message = refusal(kind, *do)
    assert f"{do[0]} at counts: the states are {kind}; allowed: float16, bfloat16, float32" in message


@pytest.mark.parametrize(("do", "value"), [("scale", 0.5), ("add", 1.5), ("set", -0.25)])
def test_integers_are_not_truncated(do, value):
    assert f"the states are int64, which cannot hold {value}; allowed: integers" in refusal(
        "int64", do, value
    )


@pytest.mark.parametrize(
    ("kind", "value"), [("uint16", -1), ("uint16", 2**16), ("bool", 2), ("float8_e4m3fn", 1e4)]
)
def test_numbers_beyond_the_dtype_are_refused(kind, value):
    assert f"the states are {kind}, which cannot hold {value:g}" in refusal(kind, "set", value)


def test_numbers_that_half_precision_cannot_hold_are_refused():
    denoiser = ds.load(Network(lambda x: x.half()), scheduler="ddim", shape=SHAPE, device="cpu")
    with pytest.raises(
        ds.UserError, match="the states are float16, which cannot hold 70000; allowed: up to 65504"
    ):
        ds.sample(
            denoiser, torch.zeros(1, *SHAPE), steps=1, interventions=[ds.Intervention("counts", "set", 7e4)]
        )


@pytest.mark.parametrize("kind", STATES)
def test_values_that_fit_replace_states_of_any_dtype(kind):
    assert torch.equal(recorded(kind, ds.Intervention("counts", "set", 1)), torch.ones_like(recorded(kind)))
    assert not recorded(kind, ds.Intervention("counts", "ablate")).any()
    kept = recorded(kind, ds.Intervention("counts", lambda state, _call: state))
    assert torch.equal(kept, recorded(kind))


def test_complex_states_keep_their_imaginary_parts():
    counts = COUNTS.double()
    expected = {
        ("scale", -0.5): torch.complex(-0.5 * counts, counts),
        ("add", 1.5): torch.complex(counts + 1.5, -2 * counts),
        ("project_out", (0.0, 0, 2, 0)): torch.complex(counts, -2 * counts)
        * torch.tensor([1, 1, 0, 1])[:, None, None],
        ("ablate", "mean"): torch.complex(counts, -2 * counts),  # one value all over each channel
    }
    for do, state in expected.items():
        changed = recorded("complex64", ds.Intervention("counts", *do))
        torch.testing.assert_close(changed.to(torch.complex128), state, rtol=1e-6, atol=1e-6)


def test_a_function_whose_result_the_states_cannot_hold_is_refused():
    for kind, result, name in (
        ("int64", lambda state, _call: state / 2, "float32"),
        ("float8_e4m3fn", lambda state, _call: state.float() + 1j, "complex64"),
    ):
        message = refusal(kind, result)
        assert f"returned {name} for a state in {kind}, which cannot hold it" in message


def test_states_of_a_recording_that_a_layer_cannot_hold_are_refused(tmp_path):
    recorded("complex64", out=tmp_path / "complex.zarr")
    for do in ("swap", "ablate"):
        with pytest.raises(ds.UserError) as caught:
            recorded("float8_e4m3fn", ds.Intervention("counts", do, str(tmp_path / "complex.zarr")))
        assert "float8_e4m3fn" in str(caught.value) and "\n" not in str(caught.value)
