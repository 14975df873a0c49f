"""Every public function that takes noises or a state takes them in every form, with the same bits."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from matplotlib.figure import Figure

import denoscope as ds
from denoscope import figures
from denoscope.figures import images as pictures

SHAPE = (1, 2, 2)
STEPS = 2


class Mixed(torch.nn.Module):
    """A nonlinear network without parameters that mixes all values of a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Tanh()

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return self.mix(x.flip(-1) + 0.5 * x.mean((1, 2, 3), keepdim=True)) + 1e-3 * timestep


@pytest.fixture(scope="module")
def denoiser(make_scheduler) -> ds.Denoiser:
    return ds.load(Mixed(), scheduler=make_scheduler("ddim"), shape=SHAPE, device="cpu")


def as_xarray(x: torch.Tensor) -> xarray.DataArray:
    return xarray.DataArray(x.numpy(), dims=("sample", "channel", "height", "width")[-x.ndim :])


ARRAYS: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda x: x,
    "numpy": lambda x: x.numpy(),
    "xarray": as_xarray,
}
"""Forms of an array [n, C, H, W] or [C, H, W]."""

x_0_sign = {"label_of": lambda images: (images[:, 0, 0, 0] > 0).numpy().astype(int), "draws": 2}


def recorded(denoiser: ds.Denoiser, x: Any) -> np.ndarray:
    """x_0 as `ds.record` stores it."""
    with tempfile.TemporaryDirectory() as folder:
        return ds.record(denoiser, x, Path(folder) / "run.zarr", steps=STEPS, layers=["mix"]).final.to_numpy()


TAKE_NOISES: dict[str, Callable[..., np.ndarray]] = {
    "sample": lambda denoiser, x: ds.sample(denoiser, x, steps=STEPS).numpy(),
    "denoise": lambda denoiser, x: next(ds.denoise(denoiser, x, steps=STEPS)).model_output.numpy(),
    "record": recorded,
    "gradient": lambda denoiser, x: ds.gradient(
        denoiser, x, lambda x_0: x_0.square().sum((1, 2, 3)), steps=STEPS
    ).numpy(),
    "u_turn": lambda denoiser, x: (
        ds.dynamics.u_turn(denoiser, x, [0.5, 1], steps=STEPS, **x_0_sign)["distance"].values
    ),
}
TAKE_ONE_STATE: dict[str, Callable[..., np.ndarray]] = {
    "spectrum": lambda denoiser, x: ds.dynamics.spectrum(denoiser, x, k=2, steps=STEPS).exponents,
    "full_spectrum": lambda denoiser, x: ds.dynamics.full_spectrum(denoiser, x, steps=STEPS).exponents,
    "local_expansion": lambda denoiser, x: ds.dynamics.local_expansion(denoiser, x, k=2, steps=STEPS).rates,
}


@pytest.mark.parametrize("name", TAKE_NOISES)
def test_noises_of_every_form_give_the_same_bits(name, denoiser):
    take, x = TAKE_NOISES[name], ds.noise.random(3, SHAPE, seed=1)
    batch = x.batch(range(3))
    expected = take(denoiser, x)
    for form in ARRAYS.values():
        np.testing.assert_array_equal(take(denoiser, form(batch)), expected)
    # The noises of a random set are drawn one by one, so that the first noise is also a set of one.
    expected = take(denoiser, ds.noise.random(1, SHAPE, seed=1))
    for form in ARRAYS.values():
        np.testing.assert_array_equal(take(denoiser, form(batch[0])), expected)


@pytest.mark.parametrize("name", TAKE_ONE_STATE)
def test_a_state_of_every_form_gives_the_same_bits(name, denoiser):
    take, x = TAKE_ONE_STATE[name], ds.noise.random(1, SHAPE, seed=1)
    expected = take(denoiser, x)
    for form in ARRAYS.values():
        for state in (form(x.tensor(0)), form(x.batch([0]))):
            np.testing.assert_array_equal(take(denoiser, state), expected)


