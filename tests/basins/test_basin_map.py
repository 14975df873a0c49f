"""Maps of basins: closed forms, the same labels as plain sampling, and the same bits after batching and interrupts."""

import itertools
import signal
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn

import denoscope as ds
from denoscope.basins.labelling import Labelling
from denoscope.dynamics.known import analytic_models as models
from denoscope.foundation import checkpoint, memory
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.threads import threads_set_to
from denoscope.models.classifier import lenet
from denoscope.noise.plane_grid import CELL_BYTES


def side(images):
    return (images[:, 0, 0, 0] > 0).long()


@pytest.fixture(scope="module")
def mixture():
    own, mean = models.unclipped_scheduler("ddim"), torch.tensor([3.0, 0.0, 0.0, 0.0])
    return models.denoiser(models.TwoGaussians(mean, 0.04, own), own, (1, 1, 4))


class NaNAbove(nn.Module):
    """Another network, whose output is NaN for samples whose first number exceeds 0."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, timestep):
        output = self.network(x, timestep)
        return torch.where(x[:, :1, :1, :1] > 0, torch.nan, output)


def test_two_gaussians_divide_the_plane_by_a_straight_line(mixture):
    """The boundary of DDIM is m·x_T = 0, exactly."""
    plane = ds.noise.plane((60, 50), mixture.shape, lengths=(8.0, 6.0), base_seed=1)
    found = ds.basins.map(mixture, plane, steps=10, classifier=side, lanes=256)
    assert found["label"].dims == ("y", "x") and found["label"].shape == (50, 60)
    first = plane.batch(range(len(plane))).flatten(1)[:, 0].numpy()
    for index in range(len(plane)):
        column, row = divmod(index, 50)
        assert found["label"].values[row, column] == int(first[index] > 0)
        assert found["u"].values[column] == plane.coords["u"][index]
        assert found["v"].values[row] == plane.coords["v"][index]
    assert set(found.data_vars) == {"label", "nonfinite", "computed"} and found["computed"].all()
    assert ds.dynamics.verdict(found["label"]).verdict == "smooth"
    assert ds.dynamics.basin_fractions(found["label"]).classes == (0, 1)
    assert ds.dynamics.boundary_dimension(found["label"], boxes=(2, 4, 6)).value == pytest.approx(1, abs=0.05)


def test_digits_agree_with_plain_sampling_at_any_batch_size(mnist):
    plane = ds.noise.plane((3, 4), mnist.shape, lengths=(40.0, 40.0))
    found, other = (ds.basins.map(mnist, plane, steps=1, lanes=8, batch_size=size) for size in (8, 16))
    assert found.identical(other)
    labels = ds.classify(ds.sample(mnist, plane.batch(range(12)), steps=1))
    for name in ("label", "confidence", "margin"):
        np.testing.assert_array_equal(found[name].to_numpy().T.ravel(), getattr(labels, name))
    assert found.attrs["classifier"] == "lenet" and found.attrs["fingerprint"]["num_steps"] == 1


def test_labels_of_points_agree_with_the_map(mixture, mnist):
    plane = ds.noise.plane((4, 3), mixture.shape, lengths=(8.0, 6.0), base_seed=1)
    cells = np.stack([plane.coords["u"], plane.coords["v"]], 1)
    where = ds.basins.label_of(mixture, plane, steps=10, classifier=side)
    mapped = ds.basins.map(mixture, plane, steps=10, classifier=side)["label"].to_numpy()
    np.testing.assert_array_equal(where(cells), mapped.T.ravel())
    points = np.random.default_rng(0).uniform(-4, 4, (300, 2))
    found = ds.dynamics.uncertainty_exponent(where, points, [0.3, 0.6, 1.2])
    assert found.interval[0] - 0.2 < 1 < found.interval[1] + 0.2, "the boundary is straight"
    with pytest.raises(ds.UserError, match=r"points has shape \[3\]; allowed: \[n, 2\]"):
        where(np.zeros(3))
    with pytest.raises(ds.UserError, match="NaN or Inf"):
        where(np.full((1, 2), np.nan))
    own = ds.noise.plane((2, 2), mnist.shape, lengths=(9.0, 9.0))
    labels = ds.classify(ds.sample(mnist, own.batch(range(4)), steps=2)).label
    np.testing.assert_array_equal(
        ds.basins.label_of(mnist, own, steps=2, lanes=8)(np.stack([own.coords["u"], own.coords["v"]], 1)),
        labels,
    )


def test_answers_at_points_are_those_of_the_map(digits):
    plane = ds.noise.plane((3, 2), digits.shape, lengths=(30.0, 30.0))
    cells = np.stack([plane.coords["u"], plane.coords["v"]], 1)
    label_of = ds.basins.label_of(digits, plane, steps=3, lanes=8, reject=True)
    found, mapped = label_of.answers(cells), ds.basins.map(digits, plane, steps=3, lanes=8, reject=True)
    assert set(found.data_vars) == {"label", "confidence", "margin", "likeness", "nonfinite"}
    for name, values in found.data_vars.items():
        np.testing.assert_array_equal(values, mapped[name].values.T.ravel())
    np.testing.assert_array_equal(np.stack([found["u"], found["v"]], 1), cells)
    nothing = label_of.answers(np.zeros((0, 2)))
    assert nothing.sizes == {"point": 0} and nothing["label"].dtype == found["label"].dtype


@pytest.mark.parametrize("method", ["exact", "adaptive"])
def test_the_callback_sees_the_map_become_finer(mixture, method):
    """In each of its maps every cell has a label: that of the nearest computed cell."""
    plane, seen = ds.noise.plane((40, 30), mixture.shape, lengths=(8.0, 6.0), base_seed=1), []
    options = {"steps": 4, "classifier": side, "method": method, "batch_size": 256}
    found = ds.basins.map(mixture, plane, **options, callback=seen.append)
    computed = [int(shown["computed"].sum()) for shown in seen]
    assert len(seen) > 2 and computed == sorted(computed) and computed[-1] == int(found["computed"].sum())
    for shown in seen[:-1]:
        done = shown["computed"].values
        np.testing.assert_array_equal(shown["label"].values[done], found["label"].values[done])
        rows, columns = np.nonzero(done)
        for row, column in ((0, 0), (17, 33), (29, 39)):
            distance = (rows - row) ** 2 + (columns - column) ** 2
            nearest = shown["label"].values[rows, columns][distance == distance.min()]
            assert shown["label"].values[row, column] in nearest
    assert found.identical(ds.basins.map(mixture, plane, **options)) and seen[-1].identical(found)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_classes(mnist):
    plane = ds.noise.plane((4, 4), mnist.shape, lengths=(60.0, 60.0))
    plain, fast = (ds.basins.map(mnist, plane, steps=2, lanes=16, fast=fast) for fast in (False, True))
    np.testing.assert_array_equal(plain["label"], fast["label"])
    np.testing.assert_allclose(plain["confidence"], fast["confidence"], atol=1e-3)
    assert fast.attrs["fingerprint"]["fast"] and not plain.attrs["fingerprint"]["fast"]


@pytest.mark.slow
def test_a_compiled_network_in_double_precision_is_refused():
    """Its embedding of the timestep, which is in float32, has other last bits; at timestep 0 it has the same."""
    digits = ds.load("digits", device="cpu", dtype="float64")
    plane = ds.noise.plane((2, 2), digits.shape)
    with pytest.raises(ds.UserError, match=r"compiled, the output differs by .*fast"):
        ds.basins.map(digits, plane, steps=4, lanes=4, fast=True)


def test_a_map_resumes_from_its_checkpoint(digits, tmp_path):
    plane, out = ds.noise.plane((4, 5), digits.shape, lengths=(10.0, 10.0)), tmp_path / "map.npz"
    whole = ds.basins.map(digits, plane, steps=1, lanes=8)

    def stop(finished, total):
        assert (finished, total) == (8, 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ds.basins.map(digits, plane, steps=1, lanes=8, checkpoint=Checkpoint(out, progress=stop))
    left = checkpoint.read(out)
    assert left["computed"].sum() == 8 and (left["label"].to_numpy()[~left["computed"]] == -1).all()
    found = ds.basins.map(digits, plane, steps=1, lanes=8, checkpoint=Checkpoint(out, resume=True))
    for resumed in (found, checkpoint.read(out)):
        assert resumed.drop_attrs().identical(whole.drop_attrs())
    with pytest.raises(ds.UserError, match="exists"):
        ds.basins.map(digits, plane, steps=1, lanes=8, checkpoint=out)
    for options, difference in (
        ({"steps": 2}, "num_steps: 1 → 2"),
        ({"reject": True}, "reject: False → True"),
        ({"classifier": lambda images: [0] * len(images)}, "classifier: digits-cnn → "),
        ({"lanes": 4}, "lanes: 8 → 4"),
    ):
        with pytest.raises(ds.UserError, match=difference):
            ds.basins.map(
                digits, plane, **{"steps": 1, "lanes": 8} | options, checkpoint=Checkpoint(out, resume=True)
            )


def test_images_that_are_not_finite_have_no_class(make_scheduler):
    network = NaNAbove(lambda x, _timestep: torch.zeros_like(x))
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), shape=(1, 28, 28), device="cpu")
    plane = ds.noise.plane((2, 2), denoiser.shape, lengths=(40.0, 40.0))
    found = ds.basins.map(denoiser, plane, steps=1, lanes=8)
    lost = (plane.batch(range(4))[:, 0, 0, 0] > 0).reshape(2, 2).T.numpy()
    assert 0 < lost.sum() < 4
    np.testing.assert_array_equal(found["nonfinite"], lost)
    np.testing.assert_array_equal(found["label"] == -1, lost)
    np.testing.assert_array_equal(found["confidence"].isnull(), lost)
    assert f"{lost.sum()} of 4 cells" in found.attrs["warnings"][0]
    assert found.attrs["warnings"][1:] == plane.warnings


def test_images_that_are_not_digits_are_rejected(digits):
    """Far from the base half of the images are not digits; the others keep their label."""
    plane = ds.noise.plane((4, 4), digits.shape, lengths=(30.0, 30.0))
    found, plain = (ds.basins.map(digits, plane, steps=5, lanes=8, reject=reject) for reject in (True, False))
    labels = ds.classify(ds.sample(digits, plane.batch(range(16)), steps=5), reject=True)
    for name in ("label", "confidence", "margin", "likeness"):
        np.testing.assert_array_equal(found[name].to_numpy().T.ravel(), getattr(labels, name))
    none = found["label"] == -1
    assert none.any() and not found["nonfinite"].any() and found.attrs["warnings"] == plane.warnings
    assert found["label"].where(~none, plain["label"]).equals(plain["label"])
    assert found.attrs["reject"] is True and "likeness" not in plain
    assert ds.dynamics.basin_fractions(found["label"]).classes[0] == -1


def test_a_function_classifies_finite_images_only(mixture):
    """Images that are not finite have the label −1, and so do those that the function rejects."""
    denoiser = models.denoiser(NaNAbove(mixture.network), mixture.scheduler, mixture.shape)
    plane = ds.noise.plane((3, 2), mixture.shape, lengths=(8.0, 6.0), base_seed=1)

    def checked(images):
        assert images.isfinite().all() and images.dtype == torch.float64
        return side(images) * 3 - 1

    found = ds.basins.map(denoiser, plane, steps=2, classifier=checked)
    lost = (plane.batch(range(6))[:, 0, 0, 0] > 0).reshape(3, 2).T.numpy()
    assert 0 < lost.sum() < 6
    np.testing.assert_array_equal(found["nonfinite"], lost)
    np.testing.assert_array_equal(found["label"], -1)  # all other cells have side 0
    assert f"{lost.sum()} of 6 cells" in found.attrs["warnings"][0]


def test_the_noise_of_a_stochastic_scheduler_is_common_to_all_cells_at_any_batch_size():
    """The boundary of two Gaussians under DDPM is a straight line, shifted by the common noise."""
    own, mean = models.unclipped_scheduler("ddpm"), torch.tensor([3.0, 0.0, 0.0, 0.0])
    denoiser = models.denoiser(models.TwoGaussians(mean, 0.04, own), own, (1, 1, 4))
    plane = ds.noise.plane((14, 14), denoiser.shape, lengths=(4000.0, 4000.0), base_seed=1)
    one, other = (
        ds.basins.map(denoiser, plane, steps=5, classifier=side, batch_size=size, lanes=4) for size in (4, 64)
    )
    assert one.identical(other)
    labels = one["label"].to_numpy()
    assert set(np.unique(labels)) == {0, 1}
    assert (np.abs(np.diff(labels, axis=1)).sum(1) <= 1).all() and (
        np.abs(np.diff(labels, axis=0)).sum(0) <= 1
    ).all()


@pytest.mark.slow
def test_a_killed_map_resumes_to_the_same_bits(recorder, tmp_path):
    out = tmp_path / "map.npz"
    line = (
        "basins map --device cpu --num_steps 1 --num_prompts_per_direction 6 8 --len_per_direction 60 60 "
        "--geometry flat --lanes 8 --endpoint"
    )
    running = recorder.start(*line.split(), "--output", out, "--picture", tmp_path / "map.png", holds_at=[5])
    running.until("call 5\n")  # the first is the probe of the fingerprint, the others label eight cells each
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    left = checkpoint.read(out)
    assert 8 <= left["computed"].sum() <= 24
    resumed = recorder.run(*line.split(), "--output", out, "--picture", tmp_path / "map.png", "--resume")
    assert resumed.wait() == 0, resumed.output
    denoiser = ds.load("mnist", device="cpu")
    plane = ds.noise.plane((6, 8), denoiser.shape, lengths=(60.0, 60.0))
    with threads_set_to(1):  # as in the killed process
        whole = ds.basins.map(denoiser, plane, steps=1, lanes=8)
        assert checkpoint.read(out).drop_attrs().identical(whole.drop_attrs())


def test_invalid_arguments_are_refused(tiny, mnist):
    plane = ds.noise.plane((2, 2), tiny.shape)
    for denoiser, noises, options, line in (
        (tiny, plane, {}, "LeNet-5 takes .*give classifier .*a function"),
        (mnist, plane, {}, r"plane holds noises \[2, 8, 8\]; allowed: \[1, 28, 28\]"),
        (tiny, ds.noise.random(4, tiny.shape), {}, "plane is not a plane of noises"),
        (tiny, plane.subset(range(2)), {"classifier": side}, "plane has 2 of the noises of a plane of 2×2"),
        (
            tiny,
            plane,
            {"classifier": side, "reject": True},
            "reject=True needs .*bundled classifiers.*, and classifier is .*leave out one",
        ),
        (tiny, plane, {"classifier": side, "batch_size": 0}, "batch_size is 0; allowed"),
        (
            mnist,
            ds.noise.plane((2, 2), mnist.shape),
            {"classifier": lenet.WEIGHTS, "reject": True},
            r"reject=True .*classifier is .*lenet5\.safetensors.*leave out one",
        ),
        (tiny, plane, {"classifier": lambda images: images}, "the classifier returned float32"),
        (
            mnist,
            ds.noise.plane((2, 2), mnist.shape),
            {"classifier": "nowhere.safetensors"},
            "nowhere.safetensors",
        ),
    ):
        with pytest.raises(ds.UserError, match=line):
            ds.basins.map(denoiser, noises, steps=1, **options)
    for measure in (ds.basins.map, ds.basins.label_of):
        with pytest.raises(ds.UserError, match="denoiser is"):
            measure(plane, tiny)
        with pytest.raises(ds.UserError, match="steps is 0; allowed"):
            measure(tiny, plane, steps=0, classifier=side)


@pytest.mark.parametrize("method", ["exact", "adaptive"])
def test_a_map_beyond_the_memory_is_refused_and_the_estimate_is_that_of_its_peak(
    mixture, monkeypatch, method
):
    plane = ds.noise.plane((300, 300), mixture.shape, lengths=(8.0, 6.0), base_seed=1)
    options = {"steps": 1, "classifier": side, "lanes": 256, "batch_size": 1024, "method": method}
    ds.basins.map(mixture, ds.noise.plane((9, 9), mixture.shape), **options)  # imports what it needs
    tracemalloc.start()
    ds.basins.map(mixture, plane, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * CELL_BYTES < peak / len(plane) < 1.05 * CELL_BYTES

    def never(_images):
        raise AssertionError

    monkeypatch.setattr(memory, "_free_on_host", lambda: CELL_BYTES * 90_000 - 1)
    with pytest.raises(
        ds.UserError, match=r"^plane of 90,000 noises takes 11\.2 MiB of memory, and 11\.2 MiB are free$"
    ):
        ds.basins.map(mixture, plane, **options | {"classifier": never})


def test_the_package_shows_its_public_names_and_understands_num_steps(mixture):
    assert dir(ds.basins) == ["PointLabels", "Tiles", "label_of", "map", "tiles", "zoom"]
    plane = ds.noise.plane((2, 2), mixture.shape, lengths=(8.0, 6.0))
    one, other = (
        ds.basins.map(mixture, plane, classifier=side, **{name: 3}) for name in ("steps", "num_steps")
    )
    assert one.identical(other)
    where = ds.basins.label_of(mixture, plane, num_steps=3, classifier=side)
    assert "\n" not in repr(where) and "side" in repr(where)


@pytest.mark.parametrize("method", ["exact", "adaptive"])
def test_workers_that_come_and_go_change_only_how_many_cells_are_computed_at_once(
    digits, monkeypatch, method
):
    plane = ds.noise.plane((30, 30), digits.shape, lengths=(16, 16), geometry="spherical")
    expected = ds.basins.map(digits, plane, steps=1, lanes=8, method=method)
    sizes = itertools.cycle([64, 8, 8, 256, 16])
    monkeypatch.setattr(Labelling, "rows_together", lambda *_: next(sizes))
    assert ds.basins.map(digits, plane, steps=1, lanes=8, method=method).identical(expected)
