"""Adaptive maps through a real scheduler: the labels of brute force, an honest audit, and the same result after a stop."""

import numpy as np
import pytest
import torch
from label_planes import newton_labels
from scipy import stats

import denoscope as ds
from denoscope.basins.map_cells import distance_from_boundary
from denoscope.dynamics.boundaries.audit import Audit
from denoscope.dynamics.known import analytic_models as models
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.spelling import as_flags

LENGTHS = (8.0, 6.0)
STOPPED = {"steps": 4, "method": "adaptive", "lanes": 64, "batch_size": 256}


@pytest.fixture(scope="module")
def plane(linear):
    return ds.noise.plane((160, 140), linear.shape, lengths=LENGTHS, base_seed=1, endpoint=False)


class Pattern:
    """Labels of images by their place in the plane: a disk, a tongue, an island, and what is not finite."""

    def __init__(self, linear, plane):
        (one,) = ds.sample(linear, plane.tensor(0)[None], steps=4)
        self.factor = float(one.flatten()[0] / plane.tensor(0).flatten()[0])
        base, self.directions = plane.at([[0.0, 0.0]], torch.float64).flatten(), plane.directions.flatten(1)
        self.base = base
        self.calls = 0

    def __call__(self, images):
        self.calls += len(images)
        offset = images.double().flatten(1) / self.factor - self.base
        u, v = (offset @ self.directions.T).T
        label = (torch.hypot(u - 1, v) < 1.5).long()
        label[(v - torch.sin(2 * u)).abs() < 0.08] = 2
        label[torch.hypot(u + 3, v + 2) < 0.2] = 3
        return label


def test_an_adaptive_map_has_the_labels_of_brute_force(linear, plane):
    pattern = Pattern(linear, plane)
    options = {"steps": 4, "classifier": pattern, "lanes": 256, "batch_size": 1024}
    exact = ds.basins.map(linear, plane, method="exact", **options)
    pattern.calls = 0
    found = ds.basins.map(linear, plane, method="adaptive", audit=200, **options)
    assert set(np.unique(exact["label"])) == {0, 1, 2, 3}
    assert np.array_equal(found["label"], exact["label"])
    assert pattern.calls == int(found["computed"].sum()) < 0.2 * len(plane)
    assert np.array_equal(found["computed"], found["status"] == 1) and set(np.unique(found["status"])) == {
        1,
        3,
    }
    filled = len(plane) - pattern.calls + 200
    assert found.attrs["audit"] == {"filled": filled, "checked": 200, "wrong": 0}
    assert found["label"].attrs["audit"] == found.attrs["audit"], "measures of the label know it too"
    warning, *of_the_plane = found.attrs["warnings"]
    assert of_the_plane == plane.warnings
    assert (
        f"{filled} of 22400 cells were filled; of 200 that were then computed to check them, 0 had another label"
        in warning
    )
    assert "up to 1.49% may be wrong" in warning
    # No wrong cell in 200 is drawn with a chance of 5 % (0.1 %) at these shares.
    assert found.attrs["wrong_bound_95"] == pytest.approx(1 - 0.05 ** (1 / 200), rel=1e-12)
    assert found.attrs["wrong_bound_99_9"] == pytest.approx(1 - 0.001 ** (1 / 200), rel=1e-12)
    assert found["status"].attrs["flag_meanings"].split()[1] == "computed"
    assert "status" not in exact and not {"audit", "wrong_bound_95"} & exact.attrs.keys()


def test_calls_are_filled_up_with_cells_that_are_needed_later(linear, plane):
    """While cells are left that the audit will check, no row is padding; the labels are those of calls of one row."""
    pattern = Pattern(linear, plane)
    options = {"steps": 4, "classifier": pattern, "method": "adaptive", "audit": 2000}
    found = ds.basins.map(linear, plane, lanes=64, batch_size=256, **options)
    padding = found.attrs["network_rows"] - int(found["computed"].sum())
    assert found.attrs["network_rows"] % 64 == 0 and 0 <= padding < 64
    single = ds.basins.map(linear, plane, lanes=1, batch_size=256, **options)
    assert single.attrs["network_rows"] == int(single["computed"].sum())
    assert np.array_equal(single["label"], found["label"])
    assert single.attrs["audit"]["checked"] == found.attrs["audit"]["checked"] == 2000