BAD = {
    "rank": np.zeros((2, 2)),
    "shape": torch.zeros(1, 1, 3, 3),
    "mask": np.zeros((1, *SHAPE), bool),
    "objects": np.zeros((1, *SHAPE), object),
    "complex": torch.zeros(1, *SHAPE, dtype=torch.complex64),
    "integer": np.zeros((1, *SHAPE), int),
    "generator": (row for row in torch.zeros(1, *SHAPE)),
    "list": [torch.zeros(SHAPE)],
    "text": "inputs",
    "path": Path("inputs"),
    "NaN": xarray.DataArray(np.full((1, *SHAPE), np.nan)),
    "empty": torch.zeros(0, *SHAPE),
    "nothing": None,
}


@pytest.mark.parametrize("name", [*TAKE_NOISES, *TAKE_ONE_STATE])
@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_argument(name, kind, denoiser):
    take = (TAKE_NOISES | TAKE_ONE_STATE)[name]
    with pytest.raises(ds.UserError) as caught:
        take(denoiser, BAD[kind])
    message = str(caught.value)
    assert message.startswith(("x_T ", "x_0 ", "x ")) and "\n" not in message and "allowed: " in message


def test_a_plane_is_made_by_ds_noise(denoiser):
    for plane in (torch.zeros(4, *SHAPE), ds.noise.random(4, SHAPE), None):
        for take in (ds.basins.map, ds.basins.label_of, ds.dynamics.plane_growth):
            with pytest.raises(ds.UserError, match=r"plane is .*noise\.plane\(\(25, 41\)"):
                take(denoiser, plane)


def test_an_orbit_starts_from_an_array_of_every_form():
    x0 = torch.tensor([0.1, 0.3], dtype=torch.float64)

    def henon(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]])

    expected = ds.dynamics.orbit(henon, x0, iterations=5)
    assert expected[0].tolist() == [0.1, 0.3] and expected[1, 0].item() == 1 - 1.4 * 0.1**2 + 0.3
    for form in (x0.numpy(), xarray.DataArray(x0.numpy())):
        np.testing.assert_array_equal(ds.dynamics.orbit(henon, form, iterations=5), expected)


def test_the_noises_of_a_recording_are_recorded_again_with_their_names(denoiser, tmp_path):
    x = ds.noise.perturbed(2, SHAPE, epsilon=1.0)
    first = ds.record(denoiser, x, tmp_path / "first.zarr", steps=STEPS, layers=["mix"])
    again = ds.record(
        denoiser, first.sequence.isel(state=0), tmp_path / "again.zarr", steps=STEPS, layers=["mix"]
    )
    np.testing.assert_array_equal(again.sequence.to_numpy(), first.sequence.to_numpy())
    for name in ("sample", "base", "epsilon"):
        np.testing.assert_array_equal(again.sequence[name].to_numpy(), first.sequence[name].to_numpy())
    np.testing.assert_array_equal(again.sequence["sample"].to_numpy(), list(x.names))


def test_an_array_is_recorded_under_made_up_names(denoiser, tmp_path):
    rec = ds.record(
        denoiser, np.ones((2, *SHAPE), np.float32), tmp_path / "run.zarr", steps=STEPS, layers=["mix"]
    )
    assert rec.sequence["sample"].to_numpy().tolist() == ["sample_0000", "sample_0001"]
    assert rec.attrs["inputs"] == {"kind": "array", "num_samples": 2}


D = ds.dynamics
MASKED = np.ma.masked_greater(np.linspace(0, 1, 4000).reshape(20, 10, 20), 0.7)
LABELS = np.eye(2, dtype=int)


def masked_labels(images: Any) -> np.ma.MaskedArray:
    return np.ma.masked_equal(np.zeros(len(images), int), 0)


class Decoder(torch.nn.Module):
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z


def drawn_plane(labels: Any = LABELS, u: Any = (0.0, 1.0), v: Any = (0.0, 1.0), certainty: Any = None) -> Any:
    colors = ["#000000", "#ffffff"]
    return figures.draw_plane(Figure().subplots(), labels, u, v, colors=colors, certainty=certainty)


