"""Recordings, results of their measures, and the page of all of them."""

import os
from pathlib import Path

import pytest
from command_line import call
from report_page import ReportPage

import denoscope as ds


@pytest.fixture(scope="session")
def stored(tmp_path_factory, digits, tiny) -> Path:
    """A folder with two recordings and files of results; `run.zarr` shows digits, `pairs.zarr` perturbed noises."""
    folder = tmp_path_factory.mktemp("stored")
    x = ds.noise.random(11, digits.shape, seed=1)
    ds.record(digits, x, folder / "run.zarr", steps=4, layers=["conv_in", "mid_block"])
    pairs = ds.noise.perturbed(5, tiny.shape, epsilon=1.0)
    ds.record(tiny, pairs, folder / "pairs.zarr", steps=3, layers=["conv_in"])
    before = os.getcwd()
    os.chdir(folder)
    try:
        call("dynamics divergence pairs.zarr")
        call("dynamics geometry run.zarr")
        call("dynamics commitment run.zarr --device cpu")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(stored, tmp_path, monkeypatch) -> Path:
    """The test's own folder, with links to the recordings and results."""
    monkeypatch.chdir(tmp_path)
    for path in stored.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="session")
def written(stored) -> Path:
    """The page of all of them."""
    names = ["run.zarr", "pairs.zarr", "divergence.npz", "geometry.json", "commitment.npz"]
    before = os.getcwd()
    os.chdir(stored)
    try:
        return ds.report(names, "report.html").absolute()
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def page(written) -> ReportPage:
    return ReportPage.read(written)
