"""Recordings by worker processes in a bucket: the bytes of one process on a disk, whatever happens to workers and server."""

import itertools
import random

import pytest
from bucket_contents import KEY, LOCK, URL, check_equal
from worker_faults import killing, using_bucket

import denoscope as ds
from denoscope.recording import verify
from denoscope.recording.progress import NoProgress
from denoscope.storage.places import parse_place
from denoscope.storage.stores import claim_object
from denoscope.storage.watching.status import status

RUN = {"steps": 2, "layers": ["conv_in", "mid_block"], "lanes": 4, "batch_size": 4}


@pytest.fixture(scope="module")
def x(denoiser):
    return ds.noise.random(22, denoiser.shape, seed=3)


@pytest.fixture(scope="module")
def local(denoiser, x, tmp_path_factory):
    """The recording of one process on a disk."""
    path = tmp_path_factory.mktemp("alone") / "run.zarr"
    ds.record(denoiser, x, path, **RUN)
    return path


@pytest.fixture
def reaching(workers, s3):
    """A client of workers that reach the bucket."""
    with using_bucket(workers, s3.environment):
        yield workers


class Asks(NoProgress):
    """Asks for the status whenever a unit is finished."""

    def __init__(self):
        self.seen = []

    def unit_done(self, samples, seconds):  # noqa: ARG002
        self.seen.append(status(parse_place(URL)))


@pytest.mark.parametrize("faults", [{}, {"every": 4, "late": 2}], ids=str)
def test_workers_put_the_bytes_of_one_process_into_a_bucket(denoiser, x, local, reaching, s3, faults):
    s3.spoil(**faults)
    asking = Asks()
    ds.record(denoiser, x, URL, cluster=reaching, progress=asking, **RUN)
    s3.heal()
    check_equal(s3, local)
    assert all(seen.is_written and seen.notes.workers == 2 for seen in asking.seen)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_and_a_faulty_server_change_no_byte(denoiser, reaching, s3, tmp_path):
    """Workers die in calls of the network, and before and after requests. An attempt at a unit has 17 such moments."""
    rng = random.Random(20)
    # After the first calls, by which workers prepare the run, and so far apart that no unit is killed four times.
    at = list(itertools.accumulate((rng.randrange(60, 110) for _ in range(20)), initial=8))[1:]
    x = ds.noise.random(480, denoiser.shape, seed=3)
    ds.record(denoiser, x, tmp_path / "run.zarr", **RUN)
    s3.spoil(every=5, late=2)
    with killing(reaching, tmp_path / "events", at, requests=True) as events:
        ds.record(denoiser, x, URL, cluster=reaching, **RUN)
        assert events() > max(at)
    s3.heal()
    assert ds.open(URL).dataset["complete"].to_numpy().all() and verify.store(URL).sound
    check_equal(s3, tmp_path / "run.zarr")


def test_workers_that_cannot_reach_the_bucket_are_named_before_any_work(denoiser, x, workers, s3):
    with (
        using_bucket(workers, s3.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}),
        pytest.raises(
            ds.UserError,
            match=r"worker tcp\S+ cannot write into s3://bucket/data \(no answer from 127.0.0.1:9\); name",
        ),
    ):
        ds.record(denoiser, x, URL, cluster=workers, **RUN)
    assert not s3.contents()


def test_a_bucket_that_this_process_cannot_write_to_is_refused_in_one_line(denoiser, x, reaching, s3):
    s3.spoil(every=1, status="403 Forbidden", methods=("PUT",))
    with pytest.raises(
        ds.UserError, match="cannot write into s3://bucket/data: permission denied; may these credentials"
    ):
        ds.record(denoiser, x, URL, cluster=reaching, **RUN)


class LosesClaim(NoProgress):
    """Gives the claim on a recording to another process once a unit is finished."""

    def __init__(self, server, monkeypatch):
        self.server, self.monkeypatch, self.done = server, monkeypatch, 0

    def unit_done(self, samples, seconds):  # noqa: ARG002
        self.done += 1
        self.server.put(f"{KEY}/{LOCK}", b'{"token": "of another process"}')
        self.monkeypatch.setattr(claim_object, "SIGNED_FOR", 0.0)


def test_a_run_whose_claim_another_process_took_over_ends(denoiser, x, reaching, s3, monkeypatch):
    losing = LosesClaim(s3, monkeypatch)
    with pytest.raises(ds.UserError, match=f"cannot write {URL}: another process has taken over"):
        ds.record(denoiser, x, URL, cluster=reaching, progress=losing, **RUN)
    assert losing.done == 1
