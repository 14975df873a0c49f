"""Maps of basins: closed forms, plain sampling and labels, the same bits however they are cut up and interrupted."""

import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope import kept
from denoscope.dynamics import analytic_models as models


def side(images):
    return (images[:, 0, 0, 0] > 0).long()


@pytest.fixture(scope="module")
def mixture():
    own, mean = models.scheduler("ddim"), torch.tensor([3.0, 0.0, 0.0, 0.0])
    return models.denoiser(models.TwoGaussians(mean, 0.04, own), own, (1, 1, 4))


def test_two_gaussians_part_the_plane_by_a_straight_line(mixture):
    """The boundary of DDIM is m·x_T = 0, exactly."""
    plane = ds.noise.plane((30, 26), mixture.shape, lengths=(8.0, 6.0), base_seed=1)
    found = ds.basins.map(mixture, plane, steps=10, classifier=side, lanes=32)
    assert found["label"].dims == ("y", "x") and found["label"].shape == (26, 30)
    for index in range(len(plane)):
        column, row = divmod(index, 26)
        assert found["label"].values[row, column] == int(plane.tensor(index).flatten()[0] > 0)
        assert found["u"].values[column] == plane.coords["u"][index]
        assert found["v"].values[row] == plane.coords["v"][index]
    assert set(found.data_vars) == {"label", "computed"} and found["computed"].all()
    assert ds.dynamics.verdict(found["label"]).verdict == "smooth"
    assert ds.dynamics.basin_fractions(found["label"]).classes == (0, 1)
    assert ds.dynamics.boundary_dimension(found["label"], boxes=(2, 4, 6)).spaced_value == pytest.approx(
        1, abs=0.05
    )


def test_digits_are_those_of_plain_sampling_at_any_batch_size(mnist):
    plane = ds.noise.plane((3, 4), mnist.shape, lengths=(40.0, 40.0))
    found, other = (ds.basins.map(mnist, plane, steps=3, batch_size=size) for size in (8, 24))
    assert found.identical(other)
    labels = ds.classify(ds.sample(mnist, plane.batch(range(12)), steps=3))
    for name in ("label", "confidence", "margin"):
        np.testing.assert_array_equal(found[name].to_numpy().T.ravel(), getattr(labels, name))
    assert found.attrs["classifier"] == "lenet" and found.attrs["fingerprint"]["num_steps"] == 3


def test_labels_between_the_cells_are_those_of_the_plane(mixture, mnist):
    plane = ds.noise.plane((4, 3), mixture.shape, lengths=(8.0, 6.0), base_seed=1)
    cells = np.stack([plane.coords["u"], plane.coords["v"]], 1)
    where = ds.basins.label_of(mixture, plane, steps=10, classifier=side)
    mapped = ds.basins.map(mixture, plane, steps=10, classifier=side)["label"].to_numpy()
    np.testing.assert_array_equal(where(cells), mapped.T.ravel())
    points = np.random.default_rng(0).uniform(-4, 4, (300, 2))
    found = ds.dynamics.uncertainty_exponent(where, points, [0.3, 0.6, 1.2])
    assert found.interval[0] - 0.2 < 1 < found.interval[1] + 0.2, "the boundary is straight"
    with pytest.raises(ds.UserError, match=r"points is \[3\]; allowed: \[n, 2\]"):
        where(np.zeros(3))
    with pytest.raises(ds.UserError, match="NaN or Inf"):
        where(np.full((1, 2), np.nan))
    own = ds.noise.plane((2, 2), mnist.shape, lengths=(9.0, 9.0))
    labels = ds.classify(ds.sample(mnist, own.batch(range(4)), steps=2)).label
    np.testing.assert_array_equal(
        ds.basins.label_of(mnist, own, steps=2)(np.stack([own.coords["u"], own.coords["v"]], 1)), labels
    )


def test_a_map_is_gone_on_with_where_it_was_left(mnist, tmp_path):
    plane, out = ds.noise.plane((4, 5), mnist.shape, lengths=(40.0, 40.0)), tmp_path / "map.npz"
    whole = ds.basins.map(mnist, plane, steps=1)

    def stop(finished, total):
        assert (finished, total) == (8, 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.basins.map(mnist, plane, steps=1, out=out, progress=stop)
    left = kept.read(out)
    assert left["computed"].sum() == 8 and (left["label"].to_numpy()[~left["computed"]] == -1).all()
    found = ds.basins.map(mnist, plane, steps=1, out=out, resume=True)
    for resumed in (found, kept.read(out)):
        assert resumed.drop_attrs().identical(whole.drop_attrs())
    with pytest.raises(ds.UserError, match="exists; go on with it"):
        ds.basins.map(mnist, plane, steps=1, out=out)
    with pytest.raises(ds.UserError, match="this differs: num_steps: 1 → 2"):
        ds.basins.map(mnist, plane, steps=2, out=out, resume=True)


def test_what_is_not_finite_has_no_class(mnist, monkeypatch):
    plane = ds.noise.plane((2, 2), mnist.shape, lengths=(40.0, 40.0))

    def broken(denoiser, x_T, run=ds.basins.sample, **options):
        x_0 = run(denoiser, x_T, **options)
        x_0[1] = torch.nan
        return x_0

    monkeypatch.setattr(ds.basins, "sample", broken)
    found = ds.basins.map(mnist, plane, steps=1)
    assert found["label"].values[1, 0] == -1 and np.isnan(found["confidence"].values[1, 0])
    assert found.attrs["warnings"] == ["1 of 4 cells became NaN or Inf and have the label −1"]


def test_what_makes_no_map_is_refused(tiny, mnist):
    plane = ds.noise.plane((2, 2), tiny.shape)
    for denoiser, noises, options, told in (
        (tiny, plane, {}, "which LeNet-5 cannot label; give classifier="),
        (mnist, plane, {}, r"the plane has shape \[2, 8, 8\]"),
        (tiny, ds.noise.random(4, tiny.shape), {}, "these noises are no plane"),
        (tiny, plane, {"classifier": lambda images: images}, "the classifier returned float32"),
        (
            mnist,
            ds.noise.plane((2, 2), mnist.shape),
            {"classifier": "nowhere.safetensors"},
            "nowhere.safetensors",
        ),
    ):
        with pytest.raises(ds.UserError, match=told):
            ds.basins.map(denoiser, noises, steps=1, **options)
