"""Recordings in a bucket: the bytes of a local one, whatever the server does; read lazily, while written, and by others."""

import json
import logging
import os
import subprocess
import sys

import cloudpickle
import numpy as np
import obstore.store
import pytest
import xarray
import zarr.storage
from bucket_contents import LOCK, URL, check_equal
from command_line import call, refuse
from s3_server import ENVIRONMENT

import denoscope as ds
from denoscope.recording import opening, verify
from denoscope.recording.progress import NoProgress
from denoscope.storage.places import parse_place
from denoscope.storage.stores.object_store import ObjectStore
from denoscope.storage.watching import start
from denoscope.storage.watching.status import status

COUNT, LANES, STEPS = 6, 2, 3
OPTIONS = {"steps": STEPS, "lanes": LANES, "batch_size": 2, "layers": ["conv_in", "mid_block"]}


@pytest.fixture(scope="module")
def x(tiny):
    return ds.noise.perturbed(COUNT - 1, tiny.shape, epsilon=0.5, base_seed=1, perturb_seed=2)


@pytest.fixture(scope="module")
def local(tiny, x, tmp_path_factory):
    """The same recording in a folder."""
    folder = tmp_path_factory.mktemp("local") / "run.zarr"
    ds.record(tiny, x, folder, **OPTIONS)
    return folder


@pytest.fixture
def stored(s3, local):
    """The bucket with the same recording, put there without a request."""
    for file in (file for file in local.rglob("*") if file.is_file()):
        s3.put(f"data/run.zarr/{file.relative_to(local).as_posix()}", file.read_bytes())
    s3.requests()
    return s3


