"""Networks whose derivatives are taken, and checkpoints that hold every piece."""

import math

import pytest

import denoscope as ds
from denoscope.foundation import work


@pytest.fixture(scope="session")
def exact(make_unet, make_scheduler) -> ds.Denoiser:
    """A network of float64, for 32 numbers of which a plain Jacobian costs little."""
    return ds.load(
        make_unet(), scheduler=make_scheduler("ddim"), shape=(2, 4, 4), dtype="float64", device="cpu"
    )


@pytest.fixture(scope="session")
def tiny(make_small_unet, make_scheduler) -> ds.Denoiser:
    """A network of one block in the place of the tiny one, since derivatives call it many times."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture
def save_every_piece(monkeypatch):
    """Write the file after every piece, regardless of the time since the last save."""
    monkeypatch.setattr(work, "WRITING_SHARE", math.inf)
