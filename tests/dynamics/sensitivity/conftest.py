"""A small U-Net in double precision."""

import pytest

import denoscope as ds


@pytest.fixture(scope="session")
def exact(make_unet, make_scheduler) -> ds.Denoiser:
    return ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
