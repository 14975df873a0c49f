"""Parts of a recording that a user rewrites with xarray."""

import json

import numpy as np
import pytest
import xarray

import denoscope as ds

STEPS = 4
KINDS = ["run.zarr", "run", None]
# zarr warns of what xarray does by default.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """One recording in each format and one in memory."""
    folder, x = tmp_path_factory.mktemp("recorded"), ds.noise.perturbed(4, tiny.shape, epsilon=1.0)
    options = {"steps": STEPS, "layers": ["conv_in", "mid_block.attentions.0.to_q"], "lanes": 2}
    return {kind: ds.record(tiny, x, kind and folder / kind, **options) for kind in KINDS}


PARTS = {
    "one step of a layer": lambda rec: rec.states["conv_in"].isel(step=0),
    "some steps and samples of tokens": lambda rec: rec.states["mid_block.attentions.0.to_q"][[2, 0], 1:3],
    "a sequence": lambda rec: rec.sequence,
    "a part of a sequence": lambda rec: rec.sequence.isel(state=slice(1, None, 2), sample=[1]),
    "final images": lambda rec: rec.final,
}


def read(path):
    """The dataset that plain xarray reads, with all values."""
    engine = {"engine": "zarr", "consolidated": True} if path.suffix == ".zarr" else {"engine": "scipy"}
    with xarray.open_dataset(path, **engine) as found:
        return found.load()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["again.zarr", "again.nc"])
def test_a_part_of_a_recording_is_written_and_read_by_plain_xarray(recorded, tmp_path, kind, part, name):
    array = PARTS[part](recorded[kind])
    dataset = array.to_dataset(name="m")
    path = tmp_path / name
    dataset.to_zarr(path) if path.suffix == ".zarr" else dataset.to_netcdf(path, engine="scipy")
    found = read(path)
    assert found["m"].dims == array.dims and np.array_equal(found["m"], array)
    assert found["m"].dtype == np.float32
    for coordinate in array.coords:
        np.testing.assert_array_equal(
            found[coordinate].to_numpy().tolist(), array[coordinate].to_numpy().tolist()
        )
    assert set(found.coords) == set(array.coords)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["again.zarr", "again.nc"])
def test_a_whole_dataset_is_written_with_its_provenance(recorded, tmp_path, kind, name):
    rec, path = recorded[kind], tmp_path / name
    rec.dataset.to_zarr(path) if path.suffix == ".zarr" else rec.dataset.to_netcdf(path, engine="scipy")
    found = read(path)
    assert np.array_equal(found["sequence"], rec.sequence) and set(found.data_vars) == set(
        rec.dataset.data_vars
    )
    assert json.loads(found.attrs["fingerprint"]) == rec.attrs["fingerprint"]
    assert found.attrs["model"] == rec.attrs["model"] and isinstance(rec.attrs["fingerprint"], dict)


@pytest.mark.parametrize("kind", KINDS)
def test_the_states_of_a_sequence_have_the_timestep_and_sigma_of_the_step_that_follows(
    recorded, kind, make_scheduler
):
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    levels = scheduler.alphas_cumprod[scheduler.timesteps].double().numpy()
    for array in (recorded[kind].sequence, recorded[kind]["sequence"]):
        np.testing.assert_allclose(array["sigma"], [*np.sqrt((1 - levels) / levels), 0.0], rtol=1e-6)
        np.testing.assert_array_equal(array["timestep"], [*scheduler.timesteps.tolist(), np.nan])
        assert array["sigma"].dims == array["timestep"].dims == ("state",)
    layer = recorded[kind].states["conv_in"]
    assert (
        layer["timestep"].dims == ("step",)
        and layer["timestep"].values.tolist() == scheduler.timesteps.tolist()
    )
    assert not [name for name, values in recorded[kind].final.coords.items() if not values.dims]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [(1, 3), pytest.param((2,), marks=pytest.mark.slow)])
def test_every_state_has_its_levels_if_not_every_step_is_recorded(tiny, recorded, tmp_path, kind, every):
    x = ds.noise.random(2, tiny.shape)
    rec = ds.record(tiny, x, kind and tmp_path / kind, steps=STEPS, layers=["conv_in"], every=every)
    for name in ("sigma", "timestep"):
        np.testing.assert_array_equal(rec.sequence[name], recorded[kind].sequence[name])
        steps = rec.states["conv_in"]["step"].values
        assert (
            rec.states["conv_in"][name].values.tolist()
            == recorded[kind].sequence[name][steps].values.tolist()
        )
