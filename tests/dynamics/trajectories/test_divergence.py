"""Divergence of perturbed trajectories: closed forms, plain NumPy over the stored arrays, and noise floors."""

import shutil
import tracemalloc

import numpy as np
import pytest
import torch
from analytic import ddim_factors, gaussian, levels, timesteps

import denoscope as ds
from denoscope import dynamics
from denoscope.dynamics.statistics.intervals import wilson
from denoscope.recording.opening import set_attribute

EIGENVALUES = (3.0, 3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """Two sets of perturbed noises through a random network, with two layers."""
    folder = tmp_path_factory.mktemp("divergence")
    for seed, epsilon in ((1, 0.5), (2, 2.0)):
        ds.noise.perturbed(3, tiny.shape, epsilon=epsilon, base_seed=seed).write(folder / "inputs")
    x = ds.noise.read(folder / "inputs")
    return ds.record(tiny, x, folder / "run.zarr", steps=4, layers=["conv_in", "mid_block"], lanes=4)


@pytest.mark.parametrize("array", ["sequence", "mid_block"])
def test_a_damaged_array_is_refused_only_if_it_is_read(recorded, tmp_path, array):
    path = shutil.copytree(recorded.path, tmp_path / "run.zarr")
    shard = next(file for file in (path / array / "c").rglob("*") if file.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ds.UserError, match=f"is damaged: {array}, sample .* does not match its checksum"):
        dynamics.divergence(ds.open(path))
    if array == "mid_block":
        assert "conv_in separation" in dynamics.divergence(ds.open(path), layers=["conv_in"])


def test_gaussian_data_separate_by_the_factors_of_each_step(tmp_path):
    """All eigenvalues are equal, so that every direction grows by the same factor."""
    denoiser = gaussian(EIGENVALUES)
    x = ds.noise.perturbed(5, denoiser.shape, epsilon=0.01, base_seed=3)
    found = dynamics.divergence(
        ds.record(denoiser, x, tmp_path / "run.zarr", steps=10, layers=["prediction"])
    )
    factors = ddim_factors(3.0, 10)
    assert found["separation"].dims == ("sample", "state") and found.sizes == {
        "sample": 5, "state": 11, "step": 10, "end": 2,
    }  # fmt: skip
    np.testing.assert_allclose(found["separation"][:, 0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(found["growth"], np.log(factors)[None].repeat(5, 0), atol=1e-9)
    np.testing.assert_allclose(found["growth_rate"], np.log(factors).sum() / 10, atol=1e-10)


@pytest.mark.slow
def test_pairs_along_singular_directions_grow_by_the_exponents(make_unet, make_scheduler, tmp_path):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=1.0, base_seed=3)
    exponents = dynamics.spectrum(denoiser, x.batch([0]), 2, steps=4, tolerance=1e-9)
    along = ds.noise.perturbed(2, denoiser.shape, epsilon=0.01, base_seed=3, directions=exponents.right)
    found = dynamics.divergence(
        ds.record(denoiser, along, tmp_path / "run.zarr", steps=4, layers=["conv_in"])
    )
    np.testing.assert_allclose(4 * found["growth_rate"], exponents.exponents, atol=2e-3)


def test_estimates_and_layers_of_gaussian_data_have_their_closed_form(tmp_path):
    """The estimate of x_0 is √ᾱ λ x/(ᾱλ + 1 − ᾱ), and the network's output √(1−ᾱ) x/(ᾱλ + 1 − ᾱ)."""
    denoiser, steps = gaussian(EIGENVALUES), 10
    x = ds.noise.perturbed(4, denoiser.shape, epsilon=0.01, base_seed=3)
    rec = ds.record(
        denoiser, x, tmp_path / "run.zarr", steps=steps, layers=["prediction"], extract_estimates=True
    )
    found = dynamics.divergence(rec)
    level = levels(denoiser.scheduler)[timesteps(steps)]
    denominator = level * 3.0 + 1 - level
    sizes = np.concatenate([[1.0], np.cumprod(ddim_factors(3.0, steps))[:-1]])
    expected = {
        "x_0_estimate": 0.01 * sizes * np.sqrt(level) * 3.0 / denominator,
        "prediction": 0.01 * sizes * np.sqrt(1 - level) / denominator,
    }
    for place, separation in expected.items():
        assert found[f"{place} growth"].dims == ("sample", "step")
        np.testing.assert_allclose(found[f"{place} separation"], separation[None].repeat(4, 0), rtol=1e-3)
        np.testing.assert_allclose(
            found[f"{place} growth"][:, :-1], np.diff(np.log(separation))[None].repeat(4, 0), atol=1e-6
        )
        assert np.isnan(found[f"{place} growth"][:, -1]).all()
    np.testing.assert_allclose(found["x_0_estimate separation"][:, -1], found["separation"][:, -1], rtol=1e-9)


def test_a_layer_that_does_not_depend_on_x_t_gives_a_warning(tiny, tmp_path):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=3, layers=["conv_in", "time_embedding"])
    found = dynamics.divergence(rec)
    assert np.isnan(found["time_embedding growth"]).all()
    assert np.isfinite(found["conv_in growth"][:, :-1]).all()
    assert any("time_embedding: 6 of 6 states are identical" in line for line in found.attrs["warnings"])


def test_every_measure_agrees_with_plain_numpy_over_the_stored_arrays(recorded):
    found, source = dynamics.divergence(recorded), recorded.dataset
    names = source["sample"].to_numpy().tolist()
    assert found.sizes["sample"] == 6 and set(found["base"].to_numpy()) == {"set_0001_base", "set_0002_base"}
    for name in found["sample"].to_numpy():
        row, base = names.index(name), names.index(str(found["base"].sel(sample=name).item()))
        for place, stored in (("", source["sequence"]), *((f"{k} ", source[k]) for k in recorded.states)):
            h, b = (stored[k].to_numpy().astype(np.float64).reshape(stored.shape[1], -1) for k in (row, base))
            apart, lengths = np.linalg.norm(h - b, axis=1), np.linalg.norm(b, axis=1)
            cosine = 1 - (h * b).sum(1) / (np.linalg.norm(h, axis=1) * lengths)
            of = found.sel(sample=name)
            np.testing.assert_allclose(of[f"{place}separation"], apart, rtol=1e-5)
            np.testing.assert_allclose(of[f"{place}relative"], apart / lengths, rtol=1e-5)
            np.testing.assert_allclose(of[f"{place}cosine"], cosine, atol=1e-6)


def test_a_pair_diverges_in_the_first_state_beyond_the_threshold(recorded):
    found = dynamics.divergence(recorded, threshold=1.01)
    separation = found["separation"].to_numpy()
    for row, first in zip(separation, found["diverged_at"].to_numpy(), strict=True):
        past = [k for k, value in enumerate(row) if value > 1.01 * row[0]]
        assert first == (past[0] if past else -1)
    gone = np.array([(found["diverged_at"] >= 0) & (found["diverged_at"] <= k) for k in range(5)]).mean(1)
    np.testing.assert_allclose(found["survival"], 1 - gone)
    low, high = found["survival_interval"].to_numpy().T
    assert (low <= found["survival"]).all() and (found["survival"] <= high).all()


def _survived(share_of_base, pairs, rng):
    """The interval of the survival of pairs; each base decides how many of its pairs stay together."""
    together = rng.random((len(share_of_base), pairs)) < share_of_base[:, None]
    ends = np.where(together, 1.5, 5.0).reshape(-1)
    bases = np.repeat(np.arange(len(share_of_base)), 1 + pairs) * (1 + pairs)
    paths = np.zeros((len(bases), 2, 1))
    perturbed = np.arange(len(bases)) != bases
    paths[perturbed] = np.stack([np.ones(len(ends)), ends], axis=1)[..., None]
    return dynamics.divergence_of(paths, bases)["survival_interval"].to_numpy()[-1]


@pytest.mark.parametrize(("bases", "pairs"), [(10, 20), (6, 5)])
def test_the_interval_of_survival_covers_that_of_other_bases(bases, pairs):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(100):
        low, high = _survived(rng.beta(1.5, 1.5, bases), pairs, rng)
        covered += low <= 0.5 <= high
    assert 88 <= covered <= 99  # of 95 %, fewer have a probability of 0.2 %


def test_pairs_of_one_base_and_one_pair_of_each_base_are_independent():
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(_survived(np.ones(8), 1, rng), wilson(8.0, 8.0))
    np.testing.assert_allclose(_survived(np.zeros(1), 9, rng), wilson(0.0, 9.0))


def test_steps_that_were_not_recorded_are_nan(tiny, tmp_path):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=4, layers=["conv_in"], every=(1, 3))
    found = dynamics.divergence(rec)["conv_in separation"]
    assert np.isnan(found[:, [0, 2]]).all() and (found[:, [1, 3]] > 0).all()


