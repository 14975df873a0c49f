"""The folder in which each test runs, and recordings that tests share."""

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import refuse

import denoscope as ds
from denoscope.figures import plots


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The empty folder in which every test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def _coarse_pictures():
    """Save figures with few pixels: commands draw so many that their pixels take longer than the commands."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(inspect.unwrap(plots.save).__kwdefaults__, "dpi", 50)
        yield


@pytest.fixture
def inputs(here) -> Path:
    """A folder inputs/ with three noises for the tiny model."""
    ds.noise.random(3, (1, 8, 8), seed=1).write(here / "inputs")
    return here / "inputs"


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Run a command that must end with exit code 2 and one line with the given fragments; returns the line."""
    return lambda line, *fragments: refuse(capsys, line, *fragments)


@pytest.fixture(scope="session")
def small_model(saved, make_small_unet) -> str:
    """A folder with a smaller network of [1, 8, 8] and DDIM, for commands that call it or load it many times."""
    return saved(make_small_unet(channels=1, mid_block_type=None), "small")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory, digits, tiny) -> Path:
    """Recordings that tests read; `digits.zarr` is of a bundled model, `pairs.zarr` of a tiny one."""
    folder = tmp_path_factory.mktemp("recordings")
    x = ds.noise.random(6, digits.shape, seed=1)
    ds.record(digits, x, folder / "digits.zarr", steps=4, layers=["conv_in", "mid_block"])
    ds.record(digits, x, folder / "final.zarr", steps=2, extract_states=False)
    pairs = ds.noise.perturbed(5, tiny.shape, epsilon=1.0)
    ds.record(tiny, pairs, folder / "pairs.zarr", steps=3, layers=["conv_in", "mid_block"])
    ds.record(tiny, ds.noise.random(1, tiny.shape), folder / "one.zarr", steps=1)
    return folder


@pytest.fixture
def copied(recordings, here) -> Callable[..., Path]:
    """Copy a shared recording into the test's folder."""
    return lambda name, to="run.zarr": Path(shutil.copytree(recordings / name, here / to))


@pytest.fixture
def plane(here) -> torch.Tensor:
    """Two classes [40, 40] with a straight boundary, also in plane.pt."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    labels = (rows + 2 * columns > 60).long()
    torch.save(labels, here / "plane.pt")
    return labels
