"""Networks of one block in the place of the tiny ones: most tests here record and denoise the same samples twice."""

import pytest

import denoscope as ds


@pytest.fixture(scope="session")
def tiny(make_small_unet, make_scheduler) -> ds.Denoiser:
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture(scope="session")
def tiny_ddpm(make_small_unet, make_scheduler) -> ds.Denoiser:
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddpm"), device="cpu")