def test_separations_below_the_noise_floor_are_not_usable(recorded):
    assert "denoscope verify precision" in dynamics.divergence(recorded).attrs["warnings"][0]
    set_attribute(recorded.path, "noise_floor", {"per_state_l2": [0.0, 1.0, 0.0, 100.0, 0.0]})
    found = dynamics.divergence(ds.open(recorded.path))
    usable, separation = found["usable"].to_numpy(), found["separation"].to_numpy()
    assert usable[:, [0, 2, 4]].all() and not usable[:, 3].any()
    np.testing.assert_array_equal(usable[:, 1], separation[:, 1] > 1.0)
    assert f"{(~usable).sum()} of 30 separations" in found.attrs["warnings"][0]


def test_flattened_states_in_pt_files_give_the_same(recorded, tiny, tmp_path):
    x = ds.noise.read(recorded.path.parent / "inputs")
    other = ds.record(
        tiny, x, tmp_path / "run", steps=4, layers=["conv_in", "mid_block"], lanes=4, flatten=True
    )
    one, two = dynamics.divergence(recorded), dynamics.divergence(other)
    for name in one.data_vars:
        if name != "usable":
            np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"threshold": 1.0}, "threshold is 1.0; allowed: a number above 1"),
        ({"layers": 5}, "layers is 5; allowed: the query of a layer"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"threshold": "2"}, "threshold is '2'"),
        ({"layers": ["conv_out"]}, "layer 'conv_out' was not recorded; recorded layers: conv_in, mid_block"),
    ],
)
def test_invalid_options_are_refused(recorded, options, line):
    with pytest.raises(ds.UserError, match=line):
        dynamics.divergence(recorded, **options)


