"""Networks whose derivatives are taken."""

import pytest

import denoscope as ds


@pytest.fixture(scope="session")
def exact(make_unet, make_scheduler) -> ds.Denoiser:
    return ds.load(make_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")


@pytest.fixture(scope="session")
def tiny(make_small_unet, make_scheduler) -> ds.Denoiser:
    """A network of one block in the place of the tiny one, since derivatives call it many times."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")
