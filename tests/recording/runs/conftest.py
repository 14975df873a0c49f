"""What workers record: a model with noise in every step, by one thread each."""

import pytest

import denoscope as ds
from denoscope.foundation.threads import threads_set_to


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with threads_set_to(1):
        yield


@pytest.fixture(scope="module")
def denoiser(model):
    """A stochastic scheduler, so that a sample that begins again must draw the same noise."""
    return ds.load(model, scheduler="ddpm", device="cpu")
