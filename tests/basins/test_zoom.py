"""Zooms into boundaries of known shape, through a real scheduler: where they are, how they scale, and where they end."""

import math
from fractions import Fraction

import analytic
import numpy as np
import pytest
import torch
from scipy import stats

import denoscope as ds
from denoscope.basins.labelling import parse_labelling
from denoscope.basins.zooming.rounding_floor import changes_with_rounding
from denoscope.config import LANES
from denoscope.dynamics.known import analytic_models as models
from denoscope.foundation import memory
from denoscope.foundation.checkpoint import Checkpoint

MEAN = torch.tensor([3.0, 0.0, 0.0, 0.0], dtype=torch.float64)
FAST = {"steps": 4, "lanes": 128, "batch_size": 1024, "checks": 32, "audit": 16}


def side(images):
    return (images[:, 0, 0, 0] > 0).long()


@pytest.fixture(scope="module")
def mixture():
    own = models.unclipped_scheduler("ddim")
    return models.denoiser(models.TwoGaussians(MEAN, 0.04, own), own, (1, 1, 4))


@pytest.fixture(scope="module")
def plane(mixture):
    return ds.noise.plane((32, 32), mixture.shape, lengths=(8.0, 8.0), base_seed=1)


@pytest.fixture(scope="module")
def straight(mixture, plane):
    """Every third decade, down to the precision of x_T."""
    return ds.basins.zoom(mixture, plane, classifier=side, factor=1000, **FAST)


def test_the_middle_is_a_point_of_the_boundary_to_the_last_digits(plane, straight):
    """The boundary of DDIM between two Gaussians is m·x_T = 0, exactly."""
    middle = straight["anchors"].values[0]
    assert abs(middle.flatten() @ MEAN.numpy()) < 1e-14
    u, v = map(Fraction, straight.attrs["point"])
    base, first, second = (x.flatten().tolist() for x in plane.frame.vectors("flat"))
    exact = [
        float(Fraction(b) + u * Fraction(x) + v * Fraction(y))
        for b, x, y in zip(base, first, second, strict=True)
    ]
    np.testing.assert_allclose(middle.flatten(), exact, rtol=0, atol=2e-15)
    assert straight.attrs["labels"] in ([0, 1], [1, 0])


def test_every_level_has_the_labels_of_the_closed_form(straight):
    along = straight["anchors"].values[1:, 0, 0, 0] - straight["anchors"].values[0, 0, 0, 0]
    offset = along[0] * straight["u"].values[:, None, :] + along[1] * straight["v"].values[:, :, None]
    far = np.abs(offset) > 1e-14
    np.testing.assert_array_equal(straight["label"].values[far], (offset > 0)[far].astype(int))


def test_a_straight_boundary_has_dimension_one_at_every_length_down_to_the_precision(straight):
    half_width = straight["half_width"].values
    assert half_width[0] == 4 and half_width[-1] < 1e-11 and straight["finished"].all()
    np.testing.assert_allclose(straight["decade_dimension"], 1, atol=0.04)
    assert (straight["shown"] == "smooth").all()
    exponents = straight["uncertainty_exponent"].values  # 2 − D
    np.testing.assert_allclose(exponents, 1, atol=0.3)
    assert np.median(exponents) == pytest.approx(1, abs=0.1)
    low, high = straight["uncertainty_interval"].values.T
    assert ((low <= 1) & (high >= 1)).mean() > 0.7
    low, high = straight["dimension_interval"].values.T
    assert ((low < 1) & (high > 1)).all()
    assert (straight["curvature"] < straight["curvature_error"]).all()
    assert "precision of x_T" in straight.attrs["stopped"]
    assert (straight["denoised"] < 1024 / 2 + 200).all() and not straight["wrong"].any()


def test_denoised_noises_are_those_that_the_network_gets(mixture, plane):
    """Growth needs the images of 16 noises a level and no labels."""
    classified = []

    def counted(images):
        classified.append(len(images))
        return side(images)

    rows = []
    hook = mixture.network.register_forward_pre_hook(lambda _network, inputs: rows.append(len(inputs[0])))
    for method in ("exact", "adaptive"):
        classified.clear()
        rows.clear()
        options = {**FAST, "audit": None} if method == "exact" else FAST
        found = ds.basins.zoom(mixture, plane, classifier=counted, levels=2, method=method, **options)
        checked = found["rounding_checked"].sum(("y", "x")).values
        computed = found["computed"].sum(("y", "x")).values
        assert (checked > 10).all()
        np.testing.assert_array_equal(found["denoised"], computed + 3 * checked + 16)
        # The search takes 257 noises and then 127 at a time, and one call of the network identifies it.
        search = 384 + 128 * (found.attrs["search_denoised"] - 257) // 127
        assert sum(rows) == 4 * (search + int(found["network_rows"].sum())) + 128
        assert (found["network_rows"] > found["denoised"]).all()
        assert found.attrs["search_denoised"] + (found["denoised"] - 16).sum() == sum(classified)
    hook.remove()


