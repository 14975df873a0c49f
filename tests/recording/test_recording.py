"""Recordings against hand-made loops and hooks, read with plain zarr, xarray and torch."""

import functools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import zarr

import denoscope as ds
from denoscope.recording import verify
from denoscope.storage.pt.writer import PtUnit
from denoscope.storage.zarr import layout

STEPS, LANES, COUNT = 3, 4, 10
LAYERS = ("conv_in", "mid_block.attentions.0.to_q", "conv_out")


@pytest.fixture(scope="module")
def x(tiny):
    return ds.noise.random(COUNT, tiny.shape, seed=5)


@pytest.fixture(scope="module")
def truth(tiny, make_scheduler, by_hand):
    x_T = ds.noise.random(COUNT, tiny.shape, seed=5).batch(range(COUNT))
    return by_hand(tiny.network, make_scheduler("ddim"), x_T, steps=STEPS, rows=LANES, layers=LAYERS)


@pytest.fixture(scope="module")
def record_into(tiny, x):
    """Record the ten noises with the three layers, to a store unless told otherwise, into a folder."""

    def run(folder, out="run.zarr", *, inputs=x, layers=LAYERS, batch_size=8, **options):
        return ds.record(
            tiny,
            inputs,
            folder / out,
            **{"steps": STEPS, "layers": layers, "lanes": LANES, "batch_size": batch_size, **options},
        )

    return run


@pytest.fixture
def record(record_into, tmp_path):
    """Record into the folder of the test alone."""
    return functools.partial(record_into, tmp_path)


@pytest.fixture(scope="module")
def recorded(record_into, tmp_path_factory):
    """A finished recording that tests only read, made once for the same output and options."""

    @functools.cache
    def once(out="run.zarr", **options):
        return record_into(tmp_path_factory.mktemp("recorded"), out, **options)

    return once


@pytest.fixture
def copied(recorded, tmp_path):
    """The path of a finished recording of the test's own."""
    return lambda out="run.zarr": Path(shutil.copytree(recorded(out).path, tmp_path / out))