def test_a_missing_noise_floor_is_logged_and_stands_in_the_result(recorded, caplog):
    warnings = dynamics.divergence(recorded).attrs["warnings"]
    assert [record.message for record in caplog.records] == warnings[:1]
    assert warnings[0].endswith(f"denoscope verify precision --path {recorded.path}")
    assert caplog.records[0].name.startswith("denoscope.")


def test_a_recording_or_its_path_is_accepted(recorded):
    expected = dynamics.divergence(ds.open(recorded.path))
    for named in (recorded.path, str(recorded.path)):
        assert dynamics.divergence(named).identical(expected)
    for measure in (dynamics.divergence, dynamics.commitment):
        with pytest.raises(
            ds.UserError, match=r"nowhere.zarr: no such recording; ds\.record\(.*`denoscope record` makes one"
        ):
            measure("nowhere.zarr")
        with pytest.raises(ds.UserError, match=r"recording is a DataArray; allowed: .*ds\.open.*path"):
            measure(recorded.final)


@pytest.mark.parametrize("kind", ["numpy", "torch", "xarray"])
def test_arrays_give_the_divergence_of_their_recording(recorded, kind):
    expected = dynamics.divergence(recorded)
    arrays = {name: recorded.states[name] for name in recorded.states} | {"x": recorded.sequence}
    convert = {
        "numpy": lambda a: a.to_numpy(),
        "torch": lambda a: torch.from_numpy(a.to_numpy()),
        "xarray": lambda a: a,
    }
    x, *layers = (convert[kind](arrays[name]) for name in ("x", *recorded.states))
    found = dynamics.divergence_of(
        x, [0, 0, 0, 0, 4, 4, 4, 4], layers=dict(zip(recorded.states, layers, strict=True))
    )
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name])
    names = recorded.dataset["sample"].to_numpy()
    own = [names[k] for k in (1, 2, 3, 5, 6, 7)] if kind == "xarray" else [1, 2, 3, 5, 6, 7]
    assert found["sample"].to_numpy().tolist() == own
    if kind == "xarray":
        assert found["epsilon"].to_numpy().tolist() == [0.5] * 3 + [2.0] * 3


def test_noise_levels_along_the_states_remain(recorded):
    sigma, timestep = [4.0, 3.0, 2.0, 1.0, 0.0], [750, 500, 250, 0, np.nan]
    x = recorded.sequence.assign_coords(sigma=("state", sigma), timestep=("state", timestep))
    found = dynamics.divergence_of(x, [0, 0, 0, 0, 4, 4, 4, 4])
    assert found["separation"]["sigma"].to_numpy().tolist() == sigma
    np.testing.assert_array_equal(found["growth"]["step_timestep"], timestep[:-1])


