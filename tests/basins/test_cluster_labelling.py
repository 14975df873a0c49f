"""Maps, zooms and labels by worker processes: those of one process, whatever happens to the workers."""

import os

import numpy as np
import pytest
from worker_faults import Kills, name_device_again, rename_device

import denoscope as ds
from denoscope.foundation.threads import threads_set_to

RUN = {"steps": 2, "lanes": 16, "batch_size": 8}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with threads_set_to(1):
        yield


@pytest.fixture(scope="module")
def denoiser(digits):
    return digits


@pytest.fixture(scope="module")
def plane(denoiser):
    return ds.noise.plane((33, 29), denoiser.shape, lengths=(16, 16), geometry="spherical")


@pytest.fixture(scope="module")
def alone(denoiser, plane):
    """The map of one process."""
    return ds.basins.map(denoiser, plane, method="adaptive", **RUN)


class OnlyAt:
    """A classifier that works in one process alone: the sign of the sum."""

    def __init__(self, home, error):
        self.home, self.error = home, error

    def __call__(self, images):
        if os.getpid() != self.home:
            raise self.error
        return (images.flatten(1).sum(1) > 0).long()


@pytest.mark.parametrize("method", ["exact", "adaptive"])
def test_a_map_by_workers_is_that_of_one_process(denoiser, plane, alone, workers, tmp_path, method):
    expected = alone if method == "adaptive" else ds.basins.map(denoiser, plane, method=method, **RUN)
    found = ds.basins.map(
        denoiser, plane, method=method, cluster=workers, checkpoint=tmp_path / "map.npz", **RUN
    )
    assert found.identical(expected) and len(np.unique(found["label"])) > 1
    again = ds.basins.map(
        denoiser, plane, method=method, checkpoint=ds.Checkpoint(tmp_path / "map.npz", resume=True), **RUN
    )
    assert again.identical(expected)


def test_cells_of_killed_workers_are_computed_by_others(denoiser, plane, alone, workers, tmp_path):
    calls = tmp_path / "calls"
    calls.mkdir()
    workers.register_plugin(Kills(calls, {9, 31}))
    try:
        found = ds.basins.map(denoiser, plane, method="adaptive", cluster=workers, **RUN)
    finally:
        workers.unregister_worker_plugin("kills")
    assert sum(1 for _ in calls.iterdir()) > 31
    assert found.identical(alone)


def test_what_fails_is_listed(denoiser, plane, workers, tmp_path):
    out = tmp_path / "map.npz"
    classifier = OnlyAt(os.getpid(), ValueError("not here"))
    with pytest.raises(
        ds.UnfinishedError, match="workers failed at 16 of 16 units; solve this and begin again"
    ) as raised:
        ds.basins.map(denoiser, plane, classifier=classifier, checkpoint=out, cluster=workers, **RUN)
    assert set(raised.value.parts.values()) == {"ValueError: not here"}
    assert not out.exists()
    with pytest.raises(ds.UserError, match="no digits"):
        wrong = OnlyAt(os.getpid(), ds.UserError("no digits"))
        ds.basins.map(denoiser, plane, classifier=wrong, cluster=workers, **RUN)


def test_a_zoom_and_labels_of_points_by_workers_are_those_of_one_process(denoiser, plane, workers):
    options = {"steps": 2, "levels": 2, "checks": 8, "lanes": 16}
    zoomed = ds.basins.zoom(denoiser, plane, **options)
    assert ds.basins.zoom(denoiser, plane, cluster=workers, **options).identical(zoomed)
    points = np.random.default_rng(0).uniform(-8, 8, (100, 2))
    one = ds.basins.label_of(denoiser, plane, steps=2, lanes=16)
    other = ds.basins.label_of(denoiser, plane, steps=2, lanes=16, cluster=workers)
    assert other.answers(points).identical(one.answers(points)) and other.origin == one.origin
    assert one.rows_together(8) == 16 and other.rows_together(8) == 16 * 2 * 8
    assert other.answers(points[:0]).identical(one.answers(points[:0]))


def test_workers_that_differ_are_refused_or_named_in_the_map(denoiser, plane, alone, workers):
    first, _ = sorted(workers.nthreads())
    workers.run(rename_device, workers=[first])
    try:
        with pytest.raises(ds.UserError, match=r"differ \(device: .* of another kind.* allow it"):
            ds.basins.map(denoiser, plane, cluster=workers, **RUN)
        found = ds.basins.map(
            denoiser, plane, method="adaptive", cluster=workers, allow_different_devices=True, **RUN
        )
    finally:
        workers.run(name_device_again)
    assert "of another kind" in str(found.attrs["fingerprint"]["different_devices"])
    assert found["label"].identical(alone["label"])


def test_what_workers_cannot_do_is_refused(denoiser, plane, tiny, workers, tmp_path):
    for options, message in (
        ({"fast": True}, "fast=True compiles the network, which workers do not"),
        ({"cluster": "local:2"}, "cluster is 'local:2'; allowed: a dask.distributed.Client"),
        (
            {"cluster": None, "allow_different_devices": True},
            "allow_different_devices=True is given without cluster",
        ),
    ):
        with pytest.raises(ds.UserError, match=message):
            ds.basins.map(denoiser, plane, **{"cluster": workers, **RUN, **options})
    other = ds.noise.plane((3, 3), tiny.shape, lengths=(1, 1))
    with pytest.raises(ds.UserError, match="workers load a model by its name"):
        ds.basins.map(tiny, other, classifier=lambda images: images, cluster=workers, **RUN)
    (tmp_path / "map.npz").write_text("taken")
    with pytest.raises(ds.UserError, match=r"map\.npz exists"):
        ds.basins.map(denoiser, plane, checkpoint=tmp_path / "map.npz", cluster=workers, **RUN)