def test_the_bytes_are_those_of_a_local_recording_and_no_secret_is_among_them(
    tiny, x, s3, local, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    rec = ds.record(tiny, x, URL, **OPTIONS)
    check_equal(s3, local)
    requests = s3.requests()
    assert all(request.split()[1].startswith("/bucket") for request in requests)
    shards = [request for request in requests if request.startswith("PUT") and "/c/" in request]
    # Of each group: three arrays, two flags, and its mark, which is not a chunk. The others are coordinates.
    assert len([shard for shard in shards if not _is_coordinate(shard)]) == COUNT // LANES * 5
    printed = "".join(
        [*s3.contents(), *requests, caplog.text, *capfd.readouterr(), repr(rec), json.dumps(rec.attrs)]
    )
    everything = printed.encode() + b"".join(s3.contents().values()) + cloudpickle.dumps(rec)
    assert not [
        name
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        if ENVIRONMENT[name].encode() in everything
    ]
    assert repr(rec).startswith(f"<Recording {URL}: ") and rec.origin["recording"] == URL


def _is_coordinate(request: str) -> bool:
    array = request.split()[1].removeprefix("/bucket/data/run.zarr/").partition("/c/")[0]
    return array not in ("sequence", "conv_in", "mid_block", "complete", "nonfinite")


@pytest.mark.parametrize(
    "faults",
    [
        {"every": 4, "late": 2},
        {"every": 3, "unseen": True},
        *(
            pytest.param(faults, marks=pytest.mark.slow)
            for faults in ({"every": 2}, {"every": 2, "unseen": True}, {"late": 9})
        ),
    ],
    ids=str,
)
def test_a_server_that_fails_or_lists_late_gets_the_same_bytes(tiny, x, s3, local, faults):
    s3.spoil(**faults)
    ds.record(tiny, x, URL, **OPTIONS)
    s3.heal()
    check_equal(s3, local)
    assert verify.store(URL).sound


def test_a_run_that_died_is_resumed_to_the_same_bytes(tiny, x, s3, local, dies_at):
    dies_at(tiny.network, 1 + STEPS + 1)
    with pytest.raises(RuntimeError, match="on purpose"):
        ds.record(tiny, x, URL, **OPTIONS)
    assert ds.open(URL).dataset["complete"].to_numpy().tolist() == [True] * 2 + [False] * 4
    with pytest.raises(
        ds.UserError, match=r"already holds a recording; resume it \(resume=True\) or name another output"
    ):
        ds.record(tiny, x, URL, **OPTIONS)
    s3.spoil(late=3)
    ds.record(tiny, x, URL, **OPTIONS, resume=True)
    s3.heal()
    check_equal(s3, local)


def test_a_server_that_stays_away_ends_the_run_in_one_line_and_loses_nothing(tiny, x, s3, local):
    class Spoiling(NoProgress):
        def unit_done(self, _count, _seconds):
            s3.spoil(every=1, methods=("PUT",), only="/c/")

    with pytest.raises(
        ds.UserError, match=f"^cannot write {URL}: the server answered 503[^\n]*; finished samples are safe"
    ):
        ds.record(tiny, x, URL, **OPTIONS, progress=Spoiling())
    s3.heal()
    assert s3.uploads() == 0 and ds.open(URL).dataset["complete"].to_numpy().sum() == LANES
    ds.record(tiny, x, URL, **OPTIONS, resume=True)
    check_equal(s3, local)


@pytest.mark.usefixtures("s3")
def test_a_recording_is_opened_while_it_is_written_and_no_second_process_writes_it(tiny, x):
    seen = []

    class Opening(NoProgress):
        def unit_done(self, _count, _seconds):
            rec = ds.open(URL)
            complete = rec.dataset["complete"].to_numpy()
            seen.append(int(complete.sum()))
            assert np.isnan(rec.final.to_numpy()).any((1, 2, 3)).tolist() == (~complete).tolist()
            if len(seen) == 1:
                with pytest.raises(
                    ds.UserError, match=r"is being written by another process \(process \d+ on .+\)"
                ):
                    ds.record(tiny, x, URL, **OPTIONS, resume=True)

    ds.record(tiny, x, URL, **OPTIONS, progress=Opening())
    assert seen == [2, 4, 6]


@pytest.mark.usefixtures("stored")
def test_finished_samples_at_a_url_are_not_replaced(tiny, x, s3):
    before = s3.contents()
    with pytest.raises(
        ds.UserError,
        match=r"holds finished samples, and object storage cannot exchange .* name another output",
    ):
        ds.record(tiny, x, URL, **OPTIONS, overwrite=True)
    assert s3.contents() == before


def test_what_holds_no_finished_sample_is_replaced(tiny, x, s3, local, dies_at):
    dies_at(tiny.network, 1)
    with pytest.raises(RuntimeError, match="on purpose"):
        ds.record(tiny, x, URL, **OPTIONS | {"steps": 2})
    ds.record(tiny, x, URL, **OPTIONS, overwrite=True)
    check_equal(s3, local)


@pytest.mark.usefixtures("stored")
def test_other_programs_read_the_bucket(local):
    store = obstore.store.from_url(URL, client_options={"allow_http": True})
    plain = xarray.open_zarr(zarr.storage.ObjectStore(store, read_only=True), chunks=None)
    xarray.testing.assert_identical(plain.load(), xarray.open_zarr(local, chunks=None).load())


def test_parts_are_read_without_the_rest(stored, local):
    rec, right = ds.open(URL), ds.open(local)
    assert not [request for request in stored.requests() if "/conv_in/c/" in request], (
        "nothing is read before it is used"
    )
    found = rec.states["conv_in"][3, 1].to_numpy()
    assert np.array_equal(found, right.states["conv_in"][3, 1].to_numpy())
    # The shard's index and one chunk.
    assert len(stored.requests()) == 2


def test_dask_reads_a_shard_at_a_time(stored, local):
    dask_array = pytest.importorskip("dask.array")
    rec, right = ds.open(URL, chunks="auto"), ds.open(local)
    stored.requests()
    for name in ("sequence", "conv_in"):
        array = rec[name]
        assert isinstance(array.data, dask_array.Array) and array.chunks[0] == (LANES,) * (COUNT // LANES)
        assert array.chunks[1] == (array.shape[1],)
    total = rec["conv_in"].sum().compute(scheduler="threads")
    assert np.isclose(float(total), float(right["conv_in"].sum()), rtol=1e-4)
    assert len(stored.requests()) <= 2 * COUNT // LANES
    again = cloudpickle.loads(cloudpickle.dumps(rec["sequence"]))
    assert np.array_equal(again.to_numpy(), right["sequence"].to_numpy())
    local_too = ds.open(local, chunks="auto")
    assert np.array_equal(local_too["sequence"].to_numpy(), right["sequence"].to_numpy())


def sign(images):
    """The class of an image: whether its mean is positive."""
    return (np.asarray(images).reshape(len(images), -1).mean(1) > 0).astype(int)


ANALYSES = {
    "divergence": lambda rec, _: ds.dynamics.divergence(rec),
    "commitment": lambda rec, denoiser: ds.dynamics.commitment(rec, denoiser=denoiser, label_of=sign),
    "path geometry": lambda rec, _: ds.dynamics.path_geometry(rec.sequence),
    "participation": lambda rec, _: ds.dynamics.participation(rec["conv_in"]),
    "distances": lambda rec, _: ds.dynamics.trajectory_distances(rec["mid_block"]),
    "similarity": lambda rec, _: ds.dynamics.linear_cka(rec["conv_in"][:, 1], rec["mid_block"][:, 1]),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_of_dask_arrays_gives_the_numbers_of_arrays_in_memory(tiny, local, name):
    pytest.importorskip("dask.array")
    lazy, right = (ANALYSES[name](ds.open(local, chunks=chunks), tiny) for chunks in ("auto", None))
    if isinstance(right, xarray.Dataset):
        xarray.testing.assert_identical(lazy.compute(), right)
        assert right.data_vars
    else:
        assert lazy.to_json() == right.to_json()


def test_chunks_that_cannot_be_are_refused(local, monkeypatch):
    with pytest.raises(ds.UserError, match="chunks is 'all'; allowed: auto"):
        ds.open(local, chunks="all")
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ds.UserError, match=r"needs Dask, .* install it"):
        ds.open(local, chunks="auto")


def test_measures_and_attributes_work_at_a_url(stored, local):
    found, right = ds.dynamics.divergence(URL), ds.dynamics.divergence(local)
    xarray.testing.assert_equal(found, right)
    opening.set_attribute(URL, "noise_floor", {"per_state_l2": [0.5]})
    assert ds.open(URL).attrs["noise_floor"] == {"per_state_l2": [0.5]}
    assert not [key for key in stored.contents() if key.endswith(LOCK)]


@pytest.mark.usefixtures("stored")
def test_states_of_a_recording_at_a_url_are_written_into_a_run(tiny, x, local):
    images = [
        ds.record(
            tiny,
            x,
            steps=STEPS,
            lanes=LANES,
            interventions=ds.Intervention(
                ["mid_block"], "swap", str(place), source=ds.open(local).samples[2]
            ),
        )
        for place in (URL, local)
    ]
    assert np.array_equal(images[0].final, images[1].final)


def test_damage_at_a_url_is_found(stored):
    key = "data/run.zarr/conv_in/c/1/0/0/0/0"
    data = bytearray(stored.contents()[key])
    data[0] ^= 1
    stored.put(key, bytes(data))
    report = verify.store(URL)
    assert not report.sound and len(report.problems) == 1 and "conv_in/c/1" in report.problems[0]
    with pytest.raises(ds.UserError, match=f"{URL} is damaged"):
        ds.open(URL).check("conv_in")


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        (
            "s3://bucket/run",
            r"out is s3://bucket/run; at a URL a recording is a Zarr store: end the name in \.zarr",
        ),
        ("s3://bucket", "s3://bucket names no recording"),
        ("s3://bucket/a//b.zarr", "names no recording"),
        ("s3://bucket/../b.zarr", "names no recording"),
        (
            "ftp://host/run.zarr",
            "ftp://host/run.zarr is a URL of an unknown kind; allowed: a path, or a URL such as s3://",
        ),
        (
            "s3://me:hush@bucket/run.zarr",
            r"^the s3:// URL of a recording has a user, a password, a query or a fragment; allowed",
        ),
        ("s3://bucket/run.zarr?key=hush", r"^the s3:// URL of a recording has"),
        (
            "file:///tmp/run.zarr",
            "^file:///tmp/run.zarr is a URL of this machine; allowed: a path.*such as /tmp/run.zarr",
        ),
        ("file://localhost/run.zarr", "^file://localhost/run.zarr is a URL of this machine"),
    ],
)
def test_urls_that_name_no_recording_are_refused(tiny, x, s3, out, problem):
    with pytest.raises(ds.UserError, match=problem) as caught:
        ds.record(tiny, x, out, steps=1)
    assert "hush" not in str(caught.value) and not s3.requests()