def test_filled_cells_of_a_level_are_checked_and_wrong_ones_counted(mixture, plane):
    """Beside the boundary m·x_T = 0, pairs of cells of a third class lie in the filled areas of the first level."""

    def specks(images):
        x = images.double()[:, 0, 0]
        speck = (x[:, 1:3] * 1000).long().sum(1) % 40 == 0
        return torch.where(speck, 2, (x[:, 0] > 0).long())

    options = {**FAST, "classifier": specks, "levels": 1, "factor": 2}
    unchecked, few, every = (
        ds.basins.zoom(mixture, plane, **{**options, "audit": count}) for count in (0, 200, 1024)
    )
    truth = every["label"].values
    missed = unchecked["label"].values != truth
    filled = unchecked["computed"].values == 0
    assert every["computed"].all() and 5 < missed.sum() == every["wrong"].values[0]
    for found, checked in ((unchecked, 0), (few, 200), (every, filled.sum())):
        newly = found["computed"].values & filled
        assert found["filled"].values == filled.sum() and found["checked"].values == checked == newly.sum()
        assert found["wrong"].values == (newly & missed).sum()
    assert few["wrong"].values > 0 and (unchecked["wrong_bound_95"] == 1).all()
    bound = stats.binomtest(int(few["wrong"][0]), 200, alternative="less").proportion_ci(0.999, "exact").high
    assert few["wrong_bound_99_9"].values == pytest.approx(bound, rel=1e-9)
    assert "were filled" in few.attrs["warnings"][0]


def test_the_measures_of_a_level_and_of_a_decade_allow_for_the_filled_cells_that_may_be_wrong(mixture, plane):
    """Without checks every filled cell may be wrong; if all are checked none is, as in an exact map."""
    options = {**FAST, "classifier": side, "levels": 2, "factor": 2}
    unchecked, every = (ds.basins.zoom(mixture, plane, **{**options, "audit": count}) for count in (0, 1024))
    exact = ds.basins.zoom(mixture, plane, **{**options, "audit": None, "method": "exact"})
    measures = [
        "dimension_interval",
        "uncertainty_interval",
        "decade_dimension_interval",
        "verdict",
        "box_counts",
    ]
    assert every[measures].equals(exact[measures]) and (exact["verdict"] == "smooth").all()
    np.testing.assert_array_equal(unchecked["box_side"], [1, 2, 4])
    for level in range(2):
        counts = {name: int(unchecked[name][level]) for name in ("filled", "checked", "wrong")}
        assert counts["filled"] > 500 and not counts["checked"]
        label = unchecked["label"][level].assign_attrs(audit=counts)
        expected = ds.dynamics.boundary_dimension(label, boxes=(2, 3, 5), seed=level)
        np.testing.assert_array_equal(unchecked["dimension_interval"][level], expected.interval)
        np.testing.assert_array_equal(unchecked["box_counts"][level], expected.fit.counts)
        # A plane of wrong cells everywhere has a boundary of dimension 2.
        assert unchecked["dimension_interval"][level, 1] > 1.5 > exact["dimension_interval"][level, 1]
        assert unchecked["uncertainty_interval"][level, 0] < 0.3 < exact["uncertainty_interval"][level, 0]
    assert unchecked["dimension"].equals(exact["dimension"])
    assert (unchecked["verdict"] == "undecided").all() and (unchecked["shown"] == "smooth").all()
    filled = int(unchecked["filled"].sum())
    reason = unchecked["reason"].values[0]
    assert (
        f"with {filled} wrong cells, which 0 checks of {filled} filled cells do not exclude (95%)" in reason
    )
    assert (unchecked["decade_dimension_interval"][:, 1] > 1.5).all()