TAKES_ARRAYS = {
    "linear_cka": lambda: D.linear_cka(MASKED[0], MASKED[1]),
    "cka_matrix": lambda: D.cka_matrix([MASKED[0], MASKED[1]]),
    "participation": lambda: D.participation(MASKED),
    "path_geometry": lambda: D.path_geometry(MASKED),
    "trajectory_distances": lambda: D.trajectory_distances(MASKED),
    "correlation_dimension": lambda: D.correlation_dimension(MASKED[0]),
    "zero_one": lambda: D.zero_one(MASKED.reshape(-1)),
    "recurrence": lambda: D.recurrence(MASKED[0]),
    "basin_fractions": lambda: D.basin_fractions(np.ma.masked_equal(np.eye(30, dtype=int), 1)),
    "boundary_dimension": lambda: D.boundary_dimension(np.ma.masked_equal(np.eye(30, dtype=int), 1)),
    "kaplan_yorke": lambda: D.kaplan_yorke(np.ma.masked_greater([1.0, -2.0], 0)),
    "divergence_of": lambda: D.divergence_of(MASKED, [0] * 20),
    "classify": lambda: ds.classify(np.ma.masked_greater(np.zeros((1, 1, 28, 28)), 1)),
    "Intervention": lambda: ds.Intervention("mid_block", "add", MASKED[0, 0]),
    "nested lists": lambda: D.participation([[list(row) for row in path] for path in MASKED]),
    "lists of rows": lambda: D.participation([[[MASKED[0, 0]]], [[MASKED[0, 1]]]]),
    "decode": lambda: ds.decode(Decoder(), np.ma.masked_greater(np.zeros((1, 4, 8, 8)), 0)),
    "PointLabels": lambda: D.PointLabels(lambda points: masked_labels(points))(np.zeros((4, 2))),
    "plane.at": lambda: ds.noise.plane((3, 3), SHAPE).at(np.ma.masked_less(np.zeros((4, 2)), -1)),
    **{
        name: partial(draw, np.ma.masked_greater(np.zeros((2, 1, 8, 8)), 0))
        for name, draw in {
            "to_uint8": pictures.to_uint8,
            "save_png": lambda images: pictures.save_png(images[0], "never.png"),
            "save_strip": lambda images: pictures.save_strip(images, "never.png"),
            "save_gif": lambda images: pictures.save_gif(images, "never.gif"),
            "contact_sheet": lambda images: pictures.contact_sheet(images, "never.png"),
            "draw_contact_sheet": lambda images: figures.draw_contact_sheet(Figure().subplots(), images),
            "draw_strip": lambda images: figures.draw_strip(Figure().subplots(), images),
            "draw_images_plane": lambda images: figures.draw_images_plane(
                Figure().subplots(), images[None], [0.0, 1.0], [0.0]
            ),
        }.items()
    },
    "labels of draw_plane": lambda: drawn_plane(labels=np.ma.masked_equal(LABELS, 1)),
    "certainty of draw_plane": lambda: drawn_plane(certainty=np.ma.masked_equal(LABELS, 1)),
    "u of draw_plane": lambda: drawn_plane(u=np.ma.masked_equal([0.0, 1.0], 1)),
    "v of draw_plane": lambda: drawn_plane(v=np.ma.masked_equal([0.0, 1.0], 1)),
}


RETURN_LABELS = {
    "basins.map": lambda denoiser: ds.basins.map(
        denoiser, ds.noise.plane((2, 2), SHAPE), steps=STEPS, classifier=masked_labels
    ),
    "u_turn": lambda denoiser: D.u_turn(
        denoiser, torch.zeros(1, *SHAPE), [0.5, 1], steps=STEPS, label_of=masked_labels, draws=2
    ),
}


@pytest.mark.parametrize("name", RETURN_LABELS)
def test_masked_labels_that_a_classifier_returns_are_refused(name, denoiser):
    with pytest.raises(ds.UserError, match=r"^labels is a masked array; allowed: arrays without a mask"):
        RETURN_LABELS[name](denoiser)


@pytest.mark.parametrize("name", TAKES_ARRAYS)
def test_a_masked_array_is_refused_since_its_mask_would_be_lost(name):
    with pytest.raises(ds.UserError, match="is a masked array; allowed: arrays without a mask"):
        TAKES_ARRAYS[name]()