@pytest.fixture(scope="module")
def command(model, tmp_path_factory):
    """The words of a command that records two samples."""
    folder = tmp_path_factory.mktemp("inputs") / "x"
    ds.noise.random(2, (1, 8, 8), seed=3).write(folder)
    return f"record --model {model} --inputs {folder} --num_steps 2 --lanes 2 --layers conv_in"


def test_the_command_records_verifies_and_measures_at_a_url(command, s3, capsys, tmp_path):
    call(f"{command} --output {URL} --dry-run")
    assert "at the URL in total" in capsys.readouterr().out and not s3.contents()
    call(f"{command} --output {URL}")
    assert f"recorded in {URL}" in capsys.readouterr().out
    refuse(capsys, f"{command} --output {URL}", f"{URL} already holds a recording", "--resume")
    call(f"{command} --output {URL} --resume")
    capsys.readouterr()
    call(f"verify store {URL} --recompute 1")
    assert "2 of 2 samples are finished" in (printed := capsys.readouterr().out) and printed.endswith(
        "sound\n"
    )
    call(f"dynamics distances {URL} --output {tmp_path}/distances.json")
    assert json.loads((tmp_path / "distances.json").read_text())["computed_from"]["recording"] == URL


def test_what_cannot_work_is_refused_in_one_line_before_any_work(command, s3, capsys, monkeypatch):
    refuse(
        capsys,
        f"{command} --output s3://nobucket/run.zarr",
        "cannot use s3://nobucket/run.zarr: there is no bucket",
    )
    refuse(capsys, "verify store s3://nobucket/run.zarr", "there is no bucket 'nobucket'")
    refuse(
        capsys, f"{command} --output ftp://host/run.zarr", "ftp://host/run.zarr is a URL of an unknown kind"
    )
    refuse(
        capsys,
        f"{command} --output file:///tmp/run.zarr",
        "error: file:///tmp/run.zarr is a URL of this machine",
    )
    refuse(capsys, f"{command} --output s3://bucket/run", "end the name in .zarr")
    refuse(capsys, f"verify store {URL}", f"{URL} is not a recording")
    refuse(capsys, "noise random --inputs s3://bucket/x --model digits", "--inputs is a URL; allowed")
    refuse(
        capsys,
        f"dynamics geometry {URL} --output s3://bucket/g.json",
        "--output is a URL; allowed: a path of this machine",
    )
    s3.spoil(every=1, status="403 Forbidden")
    refuse(capsys, f"{command} --output {URL}", f"cannot use {URL}: permission denied; may these credentials")
    refuse(capsys, f"verify store {URL}", "permission denied")
    s3.heal()
    s3.spoil(every=1, status="403 Forbidden", methods=("PUT",))
    refuse(capsys, f"{command} --output {URL}", f"cannot write {URL}: permission denied")
    s3.heal()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    refuse(capsys, f"{command} --output s3://other/run.zarr", "no answer from 127.0.0.1:9")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    refuse(capsys, f"{command} --output s3://other/run.zarr", "no credentials: set AWS_ACCESS_KEY_ID")
    monkeypatch.setitem(sys.modules, "obstore", None)
    refuse(capsys, f"{command} --output {URL}", "needs obstore, which is not installed")
    assert not s3.contents()