def test_a_boundary_of_three_basins_at_once_is_found_to_the_share_that_the_audit_allows(linear, plane):
    """Newton's basins: the boundary is fractal, and each of its points is on that of all three (Wada)."""
    pattern = Pattern(linear, plane)

    def newton(images):
        offset = images.double().flatten(1) / pattern.factor - pattern.base
        return newton_labels((offset @ pattern.directions.T).numpy() + 1e-6)

    options = {"steps": 4, "classifier": newton, "lanes": 256, "batch_size": 1024}
    exact = ds.basins.map(linear, plane, method="exact", **options)
    cells = np.stack(np.meshgrid(exact["u"], exact["v"]), -1)
    assert np.mean(exact["label"] != newton_labels(cells + 1e-6)) < 0.002, "x_T is rounded to float32"
    found = ds.basins.map(linear, plane, method="adaptive", audit=400, **options)
    computed, wrong = found["computed"].values, (found["label"] != exact["label"]).values
    assert not wrong[computed].any() and computed.mean() < 0.5
    assert set(np.unique(found["label"])) == {0, 1, 2}
    audit = Audit(**found.attrs["audit"])
    assert wrong[~computed].mean() < min(0.01, audit.bound(0.999))


def test_rejected_images_of_a_real_network_are_a_class_whose_boundary_is_found(digits):
    """Far from the base, images are no digits; the likeness decides there, and not the margin."""
    x = ds.noise.plane((40, 40), digits.shape, lengths=(24.0, 24.0), endpoint=False)
    options = {"steps": 4, "reject": True, "lanes": 64, "batch_size": 1024}
    exact = ds.basins.map(digits, x, method="exact", **options)
    found = ds.basins.map(digits, x, method="adaptive", audit=300, **options)
    rejected = (exact["label"] == -1).mean()
    assert 0.05 < rejected < 0.95 and len(np.unique(exact["label"])) > 3 and not exact["nonfinite"].any()
    computed, wrong = found["computed"].values, (found["label"] != exact["label"]).values
    for name in ("label", "likeness", "margin"):
        np.testing.assert_array_equal(found[name].values[computed], exact[name].values[computed])
    assert 0 < computed.mean() < 0.9
    audit = Audit(**found.attrs["audit"])
    assert wrong[~computed].mean() < min(0.01, audit.bound(0.999))
    ours, theirs = ((labels == -1).values for labels in (found["label"], exact["label"]))
    assert np.count_nonzero(ours != theirs) <= wrong.sum() and ours[computed].any()


def test_the_default_is_adaptive_where_both_axes_have_128_cells(linear):
    for counts, adaptive in (((128, 128), True), ((127, 200), False)):
        x = ds.noise.plane(counts, linear.shape, lengths=LENGTHS)
        found = ds.basins.map(
            linear,
            x,
            steps=1,
            lanes=256,
            batch_size=4096,
            audit=1 if adaptive else None,
            classifier=lambda images: images[:, 0, 0, 0] > 0,
        )
        assert ("status" in found) == adaptive


def test_the_audit_finds_islands_that_are_missed(linear, plane):
    """Every 7th cell of both axes is another class: the corners of blocks, 8 cells apart, meet few of them."""
    columns, rows = np.divmod(np.arange(len(plane)), plane.counts[1])
    odd = set(np.flatnonzero((columns % 7 == 3) & (rows % 7 == 3)).tolist())
    labels = np.isin(np.arange(len(plane)), list(odd)).astype(int)
    scale = Pattern(linear, plane).factor
    first = {
        float(value): index
        for index, value in enumerate(plane.batch(range(len(plane))).double().flatten(1)[:, 0])
    }
    keys = np.array(list(first))

    def by_place(images):
        values = images.double().flatten(1)[:, 0].numpy() / scale
        return labels[[first[keys[np.abs(keys - value).argmin()]] for value in values]]

    found = ds.basins.map(
        linear, plane, steps=4, classifier=by_place, method="adaptive", audit=400, lanes=64, batch_size=1024
    )
    truth = np.zeros(found["label"].shape, int)
    truth[rows, columns] = labels
    audit = Audit(**found.attrs["audit"])
    share = np.count_nonzero((found["label"].values != truth)[found["status"].values != 1]) / audit.filled
    assert audit.wrong > 0 and share < audit.bound(0.999)
    assert (
        f"of 400 that were then computed to check them, {audit.wrong} had another label"
        in found.attrs["warnings"][0]
    )
    for name, level in (("wrong_bound_95", 0.95), ("wrong_bound_99_9", 0.999)):
        exact = stats.binomtest(audit.wrong, 400, alternative="less").proportion_ci(level, "exact").high
        assert found.attrs[name] == pytest.approx(exact, rel=1e-9)