def test_growth_on_the_boundary_is_that_of_the_closed_form(straight):
    """J = G m̂m̂ᵀ + g (1 − m̂m̂ᵀ); the mean of ‖J e‖² over directions e of the plane is half the sum over two of them."""
    every, growth_along, growth_across = analytic.levels(analytic.scheduler_of("ddim")), 1.0, 1.0
    for t in analytic.timesteps(4):
        now, then = every[t], every[t - 250] if t >= 250 else 1.0
        a, width = math.sqrt(then / now), now * 0.04 + 1 - now
        b = math.sqrt(1 - then) - math.sqrt(then * (1 - now) / now)
        growth_along *= a + b * math.sqrt(1 - now) / width * (1 - 9 * now / width)
        growth_across *= a + b * math.sqrt(1 - now) / width
    anchors = straight["anchors"].values.reshape(3, 4)
    directions = anchors[1:] - anchors[0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scaled = directions * np.array([growth_along, *[growth_across] * 3])
    assert straight["growth"].values[-2] == pytest.approx(math.log((scaled**2).sum() / 2) / 2, abs=1e-3)


def newton(steps):
    def root(images):
        return torch.from_numpy(models.nearest_root(images.double()[:, :, 0, 0].T.numpy()))

    denoiser = models.embedded(models.newton, steps, (2, 1, 1))
    options = {"steps": steps, "classifier": root, "lanes": 4096, "batch_size": 4096, "checks": 16}
    return denoiser, options


def test_newtons_boundary_is_fractal_in_a_decade_that_no_plane_of_its_cells_spans():
    denoiser, options = newton(20)
    x = ds.noise.plane((64, 64), denoiser.shape, lengths=(4.0, 4.0))
    found = ds.basins.zoom(denoiser, x, target=(0.1, 0.2), levels=3, method="exact", **options)
    assert found["decade_dimension"].values == pytest.approx([1.41], abs=0.05)
    assert found["verdict"].values == ["fractal"]
    assert found["computed"].all() and not found["filled"].any()
    assert found.attrs["stopped"] == "all levels that were asked for are finished"


def test_a_zoom_that_was_stopped_resumes_to_the_same_bits(mixture, plane, tmp_path):
    reports = []

    def stop(done, total):
        reports.append((done, total))
        if done == 1:
            raise KeyboardInterrupt

    path, options = tmp_path / "zoom.npz", {"classifier": side, "levels": 2, **FAST}
    with pytest.raises(KeyboardInterrupt):
        ds.basins.zoom(mixture, plane, checkpoint=Checkpoint(path, progress=stop), **options)
    whole = ds.basins.zoom(mixture, plane, **options)
    file = Checkpoint(path, resume=True)
    for _ in range(2):  # the second time there is nothing left to do
        resumed = ds.basins.zoom(mixture, plane, checkpoint=file, **options)
        assert resumed.equals(whole) and resumed.attrs["stopped"] == whole.attrs["stopped"]
        assert file.read().equals(resumed)
    assert reports == [(1, 2)]
    with pytest.raises(ds.UserError, match="factor"):
        ds.basins.zoom(mixture, plane, checkpoint=file, factor=3, **options)


def test_a_sphere_is_zoomed_at_its_norm(mixture):
    x = ds.noise.plane((32, 32), mixture.shape, lengths=(2.0, 2.0), base_seed=1, geometry="spherical")
    found = ds.basins.zoom(mixture, x, target=(-1.7, 1.2), classifier=side, levels=2, factor=1e6, **FAST)
    middle, radius = found["anchors"].values[0].flatten(), float(x.frame.vectors("spherical")[0].norm())
    assert abs(middle @ MEAN.numpy()) < 1e-14 and np.linalg.norm(middle) == pytest.approx(radius, rel=1e-14)
    again = x.at([[float(text) for text in found.attrs["point"]]], torch.float64).flatten()
    np.testing.assert_allclose(again, middle, rtol=0, atol=1e-13)
    assert found["dimension"].values[1] == pytest.approx(1, abs=0.04)


class Shifted(torch.nn.Module):
    """Another network whose output depends on the number of rows or threads, by `size` for each."""

    def __init__(self, network, what, size):
        super().__init__()
        self.network, self.what, self.size = network, what, size

    def forward(self, x, timestep):
        number = {"lanes": len(x) // 128, "threads": torch.get_num_threads()}[self.what]
        return self.network(x - self.size * number, timestep)


@pytest.mark.parametrize("what", ["lanes", "threads"])
def test_a_zoom_ends_where_lanes_or_threads_decide_the_labels(mixture, plane, what):
    """The boundary moves by 1e-6 along m, which is 1/16 of the cells of the level that is 1e-6·16·32/2 wide."""
    size = 1e-6
    shifted = models.denoiser(Shifted(mixture.network, what, size), mixture.scheduler, mixture.shape)
    options = {**FAST, "checks": 1000, "steps": 1}
    found = ds.basins.zoom(shifted, plane, classifier=side, factor=16, **options)
    assert f"boundary cells of level {len(found['level']) - 1}" in found.attrs["stopped"]
    spacing = 2 * found["half_width"].values / 32
    assert 0.05 < found["unstable_share"].values[-1] <= found["unstable"].values[-1].sum()
    assert size / 100 < spacing[-1] < size * 100
    assert (found["unstable_share"].values[:2] == 0).all()
    assert not (found["unstable"] & ~found["rounding_checked"]).any()


def test_a_zoom_whose_first_level_rounding_decides_has_no_decade_and_is_drawn(mixture, plane):
    shifted = models.denoiser(Shifted(mixture.network, "lanes", 0.1), mixture.scheduler, mixture.shape)
    found = ds.basins.zoom(shifted, plane, classifier=side, levels=2, **FAST)
    assert found.sizes["level"] == 1 and found.sizes["decade"] == 0
    for name in ("decade_range", "decade_dimension_interval"):
        assert found[name].shape == (0, 2)
    for name in ("decade_levels", "decade_dimension", "verdict", "reason"):
        assert found[name].shape == (0,)
    _, ax = ds.figures.plots.figure()
    ds.figures.draw_zoom(ax, found)
    assert found.attrs["stopped"] in ax.get_title() and not ax.containers


def test_the_last_bit_of_the_noise_decides_beside_the_boundary_only():
    """One step of a linear map that doubles: a number is above 1 or not, and the next float may be on the other side."""
    double = models.linear(2 * np.eye(3))
    labelling, _ = parse_labelling(
        double,
        ds.noise.plane((2, 2), double.shape),
        steps=1,
        classifier=lambda x: x[:, 0, 0, 0] > 2,
        reject=False,
        lanes=8,
        noise_seed=0,
        condition=ds.Condition({}),
    )
    x_T = torch.ones(400, *double.shape, dtype=torch.float64)
    bits = torch.arange(400) // 40 - 5
    x_T[:, 0, 0, 0] += bits * np.spacing(1.0)
    found = changes_with_rounding(labelling, x_T, labelling(x_T)["label"], np.random.default_rng(0))
    near = ((bits == 0) | (bits == 1)).numpy()  # the last one that is not above 1, and the first that is
    assert not found[~near].any() and 10 < found[near][:40].sum() < 30 and 10 < found[near][40:].sum() < 30


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"target": (90.0, 0.0)}, r"target is \(90.0, 0.0\), and it and all of 256 points"),
        (
            {"target": (math.nan, 0.0)},
            r"target is \(nan, 0.0\): the number along u is nan; allowed: a finite number",
        ),
        ({"target": 3}, "target is 3; allowed: two numbers, along u and along v"),
        ({"factor": 1}, "factor is 1; allowed: a number above 1"),
        ({"factor": math.nan}, "factor is nan"),
        ({"levels": 0}, "levels is 0; allowed: an integer of at least 1"),
        ({"levels": 99}, "levels is 99; allowed: 1 to 46.*float64 resolves"),
        ({"levels": 2.5}, "levels is 2.5"),
        ({"checks": 0}, "checks is 0"),
        ({"audit": -1}, "audit is -1"),
        ({"method": "fast"}, "method is 'fast'"),
    ],
)
def test_invalid_options_are_refused(mixture, plane, options, line):
    with pytest.raises(ds.UserError, match=line):
        ds.basins.zoom(mixture, plane, classifier=side, **{**FAST, **options})