@pytest.mark.parametrize(
    ("sequence", "bases", "options", "line"),
    [
        (np.ones((2, 3)), [0, 0], {}, r"sequence is an array \[2, 3\]; allowed"),
        ("run.zarr", [0, 0], {}, "sequence is 'run.zarr'"),
        (np.ones((2, 3, 4)), [0, 2], {}, r"bases is \[0, 2\]; allowed: .* 0 to 1"),
        (np.ones((2, 3, 4)), [0], {}, r"bases is \[0\]; allowed"),
        (np.ones((2, 3, 4)), [0, 1], {}, "bases names every sample"),
        (
            np.random.default_rng(0).normal(size=(2, 3, 4)),
            [0, 0],
            {"layers": {"mid": np.ones((2, 3, 4))}},
            "'mid' has 3",
        ),
        *(
            (
                np.random.default_rng(0).normal(size=(2, 3, 4)),
                [0, 0],
                {"layers": {"mid": np.ones((samples, 2, 4))}},
                f"'mid' has {samples} samples; allowed: 2",
            )
            for samples in (1, 3)
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(sequence, bases, options, line):
    with pytest.raises(ds.UserError, match=line):
        dynamics.divergence_of(sequence, bases, **options)


@pytest.mark.parametrize("zero", [0, 1])
def test_states_of_zeros_have_no_direction_and_give_a_warning_that_names_the_array(zero):
    sequence = np.ones((2, 3, 4)) + np.arange(2)[:, None, None]
    states = sequence[:, :2].copy()
    states[zero, 1] = 0
    found = dynamics.divergence_of(sequence, [0, 0], layers={"mid": states})
    assert [line for line in found.attrs["warnings"] if "is 0, where cosine is NaN" in line] == [
        "mid: in 1 of 2 states the sample or its base is 0, where cosine is NaN; relative is infinite or NaN where the base is"
    ]
    assert np.isfinite(found["mid cosine"].values).tolist() == [[True, False]]
    sequence[zero] = 0
    lines = dynamics.divergence_of(sequence, [0, 0]).attrs["warnings"]
    assert any(line.startswith("x: in 3 of 3 states") for line in lines)


def test_recordings_without_pairs_are_refused(tiny, tmp_path):
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), tmp_path / "random.zarr", steps=2)
    with pytest.raises(ds.UserError, match="holds no perturbed noises"):
        dynamics.divergence(rec)
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0).subset([1, 2])
    rec = ds.record(tiny, x, tmp_path / "alone.zarr", steps=2)
    with pytest.raises(ds.UserError, match=r"lacks set_0042_base, the base of set_0042_pert_000"):
        dynamics.divergence(rec)


class Function(torch.nn.Module):
    """Another function of x, with a layer."""

    def __init__(self, function):
        super().__init__()
        self.function, self.last = function, torch.nn.Identity()

    def forward(self, x, timestep):  # noqa: ARG002
        return self.last(self.function(x))


def test_trajectories_that_meet_are_refused(make_scheduler, tmp_path):
    def same(x):
        return torch.zeros_like(x) + 1e30  # float32 loses the difference beside it

    denoiser = ds.load(Function(same), scheduler=make_scheduler("ddim"), shape=(1, 1, 4), device="cpu")
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=0.1)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["last"])
    with pytest.raises(ds.UserError, match="identical in some state"):
        dynamics.divergence(rec)


def test_a_sample_that_is_not_finite_is_named(make_scheduler, tmp_path):
    denoiser = ds.load(
        Function(lambda x: x / 0), scheduler=make_scheduler("ddim"), shape=(1, 1, 4), device="cpu"
    )
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=0.1)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["last"])
    with pytest.raises(ds.UserError, match=r"x of set_0042_pert_000.* is NaN or infinite at entry 1"):
        dynamics.divergence(rec)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pairs(tiny, tmp_path):
    """With 4 and with 40 pairs, the peak is the states of one sample in one layer, beside the results."""
    peaks, sample_bytes = [], 20 * 8 * 64 * 4  # steps, channels, pixels and float32 of one sample in conv_in
    for count in (4, 40):
        x = ds.noise.perturbed(count, tiny.shape, epsilon=1.0)
        rec = ds.record(tiny, x, tmp_path / f"{count}.zarr", steps=20, layers=["conv_in"], lanes=4)
        dynamics.divergence(rec)  # imports what is imported lazily
        tracemalloc.start()
        dynamics.divergence(ds.open(rec.path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    results = 36 * (3 * 21 + 3 * 20 + 20) * 8
    assert peaks[1] - peaks[0] < 4 * results + 4 * sample_bytes < 0.5 * 36 * sample_bytes, peaks


def test_a_recording_in_memory_is_named_in_words(tiny):
    rec = ds.record(tiny, ds.noise.perturbed(1, tiny.shape, epsilon=0.5), steps=2, layers=["conv_in"])
    found = dynamics.divergence(rec, layers="conv_in")
    assert "conv_in separation" in found and "None" not in " ".join(found.attrs["warnings"])
    with pytest.raises(ds.UserError, match="the recording in memory holds no perturbed noises"):
        dynamics.divergence(ds.record(tiny, ds.noise.random(2, tiny.shape), steps=1))