@pytest.mark.slow
def test_a_killed_command_is_resumed_at_once_to_the_same_bytes(command, s3, tmp_path):
    """The claim that it leaves behind is that of an ended process of this machine, and no upload is left."""
    inputs = tmp_path / "x"
    ds.noise.random(20, (1, 8, 8), seed=3).write(inputs)
    words = [str(inputs) if word.endswith("/x") else word for word in command.split()]
    process = subprocess.Popen([sys.executable, "-m", "denoscope", *words, "--output", URL])
    while not any("complete/marks/1.json" in key for key in s3.contents()):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert s3.uploads() == 0 and ds.open(URL).dataset["complete"].to_numpy().sum() >= 4
    call(" ".join(words), "--output", URL, "--resume")
    call(" ".join(words), "--output", tmp_path / "run.zarr")
    check_equal(s3, tmp_path / "run.zarr")


def test_the_status_is_read_without_reading_a_mark(stored):
    found = status(parse_place(URL))
    assert (found.done, found.samples, found.is_written) == (COUNT, COUNT, False)
    assert found.lines == [f"{URL}: 6 of 6 samples are done"]
    assert not [request for request in stored.requests() if "marks/0.json" in request]
    stored.delete("data/run.zarr/complete/marks/1.json")
    with ObjectStore(URL).lock(LOCK) as held:
        assert held
        begun = status(parse_place(URL))
    assert (begun.done, begun.is_written) == (COUNT - LANES, True)
    stored.put(f"data/run.zarr/{LOCK}", b"")  # that of a local recording, which was copied
    assert not status(parse_place(URL)).is_written
    for url in (URL, URL.replace("run", "new")):
        with start.announced(parse_place(url)):
            assert f"starting, by process {os.getpid()} on " in status(parse_place(url)).lines[-1]
        assert not start.who(parse_place(url))
