"""`denoscope patch`: recordings that do not fit each other."""

import pytest
from command_line import call, snapshot

import denoscope as ds


@pytest.mark.usefixtures("inputs")
def test_recordings_that_do_not_fit_are_refused(small_model, make_small_unet, here, refused):
    make_small_unet(1, seed=9).save_pretrained("other")
    x = ds.noise.read("inputs", shape=(1, 8, 8))
    for name, folder, steps in (("run", small_model, 2), ("short", small_model, 1), ("other", "other", 2)):
        denoiser = ds.load(folder, scheduler="ddim", device="cpu")
        ds.record(denoiser, x, f"{name}.zarr", steps=steps, layers=["conv_in"])
    before = snapshot(here)
    refused("patch run.zarr short.zarr", "short.zarr", "1 steps", "2")
    refused("patch run.zarr other.zarr", "other.zarr", "weights")
    refused("patch run.zarr none.zarr", "none.zarr")
    assert snapshot(here) == before
    call("patch run.zarr run.zarr")
    assert (here / "patch.npz").is_file()