@pytest.fixture(scope="module")
def whole(linear, plane):
    """The whole map, and how many cells it computed."""
    pattern = Pattern(linear, plane)
    found = ds.basins.map(linear, plane, **STOPPED | {"classifier": pattern})
    return found, pattern.calls


@pytest.mark.parametrize("after", [1, pytest.param(5, marks=pytest.mark.slow), 9])
def test_an_adaptive_map_that_was_stopped_resumes_to_the_same_map_without_computing_a_cell_twice(
    linear, plane, whole, tmp_path, after
):
    pattern, reports, (whole, every) = Pattern(linear, plane), [], whole
    options = STOPPED | {"classifier": pattern}

    def stop(done, total):
        reports.append((done, total))
        if len(reports) == after:
            raise KeyboardInterrupt

    path = tmp_path / "map.npz"
    with pytest.raises(KeyboardInterrupt):
        ds.basins.map(linear, plane, checkpoint=Checkpoint(path, progress=stop), **options)
    resumed = ds.basins.map(linear, plane, checkpoint=Checkpoint(path, resume=True, progress=stop), **options)
    assert pattern.calls == every and resumed.identical(whole.assign_attrs(resumed.attrs))
    assert resumed.attrs["audit"] == whole.attrs["audit"]
    assert Checkpoint(path).read()["label"].attrs["audit"] == whole.attrs["audit"], "in the file too"
    assert all(total is None for _, total in reports[:-1]), "nobody knows how many cells will be computed"
    assert all(done <= every for done, _ in reports) and reports[-1] == (every, every)


def test_a_checkpoint_of_another_method_is_refused(linear, plane, tmp_path):
    path = tmp_path / "map.npz"
    options = {"steps": 1, "classifier": Pattern(linear, plane), "lanes": 64, "batch_size": 4096}
    ds.basins.map(linear, plane, method="adaptive", checkpoint=path, **options)
    with pytest.raises(ds.UserError, match="method"):
        ds.basins.map(linear, plane, method="exact", checkpoint=Checkpoint(path, resume=True), **options)


def test_cells_that_are_not_finite_are_a_class_of_their_own(linear, plane):
    class NaNWhere(torch.nn.Module):
        def forward(self, x, timestep):
            output = linear.network(x, timestep)
            return torch.where((x.flatten(1)[:, :1].abs() < 0.3)[:, :, None, None], torch.nan, output)

    denoiser = models.denoiser(NaNWhere(), linear.scheduler, linear.shape)
    options = {
        "steps": 1,
        "classifier": lambda images: images[:, 0, 0, 1] > 0,
        "lanes": 256,
        "batch_size": 4096,
    }
    found, exact = (ds.basins.map(denoiser, plane, method=name, **options) for name in ("adaptive", "exact"))
    assert np.array_equal(found["label"], exact["label"]) and (exact["label"] == -1).any()
    assert np.array_equal(found["nonfinite"], exact["nonfinite"]) and not found["computed"].all()
    lost = int((exact["label"] == -1).sum())
    line = f"{lost} of 22400 cells became NaN or infinite and have the label −1"
    assert found.attrs["warnings"][0] == exact.attrs["warnings"][0] == line


def test_the_boundary_between_cells_that_are_rejected_and_not_finite_is_found(linear, plane):
    """Both have the label −1; the left half is not finite, and the lower half of the others is rejected."""
    base, directions = plane.at([[0.0, 0.0]], torch.float64).flatten(), plane.directions.flatten(1)

    class NaNOnTheLeft(torch.nn.Module):
        def forward(self, x, timestep):
            left = (x.double().flatten(1) - base) @ directions[0] < 0.3
            return torch.where(left[:, None, None, None], torch.nan, linear.network(x, timestep))

    first = models.denoiser(NaNOnTheLeft(), linear.scheduler, linear.shape)
    (one,) = ds.sample(linear, plane.tensor(0)[None], steps=1)
    scale = float(one.flatten()[0] / plane.tensor(0).flatten()[0])

    def classify(images):
        v = (images.double().flatten(1) / scale - base) @ directions[1]
        return torch.where(v < -0.7, -1, 4)

    options = {"steps": 1, "classifier": classify, "lanes": 256, "batch_size": 4096}
    found, exact = (ds.basins.map(first, plane, method=name, **options) for name in ("adaptive", "exact"))
    rejected = (exact["label"] == -1) & ~exact["nonfinite"]
    assert 0.1 < rejected.mean() < 0.4 < exact["nonfinite"].mean() < 0.6
    assert np.array_equal(found["label"], exact["label"])
    assert np.array_equal(found["nonfinite"], exact["nonfinite"]) and found["computed"].mean() < 0.2


