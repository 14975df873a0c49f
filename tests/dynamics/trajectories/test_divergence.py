"""How perturbed trajectories leave their base: closed forms, plain numpy over what is stored, and floors."""

import shutil
import tracemalloc

import numpy as np
import pytest
import torch
from analytic import ddim_factors, gaussian, levels, timesteps

import denoscope as ds
from denoscope import dynamics

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
def test_a_flipped_bit_is_refused_where_it_would_be_read(recorded, tmp_path, array):
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
    """All eigenvalues alike, so that every direction grows by the same."""
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


def test_along_singular_directions_pairs_grow_by_the_exponents(make_unet, make_scheduler, tmp_path):
    denoiser = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=1.0, base_seed=3)
    exponents = dynamics.spectrum(denoiser, x.batch([0]), 2, steps=4, tolerance=1e-9)
    along = ds.noise.perturbed(2, denoiser.shape, epsilon=0.01, base_seed=3, directions=exponents.right)
    found = dynamics.divergence(
        ds.record(denoiser, along, tmp_path / "run.zarr", steps=4, layers=["conv_in"])
    )
    np.testing.assert_allclose(4 * found["growth_rate"], exponents.exponents, atol=2e-3)


def test_estimates_and_layers_of_gaussian_data_separate_as_the_closed_form_says(tmp_path):
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


def test_a_layer_that_does_not_depend_on_x_t_is_told(tiny, tmp_path):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=3, layers=["conv_in", "time_embedding"])
    found = dynamics.divergence(rec)
    assert np.isnan(found["time_embedding growth"]).all()
    assert np.isfinite(found["conv_in growth"][:, :-1]).all()
    assert "time_embedding: 6 of 6 states are their base's, bit for bit: growth is NaN there" in found.attrs[
        "warnings"
    ]  # fmt: skip


def test_every_measure_is_that_of_plain_numpy_over_what_is_stored(recorded):
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


def test_a_pair_has_diverged_from_the_first_state_past_the_threshold(recorded):
    found = dynamics.divergence(recorded, threshold=1.01)
    separation = found["separation"].to_numpy()
    for row, first in zip(separation, found["diverged_at"].to_numpy(), strict=True):
        past = [k for k, value in enumerate(row) if value > 1.01 * row[0]]
        assert first == (past[0] if past else -1)
    gone = np.array([(found["diverged_at"] >= 0) & (found["diverged_at"] <= k) for k in range(5)]).mean(1)
    np.testing.assert_allclose(found["survival"], 1 - gone)
    low, high = found["survival_interval"].to_numpy().T
    assert (low <= found["survival"]).all() and (found["survival"] <= high).all()


def test_steps_that_were_not_kept_are_nan(tiny, tmp_path):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=4, layers=["conv_in"], every=(1, 3))
    found = dynamics.divergence(rec)["conv_in separation"]
    assert np.isnan(found[:, [0, 2]]).all() and (found[:, [1, 3]] > 0).all()


def test_what_lies_below_the_noise_floor_is_not_usable(recorded):
    assert "denoscope verify precision" in dynamics.divergence(recorded).attrs["warnings"][0]
    ds.recording.set_attribute(recorded.path, "noise_floor", {"per_state_l2": [0.0, 1.0, 0.0, 100.0, 0.0]})
    found = dynamics.divergence(ds.open(recorded.path))
    usable, separation = found["usable"].to_numpy(), found["separation"].to_numpy()
    assert usable[:, [0, 2, 4]].all() and not usable[:, 3].any()
    np.testing.assert_array_equal(usable[:, 1], separation[:, 1] > 1.0)
    assert f"{(~usable).sum()} of 30 separations" in found.attrs["warnings"][0]