def files(folder: Path) -> list[str]:
    """All files except the completion marks."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if ".recording" not in path.parts)


def same(array, tensor: torch.Tensor) -> bool:
    return (
        np.array_equal(np.asarray(array), tensor.numpy()) and np.asarray(array).dtype == tensor.numpy().dtype
    )


def test_a_store_opens_in_plain_xarray_with_dimensions_coordinates_and_the_values_of_a_hand_loop(
    recorded, truth, x
):
    data = xarray.open_zarr(recorded().path)
    assert data["sequence"].dims == ("sample", "state", "channel", "height", "width")
    assert data["conv_in"].dims[:2] == ("sample", "step")
    assert data["sample"].values.tolist() == [f"sample_{k:04d}" for k in range(COUNT)]
    assert data["state"].values.tolist() == list(range(STEPS + 1))
    assert data["step"].values.tolist() == list(range(STEPS))
    assert data["complete"].values.all()
    assert set(data.data_vars) == {"sequence", *LAYERS}
    assert np.array_equal(data["seed"].values, x.coords["seed"])
    assert data["nonfinite"].dims == ("sample", "state") and not data["nonfinite"].values.any()
    for name in ("sequence", *LAYERS):
        assert same(data[name].values, truth[name]), name


def test_the_steps_carry_the_timesteps_and_noise_levels_of_the_scheduler(recorded, make_scheduler):
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    data = xarray.open_zarr(recorded().path)
    levels = scheduler.alphas_cumprod[scheduler.timesteps].double().numpy()
    assert data["timestep"].dims == data["sigma"].dims == ("step",)
    assert data["timestep"].values.tolist() == scheduler.timesteps.tolist()
    np.testing.assert_allclose(data["sigma"].values, np.sqrt((1 - levels) / levels), rtol=1e-6)


def test_a_store_opens_in_plain_zarr_with_one_sample_and_step_a_chunk(recorded, truth):
    group = zarr.open_group(recorded().path, mode="r")
    for name in ("sequence", *LAYERS):
        array = group[name]
        assert same(array[:], truth[name])
        assert array.chunks == (1, 1, *array.shape[2:]) and array.shards[0] == LANES
        assert array.metadata.dimension_names[0] == "sample"
        assert math.isnan(array.fill_value)
    assert same(group["sequence"][7, 2], truth["sequence"][7, 2])


def test_a_recording_reads_as_the_interface_says(recorded, truth):
    rec = recorded()
    assert set(rec.states) == set(LAYERS)
    assert rec.states["conv_in"].dims == ("sample", "step", "channel", "height", "width")
    assert rec.states[LAYERS[1]].dims == ("sample", "step", "token", "feature")
    assert same(rec.sequence, truth["sequence"])
    assert same(rec.final, truth["sequence"][:, -1]) and rec.final.name == "final"
    chosen = rec.states["conv_in"].sel(sample="sample_0003").isel(step=-1)
    assert same(chosen, truth["conv_in"][3, -1])


@pytest.mark.parametrize("format", ["zarr", "pt"])
def test_a_recording_opened_again_holds_the_same(record, truth, tmp_path, format):
    record("run", output_format=format)
    rec = ds.open(tmp_path / "run" / "recording.zarr" if format == "zarr" else tmp_path / "run")
    assert set(rec.states) == set(LAYERS)
    for name in LAYERS:
        assert same(rec.states[name], truth[name])
    assert same(rec.sequence, truth["sequence"]) and same(rec.final, truth["sequence"][:, -1])
    assert same(rec.sequence[[7, 2], 1], truth["sequence"][[7, 2], 1])
    assert rec.states["conv_in"].dims == ("sample", "step", "channel", "height", "width")
    assert rec.sequence["sample"].values.tolist() == [f"sample_{k:04d}" for k in range(COUNT)]
    assert rec.dataset["timestep"].dims == ("step",)


def test_a_folder_holds_one_file_a_sample_and_array_with_its_own_bytes(record, truth, tmp_path):
    record("out", batch_size=COUNT)
    layers = [f"{layer}/sample_{k:04d}_trajectory.pt" for layer in LAYERS for k in range(COUNT)]
    sequences = [f"sequences/sample_{k:04d}_sequence.pt" for k in range(COUNT)]
    assert files(tmp_path / "out") == sorted(["recording.json", *layers, *sequences])
    for name in [*layers, *sequences]:
        path = tmp_path / "out" / name
        tensor = torch.load(path, weights_only=True)
        k = int(path.name.split("_")[1])
        array = "sequence" if name in sequences else path.parent.name
        assert torch.equal(tensor, truth[array][k]), name
        own = tensor.numel() * tensor.element_size()
        assert tensor.untyped_storage().nbytes() == own and own < path.stat().st_size < own + 4096


def test_the_first_and_last_convolution_go_to_layer1_and_last_layer(recorded, truth):
    out = recorded("out", layers=None).path
    assert {path.split("/")[0] for path in files(out)} == {
        "recording.json",
        "layer1",
        "last_layer",
        "sequences",
    }
    for folder, layer in (("layer1", "conv_in"), ("last_layer", "conv_out")):
        path = out / folder / "sample_0002_trajectory.pt"
        assert torch.equal(torch.load(path, weights_only=True), truth[layer][2])
    assert set(ds.open(out).states) == {"conv_in", "conv_out"}


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_flattened_states_are_vectors_in_the_order_of_the_tensor(record, truth, out):
    rec = record(out, flatten=True)
    for layer in LAYERS:
        assert rec.states[layer].dims == ("sample", "step", "feature")
        assert same(rec.states[layer], truth[layer].flatten(2))
    assert same(rec.sequence, truth["sequence"])


def test_without_states_a_folder_holds_final_tensors_only(recorded, truth):
    rec = recorded("out", layers=None, extract_states=False)
    names = [f"sample_{k:04d}" for k in range(COUNT)]
    assert files(rec.path) == sorted(["recording.json", *(f"final_tensors/{name}.pt" for name in names)])
    for k, name in enumerate(names):
        final = torch.load(rec.path / "final_tensors" / f"{name}.pt", weights_only=True)
        assert torch.equal(final, truth["sequence"][k, -1])
    assert same(rec.final, truth["sequence"][:, -1]) and not rec.states
    with pytest.raises(ds.UserError, match="final images only"):
        rec.sequence  # noqa: B018


def test_without_states_a_store_holds_final_only(recorded, truth):
    data = xarray.open_zarr(recorded(layers=None, extract_states=False).path)
    assert set(data.data_vars) == {"final"}
    assert data["final"].dims == ("sample", "channel", "height", "width")
    assert same(data["final"].values, truth["sequence"][:, -1])


@pytest.mark.parametrize("options", [{}, {"extract_states": False}])
def test_a_store_exports_the_files_that_a_folder_recording_writes(recorded, tmp_path, options):
    direct = recorded("out", layers=None, **options).path
    recorded(layers=None, **options).export(tmp_path / "exported")
    assert files(tmp_path / "exported") == files(direct)
    for name in files(direct):
        if name.endswith(".pt"):
            one, two = (
                torch.load(folder / name, weights_only=True) for folder in (direct, tmp_path / "exported")
            )
            assert one.dtype == two.dtype and torch.equal(one, two)
    assert same(ds.open(tmp_path / "exported").final, torch.from_numpy(ds.open(direct).final.values))


def plain_estimates(denoiser, sequence, timesteps):
    """(x − √(1−ᾱ) ε)/√ᾱ of every state but the last, from one call of the network each."""
    found = []
    for entry, timestep in enumerate(timesteps):
        level = denoiser.scheduler.alphas_cumprod[int(timestep)].double()
        state = torch.from_numpy(np.asarray(sequence[:, entry]))
        with torch.no_grad():
            output = denoiser.network(state, timestep).sample
        found.append((state - (1 - level).sqrt() * output) / level.sqrt())
    return torch.stack(found, 1)


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_estimates_of_x_0_are_recorded_on_request(recorded, tiny, out):
    rec = recorded(out, extract_estimates=True)
    assert rec.estimates.dims == ("sample", "step", "channel", "height", "width")
    expected = plain_estimates(tiny, rec.sequence, rec.dataset["timestep"].values)
    torch.testing.assert_close(
        torch.from_numpy(rec.estimates.to_numpy()), expected.float(), rtol=1e-4, atol=1e-4
    )
    # The scheduler's last step goes to the estimate itself.
    assert np.array_equal(rec.estimates[:, -1], rec.final)
    assert set(rec.states) == set(LAYERS)
    assert verify.store(rec.path, recompute=2, source=tiny.network).sound


def test_estimates_belong_to_the_recorded_steps_at_any_batch_size(record, recorded):
    every = recorded(extract_estimates=True)
    some = record("some", extract_estimates=True, every=(0, 2), batch_size=1)
    assert some.estimates.shape[1] == 2 and some.sequence.shape[1] == STEPS + 1
    assert np.array_equal(some.estimates, every.estimates[:, [0, 2]])


def test_a_recording_with_estimates_is_not_resumed_without_them(record, recorded, tmp_path):
    shutil.copytree(recorded(extract_estimates=True).path, tmp_path / "run.zarr")
    with pytest.raises(ds.UserError, match=r"resumed: extract_estimates: True → None"):
        record("run.zarr", resume=True)
    assert record("run.zarr", extract_estimates=True, resume=True).estimates.shape[1] == STEPS


def test_estimates_lie_in_a_folder_of_their_own_and_are_exported(recorded, tmp_path):
    rec = recorded(extract_estimates=True)
    rec.export(tmp_path / "pt")
    one = torch.load(tmp_path / "pt" / "x_0_estimates" / "sample_0003.pt", weights_only=True)
    assert same(rec.estimates[3], one)
    rec.export(tmp_path / "npz", format="npz")
    assert np.array_equal(np.load(tmp_path / "npz" / "sample_0003.npz")["x_0_estimates"], rec.estimates[3])
    with pytest.raises(ds.UserError, match="holds no estimates of x_0; record with extract_estimates"):
        assert recorded().estimates


def test_estimates_that_no_scheduler_makes_are_refused_before_anything_is_written(make_unet, tmp_path):
    from diffusers import PNDMScheduler

    denoiser = ds.load(make_unet(), scheduler=PNDMScheduler(), device="cpu")
    with pytest.raises(ds.UserError, match=r"PNDMScheduler makes no estimate of x_0; allowed: .* DDIM"):
        ds.record(denoiser, ds.noise.random(1, denoiser.shape), tmp_path / "run", extract_estimates=True)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module", params=["ddim", "common", "independent"])
def in_batches(request, tiny, tiny_ddpm, tmp_path_factory):
    """What is stored of six noises under each kind of noise, as a function of the batch size."""
    denoiser = tiny if request.param == "ddim" else tiny_ddpm
    noise = "common" if request.param == "ddim" else request.param
    x = ds.noise.random(6, tiny.shape, seed=5)

    @functools.cache
    def stored(batch_size):
        out = tmp_path_factory.mktemp("batches") / "run.zarr"
        rec = ds.record(denoiser, x, out, steps=STEPS, lanes=LANES, noise=noise, batch_size=batch_size)
        return rec.dataset.drop_attrs().load()

    return stored


@pytest.mark.parametrize(
    "batch_size", [1, 5, *(pytest.param(size, marks=pytest.mark.slow) for size in (4, 100))]
)
def test_the_batch_size_changes_no_stored_value(in_batches, batch_size):
    xarray.testing.assert_identical(in_batches(8), in_batches(batch_size))


def test_recorded_images_equal_those_of_sample(tiny_ddpm, x, tmp_path):
    rec = ds.record(tiny_ddpm, x, tmp_path / "run.zarr", steps=STEPS, noise="independent", noise_seed=7)
    names = rec.sequence["sample"].values.tolist()
    x_0 = ds.sample(
        tiny_ddpm, x.batch(range(COUNT)), steps=STEPS, noise="independent", noise_seed=7, names=names
    )
    assert same(rec.final, x_0)


def test_recording_leaves_the_sequence_as_it_is_without_layers(recorded, tiny, x):
    x_0 = ds.sample(tiny, x.batch(range(COUNT)), steps=STEPS, lanes=LANES)
    assert same(recorded().final, x_0) and same(recorded(layers=None, extract_states=False).final, x_0)


def test_many_shards_hold_the_same_values_when_the_samples_do_not_fill_the_last(record, truth, monkeypatch):
    monkeypatch.setattr(layout, "SHARD_BYTES", 4500)  # two states x_t of four samples, or one of conv_in
    path = record().path
    for array, entries in (("sequence", 2), ("conv_in", STEPS)):
        shards = [name for name in files(path / array) if name.startswith("c/")]
        assert len(shards) == math.ceil(COUNT / LANES) * entries
    group = zarr.open_group(path, mode="r")
    for name in ("sequence", *LAYERS):
        assert same(group[name][:], truth[name])
    assert group["complete"][:].all()


@pytest.mark.parametrize("shard_bytes", [1, pytest.param(2**25, marks=pytest.mark.slow)])
def test_a_store_whose_run_dies_keeps_its_finished_units(
    record, truth, tiny, dies_at, hooks_of, tmp_path, monkeypatch, shard_bytes
):
    monkeypatch.setattr(layout, "SHARD_BYTES", shard_bytes)
    tiny.layers()
    dies_at(tiny.network, STEPS + 2)
    before = hooks_of(tiny.network)
    with pytest.raises(RuntimeError, match="on purpose"):
        record(batch_size=4)
    assert hooks_of(tiny.network) == before
    assert not [name for name in files(tmp_path) if "partial" in name]
    data = xarray.open_zarr(tmp_path / "run.zarr")
    assert data["complete"].values.tolist() == [True] * 4 + [False] * 6
    for name in ("sequence", *LAYERS):
        assert same(data[name][:4].values, truth[name][:4])
        assert np.isnan(data[name][4:].values).any()
    assert np.isnan(data["sequence"][8:].values).all()


def test_a_folder_whose_run_dies_keeps_its_finished_units(record, truth, tiny, dies_at, hooks_of, tmp_path):
    tiny.layers()
    dies_at(tiny.network, STEPS + 2)
    before = hooks_of(tiny.network)
    with pytest.raises(RuntimeError, match="on purpose"):
        record("out", batch_size=4)
    assert hooks_of(tiny.network) == before
    there = files(tmp_path / "out")
    assert len(there) == 1 + 4 * (1 + len(LAYERS)) and not [name for name in there if "partial" in name]
    rec = ds.open(tmp_path / "out")
    assert same(rec.sequence[:4], truth["sequence"][:4])
    assert np.isnan(rec.sequence[4:].values).all()


def test_an_interrupted_export_is_continued_and_a_finished_one_is_not_replaced(
    recorded, tmp_path, monkeypatch
):
    rec = recorded(layers=None)
    finish, finished = PtUnit.finish, []

    def interrupted(unit):
        if len(finished) == 1:
            raise KeyboardInterrupt
        finished.append(unit)
        finish(unit)

    monkeypatch.setattr(PtUnit, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rec.export(tmp_path / "out")
    assert ds.open(tmp_path / "out").dataset["complete"].sum() == 4
    monkeypatch.setattr(PtUnit, "finish", finish)
    for folder in ("out", "at_once"):
        rec.export(tmp_path / folder)
    out, at_once = tmp_path / "out", tmp_path / "at_once"
    assert files(out) == files(at_once)
    assert all((out / name).read_bytes() == (at_once / name).read_bytes() for name in files(out))
    with pytest.raises(ds.UserError, match="already holds a recording"):
        rec.export(tmp_path / "out")


def test_an_unfinished_recording_is_not_exported_as_if_it_held_nan(record, tiny, dies_at, tmp_path):
    tiny.layers()
    dies_at(tiny.network, STEPS + 2)
    with pytest.raises(RuntimeError, match="on purpose"):
        record(batch_size=4)
    try:
        ds.open(tmp_path / "run.zarr").export(tmp_path / "out")
    except ds.UserError:
        return
    for path in (tmp_path / "out").rglob("*.pt"):
        assert torch.isfinite(torch.load(path, weights_only=True)).all(), path


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_an_earlier_recording_is_replaced_only_with_overwrite(record, copied, truth, x, tmp_path, out):
    copied(out)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    with pytest.raises(ds.UserError, match="overwrite=True"):
        record(out, inputs=x.subset([1, 0]), steps=2)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    rec = record(out, inputs=x.subset([1, 0]), overwrite=True)
    assert same(rec.sequence, truth["sequence"][[1, 0]])


def test_a_replaced_folder_recording_leaves_none_of_its_files_and_all_of_others(record, copied, x, tmp_path):
    copied("out")
    (tmp_path / "out" / "sequences" / "thesis.txt").write_text("all of it")
    record("out", inputs=x.subset([1]), layers=["mid_block"], overwrite=True)
    assert files(tmp_path / "out") == [
        "mid_block/sample_0001_trajectory.pt",
        "recording.json",
        "sequences/sample_0001_sequence.pt",
        "sequences/thesis.txt",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_a_recording_is_never_replaced_by_a_store(record, tmp_path, overwrite):
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "thesis.txt").write_text("all of it")
    (tmp_path / "file.zarr").write_text("a file")
    zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=3).attrs["mine"] = True
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    for name in ("folder.zarr", "file.zarr", "other.zarr"):
        with pytest.raises(ds.UserError, match=name):
            record(name, overwrite=overwrite)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_a_refused_replacement_leaves_the_earlier_recording(record, copied, x, tmp_path):
    copied()
    for wrong in (
        {"layers": ["nothing"]},
        {"steps": 0},
        {"lanes": 0},
        {"inputs": ds.noise.random(2, (1, 8, 8))},
    ):
        with pytest.raises(ds.UserError):
            record(overwrite=True, **wrong)
    assert ds.open(tmp_path / "run.zarr").dataset["complete"].values.all()
    assert len(ds.open(tmp_path / "run.zarr").sequence) == len(x)


class Named(torch.nn.Module):
    """A network whose one convolution has the given address."""

    def __init__(self, address: str):
        super().__init__()
        self.add_module(address, torch.nn.Conv2d(2, 2, 1))

    def forward(self, x, timestep):  # noqa: ARG002
        return next(self.children())(x)


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_a_layer_with_a_reserved_name_is_refused_and_the_earlier_recording_remains(
    copied, x, tmp_path, make_scheduler, out
):
    copied(out)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    for address in ("step", "timestep", "sequence", "final", "x_0_estimates", "complete", "sample", "seed"):
        denoiser = ds.load(Named(address), scheduler=make_scheduler("ddim"), shape=(2, 8, 8), device="cpu")
        with pytest.raises(ds.UserError, match=address):
            ds.record(denoiser, x, tmp_path / out, steps=STEPS, layers=[address], overwrite=True)
        assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_planes_and_perturbations_keep_their_coordinates(tiny, tmp_path):
    plane = ds.noise.plane((2, 3), tiny.shape)
    perturbed = ds.noise.perturbed(2, tiny.shape, epsilon=5.0)
    for name, inputs in (("plane", plane), ("set", perturbed)):
        ds.record(tiny, inputs, tmp_path / f"{name}.zarr", steps=1, extract_states=name == "set")
    data = xarray.open_zarr(tmp_path / "plane.zarr")
    assert data["u"].dims == data["v"].dims == ("sample",)
    assert data["u"].values.tolist() == [-1000.0] * 3 + [1000.0] * 3
    assert data["v"].values.tolist() == [-1500.0, 0.0, 1500.0] * 2
    assert data["sample"].values.tolist() == list(plane.names)
    data = xarray.open_zarr(tmp_path / "set.zarr")
    assert data["epsilon"].values.tolist() == [0.0, 5.0, 5.0]
    assert data["base"].values.tolist() == ["set_0042_base"] * 3


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_a_recording_says_where_it_comes_from(recorded, tiny, x, out):
    attrs = recorded(out).attrs
    assert attrs["format"] == "denoscope recording" and attrs["format_version"] == 1
    mark = attrs["fingerprint"]
    assert attrs["model"] == tiny.name and mark["weights_sha256"] == tiny.weights_hash
    assert attrs["scheduler"] == "DDIMScheduler" and mark["scheduler_config"]["clip_sample"] is False
    assert attrs["config"]["num_steps"] == STEPS and attrs["config"]["layers"] == list(LAYERS)
    assert attrs["config"]["noise_seed"] == 42 and attrs["config"]["lanes"] == LANES
    assert attrs["inputs"] == dict(x.parameters)
    assert attrs["versions"]["torch"] == torch.__version__ and attrs["versions"]["zarr"] == zarr.__version__
    assert mark["dtype"] == "float32" and mark["device"].startswith("cpu") and attrs["created"]
    assert mark["layers"] == list(LAYERS) and mark["shape"] == [2, 8, 8]
    json.dumps(dict(attrs))


def test_names_follow_the_inputs(record, tmp_path, x):
    x.subset([7]).write(tmp_path / "inputs")
    torch.save(torch.zeros(2, 8, 8), tmp_path / "inputs" / "mine.pt")
    rec = record(inputs=ds.noise.read(tmp_path / "inputs"))
    assert rec.sequence["sample"].values.tolist() == ["mine", "sample_0007"]


def test_two_inputs_of_one_name_are_refused(record, x, tmp_path):
    for name in ("noise_0001", "sample_0001"):
        torch.save(x.tensor(1), tmp_path / f"{name}.pt")
    with pytest.raises(ds.UserError, match="sample_0001"):
        record(inputs=ds.noise.read(tmp_path))
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["conv_inn"]}, "^layers: unknown layer 'conv_inn'.*conv_in,"),
        ({"steps": 0}, "^steps is 0"),
        ({"steps": 1001}, "steps is 1001"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lanes": -1}, "lanes is -1"),
        ({"noise": "shared"}, "noise is 'shared'"),
        ({"output_format": "npz"}, "output_format is 'npz'"),
        ({"inputs": ds.noise.random(2, (1, 8, 8))}, r"\[1, 8, 8\]"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(record, tmp_path, options, message):
    with pytest.raises(ds.UserError, match=message):
        record(**options)
    assert files(tmp_path) == []


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_an_output_below_a_regular_file_is_refused(record, tmp_path, out):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ds.UserError, match="file"):
        record(f"file/{out}")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"attrs": {"format_version": 99}, "samples": []}'])
def test_a_folder_that_is_not_a_recording_is_not_opened(tmp_path, content):
    for name in ("missing", "empty", "pt", "store"):
        if name != "missing":
            (tmp_path / name).mkdir()
    (tmp_path / "pt" / "recording.json").write_text(content)
    (tmp_path / "store" / "zarr.json").write_text(content)
    for name in ("missing", "empty", "pt", "store"):
        with pytest.raises(ds.UserError, match=name):
            ds.open(tmp_path / name)


def test_states_in_other_precisions_keep_their_shape(make_unet, make_scheduler, tmp_path):
    wide = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    rec = ds.record(wide, ds.noise.random(2, wide.shape), tmp_path / "wide.zarr", steps=2)
    assert rec.sequence.dtype == rec.states["conv_in"].dtype == np.float64
    half = ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="bfloat16", device="cpu")
    for out in ("half.zarr", "half"):
        rec = ds.record(half, ds.noise.random(2, half.shape), tmp_path / out, steps=2)
        x_0 = ds.sample(half, ds.noise.random(2, half.shape).batch([0, 1]), steps=2)
        assert rec.sequence.dtype == np.float32
        assert same(rec.final, x_0.float())


class Spoiled(torch.nn.Module):
    """Puts a wrong number of one sample, identified by its first value, into a layer or the result."""

    def __init__(self, mark: float, value: float, *, hidden: bool):
        super().__init__()
        self.inner, self.outer = torch.nn.Identity(), torch.nn.Conv2d(2, 2, 1)
        self.mark, self.value, self.hidden = mark, value, hidden

    def forward(self, x, timestep):
        wrong = (x[:, :1, :1, :1] == self.mark) if timestep > 600 else torch.zeros(1, 1, 1, 1, dtype=bool)
        state = self.inner(torch.where(wrong, self.value, x))
        clean = torch.where(wrong, 0.0, state) if self.hidden else state
        return self.outer(clean)


@pytest.fixture
def spoiled(x, make_scheduler):
    """A denoiser that puts a value into the first step of sample 1."""

    def make(value: float, *, hidden: bool) -> ds.Denoiser:
        network = Spoiled(x.tensor(1)[0, 0, 0].item(), value, hidden=hidden)
        return ds.load(network, scheduler=make_scheduler("ddim"), shape=(2, 8, 8), device="cpu")

    return make


@pytest.mark.parametrize("out", ["run.zarr", "run"])
@pytest.mark.parametrize(
    ("value", "hidden", "options", "flagged"),
    [
        (math.nan, False, {}, [False, True, True, True]),
        (math.inf, True, {"reduce": "norm"}, [False, True, False, False]),
        (1e6, True, {"state_dtype": "float16"}, [False, True, False, False]),
        (1e6, True, {}, [False] * 4),
        pytest.param(math.inf, False, {}, [False, True, True, True], marks=pytest.mark.slow),
        pytest.param(math.nan, True, {}, [False, True, False, False], marks=pytest.mark.slow),
    ],
)
def test_nan_and_inf_are_recorded_and_flagged_by_sample_and_step(
    spoiled, x, tmp_path, out, value, hidden, options, flagged
):
    rec = ds.record(
        spoiled(value, hidden=hidden), x, tmp_path / out, steps=3, lanes=4, layers=["inner"], **options
    )
    expected = np.zeros((COUNT, 4), bool)
    expected[1] = flagged
    assert np.array_equal(rec.dataset["nonfinite"].values, expected)
    assert np.isfinite(rec.states["inner"].values[1, 0]).all() == (not flagged[1])
    others = [k for k in range(COUNT) if k != 1]
    assert np.isfinite(rec.sequence.values[others]).all() and rec.dataset["complete"].values.all()


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_nan_stops_a_recording_on_request_and_finished_samples_remain(spoiled, x, tmp_path, out):
    denoiser = spoiled(math.nan, hidden=False)
    turned = x.subset(range(COUNT)[::-1])
    with pytest.raises(
        ds.UserError, match="sample_0001 became NaN or Inf in step 0, and the run stops there as requested"
    ):
        ds.record(denoiser, turned, tmp_path / out, steps=3, lanes=4, batch_size=4, on_nonfinite="stop")
    assert ds.open(tmp_path / out).dataset["complete"].values.tolist() == [True] * 8 + [False] * 2
    rec = ds.record(denoiser, turned, tmp_path / out, steps=3, lanes=4, resume=True)
    assert rec.dataset["complete"].values.all() and rec.dataset["nonfinite"].values.sum() == 3


def test_a_layer_skipped_in_a_step_is_nan_there_with_a_warning_and_the_sample_stays_finite(
    make_unet, make_scheduler, tmp_path
):
    network = make_unet()
    denoiser = ds.load(network, scheduler=make_scheduler("ddim"), device="cpu")
    x = ds.noise.random(3, denoiser.shape, seed=0)
    denoiser.layers()
    block, plain, calls = network.mid_block, type(network.mid_block).forward, []

    def cached(*arguments, **named):
        calls.append(1)
        # The first call is the probe's. Like a caching hook, the third skips the modules inside the block.
        if len(calls) == 3:
            return arguments[0]
        return plain(block, *arguments, **named)

    block.forward = cached
    with pytest.warns(UserWarning, match=r"mid_block.resnets.0 was not called as planned in step 1"):
        rec = ds.record(
            denoiser, x, tmp_path / "run.zarr", steps=3, layers=["mid_block.resnets.0", "mid_block"]
        )
    inside = rec.states["mid_block.resnets.0"]
    assert np.isnan(inside[:, 1]).all() and not np.isnan(inside[:, [0, 2]]).any()
    assert not np.isnan(rec.states["mid_block"]).any() and not rec.dataset.nonfinite.any()


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_an_export_is_one_file_a_sample_that_others_read(tiny, tmp_path, kind):
    from safetensors.numpy import load_file

    x = ds.noise.random(3, tiny.shape, seed=0)
    rec = ds.record(tiny, x, tmp_path / "run.zarr", steps=2, layers=["conv_in", "mid_block:diff"])
    rec.export(tmp_path / "out", format=kind)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"sample_000{k}.{kind}" for k in range(3)
    ]
    path = tmp_path / "out" / f"sample_0001.{kind}"
    found = load_file(path) if kind == "safetensors" else dict(np.load(path, allow_pickle=False))
    assert set(found) == {"sequence", "conv_in", "mid_block:diff"}
    assert np.array_equal(found["sequence"], rec.sequence[1])
    assert np.array_equal(found["mid_block:diff"], rec.states["mid_block:diff"][1])
    (tmp_path / "out" / f"sample_0000.{kind}").unlink()
    rec.export(tmp_path / "out", format=kind)  # as after an interruption
    assert len(list((tmp_path / "out").iterdir())) == 3
    path.write_bytes(b"mine")
    with pytest.raises(ds.UserError, match="exists and would change"):
        rec.export(tmp_path / "out", format=kind)
    with pytest.raises(ds.UserError, match="allowed: pt, safetensors, npz"):
        rec.export(tmp_path / "other", format="hdf5")


def test_a_path_without_a_recording_is_refused_with_what_makes_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ds.UserError, match=r"^nowhere\.zarr: no such recording; ds\.record\(.*`denoscope record` makes one$"
    ):
        ds.open("nowhere.zarr")
    with pytest.raises(
        ds.UserError, match=r"^digits: no such recording; a bundled model .*: ds\.load\('digits'\)$"
    ):
        ds.open("digits")
