"""Noises and states given as arrays of any library."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray

from denoscope import UserError, noise
from denoscope.foundation.spelling import as_flags

SHAPE = (2, 3, 4)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


def data_array(values: np.ndarray, **coords: object) -> xarray.DataArray:
    dims = ("sample", "channel", "height", "width")[-values.ndim :]
    return xarray.DataArray(values, dims=dims, coords=coords)


FORMS = {
    "noises": lambda values: noise.as_noises(values, shape=None),
    "tensor": torch.from_numpy,
    "parameter": lambda values: torch.nn.Parameter(torch.from_numpy(values)),
    "numpy": np.asarray,
    "fortran order": np.asfortranarray,
    "negative strides": lambda values: np.ascontiguousarray(values[..., ::-1])[..., ::-1],
    "other byte order": lambda values: values.astype(">f4"),
    "read only": lambda values: np.broadcast_to(values, values.shape),
    "xarray": data_array,
    "xarray, channels last": lambda values: data_array(values).transpose(..., "height", "width", "channel"),
    "xarray, other dimensions": lambda values: xarray.DataArray(values, dims=list("nchw")[-values.ndim :]),
}


@pytest.mark.parametrize("form", FORMS)
def test_noises_of_every_form_have_the_same_bits(form, values):
    x = noise.as_noises(FORMS[form](values), shape=SHAPE)
    assert isinstance(x, noise.NoiseSet) and len(x) == 3 and x.shape == SHAPE
    assert torch.equal(x.batch(range(3)), torch.from_numpy(values))
    assert x.names == ("noise_0000", "noise_0001", "noise_0002")
    one = noise.as_noises(FORMS[form](values[1]) if form != "noises" else x.subset([1]), shape=SHAPE)
    assert len(one) == 1 and torch.equal(one.tensor(0), torch.from_numpy(values[1]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, None])
def test_states_of_every_form_have_the_same_bits(form, rows, values):
    given = values[:1] if rows or form == "noises" else values[0]
    x = noise.as_state(FORMS[form](given), shape=SHAPE, name="x_0")
    assert x.shape == SHAPE and torch.equal(x, torch.from_numpy(values[0])) and not x.requires_grad


@pytest.mark.parametrize(
    ("dtype", "noises"),
    [("float16", torch.float32), ("float32", torch.float32), ("float64", torch.float64)],
)
def test_noises_have_at_least_float32_and_states_keep_their_precision(dtype, noises):
    array = np.full(SHAPE, 0.1, dtype)
    x = noise.as_noises(array, shape=SHAPE).tensor(0)
    assert x.dtype == noises and torch.equal(x, torch.from_numpy(array).to(noises))
    assert noise.as_state(array, shape=SHAPE, name="x").dtype == getattr(torch, dtype)
    assert (
        noise.as_noises(torch.ones(SHAPE, dtype=torch.bfloat16), shape=SHAPE).tensor(0).dtype == torch.float32
    )


def test_noises_do_not_change_with_the_array_they_were_made_of(values):
    tensor = torch.from_numpy(values.copy())
    x, y = noise.as_noises(values, shape=SHAPE), noise.as_noises(tensor, shape=SHAPE)
    before = x.batch(range(3))
    values[:] = 0
    tensor[:] = 0
    x.tensor(0)[:] = 0
    assert torch.equal(x.batch(range(3)), before) and torch.equal(y.batch(range(3)), before)


def test_an_xarray_names_its_noises_and_keeps_their_coordinates(values):
    coords = {
        "sample": ["a", "b", "c"],
        "epsilon": ("sample", [0.0, 1.0, 2.0]),
        "state": 0,
        "width": range(4),
    }
    x = noise.as_noises(data_array(values, **coords), shape=SHAPE)
    assert x.names == ("a", "b", "c")
    assert x.coords.keys() == {"epsilon"} and x.coords["epsilon"].tolist() == [0.0, 1.0, 2.0]
    one = noise.as_noises(data_array(values, **coords).isel(sample=1), shape=SHAPE)
    assert one.names == ("b",) and one.coords["epsilon"].tolist() == [1.0]


def test_noises_of_ours_are_returned_as_they_are():
    x = noise.random(2, SHAPE)
    assert noise.as_noises(x, shape=SHAPE) is x and noise.as_noises(x, shape=None) is x


BAD = {
    "rank 2": (np.zeros((3, 4)), "[3, 4]"),
    "rank 5": (torch.zeros(1, 1, *SHAPE), "[1, 1, 2, 3, 4]"),
    "shape": (np.zeros((1, 2, 4, 3)), "[1, 2, 4, 3]"),
    "mask": (np.zeros((1, *SHAPE), bool), "bool"),
    "mask tensor": (torch.zeros(1, *SHAPE, dtype=torch.bool), "torch.bool"),
    "masked array": (np.ma.masked_array(np.zeros(SHAPE)), "masked"),
    "objects": (np.zeros(SHAPE, object), "object"),
    "strings": (np.full(SHAPE, "0.5"), "<U3"),
    "complex": (np.zeros(SHAPE, complex), "complex128"),
    "integer": (np.zeros(SHAPE, int), "int64"),
    "integer tensor": (torch.zeros(SHAPE, dtype=torch.uint8), "torch.uint8"),
    "long double": (np.zeros(SHAPE, np.longdouble), "float128"),
    "sparse": (torch.zeros(SHAPE).to_sparse(), "torch.sparse_coo"),
    "meta": (torch.zeros(SHAPE, device="meta"), "meta"),
    "generator": ((row for row in np.zeros((1, *SHAPE))), "a generator"),
    "list": ([torch.zeros(SHAPE)] * 9, "a list"),
    "nothing": (None, "None"),
    "number": (0.5, "0.5"),
    "text": ("inputs", "ds.noise.read('inputs')"),
    "path": (Path("inputs"), "ds.noise.read('inputs')"),
    "NaN": (np.full(SHAPE, np.nan), "NaN"),
    "Inf": (torch.full(SHAPE, torch.inf), "Inf"),
    "huge": (torch.full(SHAPE, 1e300, dtype=torch.float64), "1e+30"),
    "no rows": (np.zeros((0, *SHAPE)), "[0, 2, 3, 4]"),
    "dataset": (xarray.Dataset({"x": data_array(np.zeros(SHAPE))}), "a Dataset"),
    "noises of another shape": (noise.random(1, (1, 3, 4)), "[1, 3, 4]"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("take", [noise.as_noises, noise.as_state])
def test_a_wrong_value_is_refused_in_one_line_with_what_was_received_and_what_is_allowed(take, kind):
    value, received = BAD[kind]
    with pytest.raises(UserError) as caught:
        take(value, shape=SHAPE, name="x_T")
    message = str(caught.value)
    assert message.startswith("x_T ") and received in message and "\n" not in message
    assert "2, 3, 4]" in message or kind in ("NaN", "Inf", "huge")
    assert "allowed" in message or kind == "huge"


def test_the_first_row_that_is_not_finite_and_their_number_are_named():
    rows = np.zeros((5, *SHAPE))
    rows[3, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match=r"^x holds NaN or Inf in row 3 of 5; allowed: finite numbers$"):
        noise.as_noises(rows, shape=SHAPE)
    rows[1], rows[4] = np.inf, np.nan
    with pytest.raises(UserError, match=r"^x holds NaN or Inf in row 1 and 2 more of 5; allowed"):
        noise.as_noises(rows, shape=SHAPE)


def test_a_state_is_one_noise(values):
    for several in (values, noise.random(2, SHAPE), data_array(values)):
        with pytest.raises(
            UserError, match=r"x_0 .*(\[3, 2, 3, 4\]|2 noises); allowed: one state \[2, 3, 4\]"
        ):
            noise.as_state(several, shape=SHAPE, name="x_0")


def test_without_a_shape_any_is_allowed():
    assert noise.as_noises(np.zeros((1, 5, 5)), shape=None).shape == (1, 5, 5)
    with pytest.raises(UserError, match=r"\[C, H, W\] or \[n, C, H, W\]"):
        noise.as_noises(np.zeros((5, 5)), shape=None)
    with pytest.raises(UserError, match=r"\[0, 5, 5\]"):
        noise.as_noises(np.zeros((0, 5, 5)), shape=None)


def test_the_argument_is_spelled_as_a_flag_on_the_command_line():
    with as_flags({"x_T": "--x_T"}), pytest.raises(UserError, match=r"^--x_T holds NaN"):
        noise.as_noises(np.full(SHAPE, np.nan), shape=SHAPE, name="x_T")