@pytest.mark.parametrize(
    ("filled", "checked", "wrong"), [(1000, 300, 0), (1000, 300, 3), (5, 5, 5), (0, 0, 0), (1000, 0, 0)]
)
def test_the_bound_of_an_audit_is_the_exact_binomial_one(filled, checked, wrong):
    bound = Audit(filled=filled, checked=checked, wrong=wrong).bound(0.95)
    if not filled:
        assert bound == 0
    elif wrong == checked:
        assert bound == 1
    else:
        assert stats.binom.cdf(wrong, checked, bound) == pytest.approx(0.05, abs=1e-9)


def test_an_audit_of_more_cells_than_are_filled_says_that_all_were_checked(linear, tmp_path):
    path = tmp_path / "map.npz"
    x = ds.noise.plane((16, 16), linear.shape, lengths=(0.5, 0.5))
    options = {
        "steps": 1,
        "lanes": 64,
        "method": "adaptive",
        "classifier": lambda images: images[:, 0, 0, 0] > 0,
    }
    found = ds.basins.map(linear, x, audit=10_000, checkpoint=path, **options)
    filled = found.attrs["audit"]["filled"]
    assert found.attrs["audit"]["checked"] == filled < 256 and found["computed"].all()
    assert f"audit is 10000, and only {filled} cells were filled" in found.attrs["warnings"][0]
    # The difference is named as the argument is spelled, not as the file names it.
    with pytest.raises(ds.UserError, match=r"differs in audit: 10000 → 7;"):
        ds.basins.map(linear, x, audit=7, checkpoint=ds.Checkpoint(path, resume=True), **options)
    with as_flags({"audit": "--audit"}), pytest.raises(ds.UserError, match=r"differs in --audit: 10000 → 7;"):
        ds.basins.map(linear, x, audit=7, checkpoint=ds.Checkpoint(path, resume=True), **options)


def test_the_progress_of_an_adaptive_map_counts_computed_cells_without_a_total_until_the_end(linear, plane):
    pattern, seen = Pattern(linear, plane), []

    def progress(done, total):
        seen.append((done, total, pattern.calls))

    options = {"steps": 1, "lanes": 64, "batch_size": 256, "method": "adaptive", "audit": 100}
    found = ds.basins.map(
        linear, plane, classifier=pattern, checkpoint=ds.Checkpoint(progress=progress), **options
    )
    assert all(done == calls for done, _, calls in seen) and len(seen) > 5
    assert all(total is None for _, total, _ in seen[:-1])
    assert seen[-1][:2] == (int(found["computed"].sum()),) * 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"method": "fast"}, "method is 'fast'; allowed: auto, adaptive, exact"),
        ({"method": None}, "method is None"),
        ({"method": "adaptive", "audit": -1}, "audit is -1; allowed: an integer of at least 0"),
        ({"method": "adaptive", "audit": 1.5}, "audit is 1.5"),
        (
            {"method": "exact", "audit": 10},
            "audit is 10, but method='exact' .* leave it out, or choose method='adaptive'",
        ),
    ],
)
def test_invalid_options_are_refused(linear, plane, options, line):
    with pytest.raises(ds.UserError, match=line):
        ds.basins.map(linear, plane, classifier=Pattern(linear, plane), **options)


def test_an_audit_of_a_map_that_auto_computes_exactly_is_refused(linear):
    small = ds.noise.plane((127, 200), linear.shape)
    with pytest.raises(
        ds.UserError, match=r"audit is 10, but method='auto' .*128.* choose method='adaptive'"
    ):
        ds.basins.map(linear, small, method="auto", audit=10, classifier=Pattern(linear, small))


def test_the_distance_from_the_boundary_is_half_the_difference_of_two_logits_and_does_not_saturate():
    logits = torch.tensor([0.0, 0.1, 1.0, 5.0, 8.0, 30.0], dtype=torch.float64)
    first = torch.sigmoid(logits).float()
    found = distance_from_boundary(np.zeros(6, int), (first - (1 - first)).numpy())
    np.testing.assert_allclose(found[:4], logits[:4] / 2, rtol=1e-4, atol=1e-7)
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()


def test_an_image_is_as_far_from_another_label_as_from_being_rejected():
    """Near its threshold the likeness decides, however large the margin of the digit is."""
    label, margin = np.array([3, 3, -1, -1]), np.full(4, 0.9999, np.float32)
    likeness = np.array([1.01, 1e3, 0.99, 1e-3], np.float32)
    found = distance_from_boundary(label, margin, likeness)
    expected = [np.log(1.01), np.arctanh(0.9999), -np.log(0.99), np.log(1e3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