def test_flattened_states_and_folders_of_pt_files_give_the_same(recorded, tiny, tmp_path):
    x = ds.noise.read(recorded.path.parent / "inputs")
    other = ds.record(
        tiny, x, tmp_path / "run", steps=4, layers=["conv_in", "mid_block"], lanes=4, flatten=True
    )
    one, two = dynamics.divergence(recorded), dynamics.divergence(other)
    for name in one.data_vars:
        if name != "usable":
            np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threshold": 1.0}, "threshold is 1.0; allowed: a number above 1"),
        ({"layers": "conv_in"}, "layers is 'conv_in'; needed is a list of addresses"),
        ({"layers": 5}, "layers is 5; needed is a list of addresses"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"threshold": "2"}, "threshold is '2'"),
        ({"layers": ["conv_out"]}, "layer 'conv_out' was not recorded; recorded were: conv_in, mid_block"),
    ],
)
def test_wrong_options_are_refused(recorded, options, told):
    with pytest.raises(ds.UserError, match=told):
        dynamics.divergence(recorded, **options)


def test_a_recording_is_given_or_named(recorded):
    expected = dynamics.divergence(ds.open(recorded.path))
    for named in (recorded.path, str(recorded.path)):
        assert dynamics.divergence(named).identical(expected)
    for measure in (dynamics.divergence, dynamics.commitment):
        with pytest.raises(ds.UserError, match=r"nowhere.zarr: no such recording"):
            measure("nowhere.zarr")
        with pytest.raises(
            ds.UserError, match=r"recording is .*; needed is one as ds.open and ds.record give it"
        ):
            measure(recorded.final)


def test_recordings_without_pairs_are_refused(tiny, tmp_path):
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), tmp_path / "random.zarr", steps=2)
    with pytest.raises(ds.UserError, match="holds no perturbed noises"):
        dynamics.divergence(rec)
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0).subset([1, 2])
    rec = ds.record(tiny, x, tmp_path / "alone.zarr", steps=2)
    with pytest.raises(ds.UserError, match=r"lacks set_0042_base, the base of set_0042_pert_000"):
        dynamics.divergence(rec)


class Of(torch.nn.Module):
    """Any function of x, with a layer."""

    def __init__(self, function):
        super().__init__()
        self.function, self.last = function, torch.nn.Identity()

    def forward(self, x, timestep):  # noqa: ARG002
        return self.last(self.function(x))


def test_trajectories_that_meet_are_refused(make_scheduler, tmp_path):
    def same(x):
        return torch.zeros_like(x) + 1e30  # float32 loses the difference beside it

    denoiser = ds.load(Of(same), scheduler=make_scheduler("ddim"), shape=(1, 1, 4), device="cpu")
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=0.1)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["last"])
    with pytest.raises(ds.UserError, match="identical in some state"):
        dynamics.divergence(rec)


def test_a_sample_that_went_wrong_is_named(make_scheduler, tmp_path):
    denoiser = ds.load(Of(lambda x: x / 0), scheduler=make_scheduler("ddim"), shape=(1, 1, 4), device="cpu")
    x = ds.noise.perturbed(1, denoiser.shape, epsilon=0.1)
    rec = ds.record(denoiser, x, tmp_path / "run.zarr", steps=2, layers=["last"])
    with pytest.raises(ds.UserError, match=r"x of set_0042_pert_000.* is NaN or Inf at entry 1"):
        dynamics.divergence(rec)


def test_memory_does_not_grow_with_the_number_of_pairs(tiny, tmp_path):
    """Of 4 and of 40 pairs: what is held at most is one sample's states of one layer, beside the results."""
    peaks, held = (
        [],
        20 * 8 * 64 * 4,
    )  # bytes of one sample's states in conv_in: steps, channels, pixels, float32
    for count in (4, 40):
        x = ds.noise.perturbed(count, tiny.shape, epsilon=1.0)
        rec = ds.record(tiny, x, tmp_path / f"{count}.zarr", steps=20, layers=["conv_in"], lanes=4)
        dynamics.divergence(rec)  # what is imported late is there now
        tracemalloc.start()
        dynamics.divergence(ds.open(rec.path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    results = 36 * (3 * 21 + 3 * 20 + 20) * 8
    assert peaks[1] - peaks[0] < 4 * results + 4 * held < 0.5 * 36 * held, peaks