def test_planes_that_no_zoom_begins_with_are_refused_before_anything_is_computed(mixture, monkeypatch):
    def never(_images):
        raise AssertionError

    def refusal(counts, lengths, **options):
        x = ds.noise.plane(counts, mixture.shape, lengths=lengths)
        with pytest.raises(ds.UserError) as caught:
            ds.basins.zoom(mixture, x, classifier=never, **{**FAST, **options})
        return str(caught.value)

    assert "24×64 cells; allowed: at least 25×25" in refusal((64, 24), (8.0, 8.0))
    monkeypatch.setattr(memory, "_free_on_host", lambda: 10_000_000)
    assert "a zoom of 42 levels of 4,096 cells takes 9.8 MiB" in refusal((64, 64), (8.0, 8.0), levels=42)


def test_a_float32_denoiser_zooms_to_its_precision_and_no_further(plane):
    own = models.unclipped_scheduler("ddim")
    single = models.denoiser(models.TwoGaussians(MEAN, 0.04, own), own, (1, 1, 4), dtype="float32")
    with pytest.raises(
        ds.UserError, match=r"levels is 40; allowed: 1 to 1.*float32.*load the denoiser with dtype='float64'"
    ):
        ds.basins.zoom(single, plane, classifier=side, levels=40, **FAST)
    found = ds.basins.zoom(single, plane, classifier=side, factor=100, **FAST)
    assert 1e-7 < found["half_width"].values[-1] < 1e-3 and "precision" in found.attrs["stopped"]


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 12, 64])
def test_every_number_of_lanes_has_another_one_that_is_allowed(lanes):
    from denoscope.basins.zooming.rounding_floor import _others

    other = _others(lanes)
    assert other != lanes and LANES[1](other)
