"""Recordings by worker processes: the bytes of one process, whatever happens to the workers."""

import itertools
import os
import random
import signal
import socket

import pytest
import torch
from command_line import call
from outputs import OUTPUTS, SAMPLED_OUTPUTS, record_all
from worker_faults import Brittle, KillsAt, killing

import denoscope as ds
from denoscope.foundation.threads import threads_set_to
from denoscope.recording.progress import NoProgress
from denoscope.recording.runs import cluster_run
from denoscope.storage.watching.status import status

RUN = {"steps": 4, "layers": ["conv_in", "mid_block"], "lanes": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def x(denoiser):
    return ds.noise.random(38, denoiser.shape, seed=3)


@pytest.fixture(scope="module")
def alone(denoiser, x, tmp_path_factory):
    """The recordings of one process."""
    return record_all(tmp_path_factory.mktemp("alone"), denoiser, x, **RUN)


def partial_files(path):
    return list(path.rglob("*.partial"))


@pytest.mark.parametrize("out", OUTPUTS)
def test_workers_write_the_bytes_of_one_process(denoiser, x, alone, workers, contents, tmp_path, out):
    recording = ds.record(denoiser, x, tmp_path / out, cluster=workers, **RUN)
    assert contents(tmp_path / out) == contents(alone / out)
    assert recording.final.identical(ds.open(alone / out).final)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_relative_output_is_relative_to_this_process_and_not_to_the_workers(
    denoiser, x, alone, workers, contents, tmp_path, monkeypatch, out
):
    monkeypatch.chdir(tmp_path)  # the workers have started elsewhere
    assert set(workers.run(os.getcwd).values()) != {os.getcwd()}
    ds.record(denoiser, x, out, cluster=workers, **RUN)
    assert contents(tmp_path / out) == contents(alone / out)


def test_the_file_of_an_intervention_is_relative_to_this_process_and_not_to_the_workers(
    denoiser, x, workers, contents, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    torch.save(torch.ones(8, 8, 8), "value.pt")
    run = {**RUN, "interventions": ds.Intervention("conv_in", "set", "value.pt")}
    ds.record(denoiser, x, "shared.zarr", cluster=workers, **run)
    ds.record(denoiser, x, "alone.zarr", **run)
    assert contents(tmp_path / "shared.zarr") == contents(tmp_path / "alone.zarr")
    assert (ds.open("shared.zarr")["conv_in"] == 1).all()


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_samples_of_killed_workers_are_recorded_by_others(
    denoiser, x, alone, workers, contents, tmp_path, out
):
    # Each worker calls the network three times before its first step: two calls survey its layers, one is the probe.
    with killing(workers, tmp_path / "calls", {9, 21}) as calls:
        ds.record(denoiser, x, tmp_path / out, cluster=workers, **RUN)
        assert calls() > 21
    assert contents(tmp_path / out) == contents(alone / out)
    assert not partial_files(tmp_path)


@pytest.mark.slow
def test_twenty_kills_at_random_calls_change_no_byte(denoiser, workers, contents, tmp_path):
    x, rng = ds.noise.random(1200, denoiser.shape, seed=3), random.Random(20)
    ds.record(denoiser, x, tmp_path / "alone.zarr", **RUN)
    # An attempt at a unit takes 11 calls with its preparation: no unit is killed four times, after which it is given up.
    at = list(itertools.accumulate((rng.randrange(40, 70) for _ in range(20)), initial=8))[1:]
    with killing(workers, tmp_path / "calls", at) as calls:
        ds.record(denoiser, x, tmp_path / "run.zarr", cluster=workers, **RUN)
        assert calls() > max(at)
    assert contents(tmp_path / "run.zarr") == contents(tmp_path / "alone.zarr")
    assert not partial_files(tmp_path)


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_what_fails_is_set_aside_and_resumed_later(denoiser, workers, contents, tmp_path, out):
    x = Brittle(denoiser.shape, 20, broken=9, home=os.getpid())
    path = tmp_path / out
    with pytest.raises(
        ds.UnfinishedError, match=r"1 unit was set aside, and all others are stored"
    ) as raised:
        ds.record(denoiser, x, path, cluster=workers, **RUN)
    name = f"{out} sample_0008 to sample_0015"
    assert raised.value.parts == {name: "ValueError: noise 9 is out of reach"}
    done = ds.open(path).dataset["complete"].to_numpy()
    assert done.tolist() == [True] * 8 + [False] * 8 + [True] * 4
    ds.record(denoiser, x, path, resume=True, **RUN)
    ds.record(denoiser, x, tmp_path / "alone" / out, **RUN)
    assert contents(path) == contents(tmp_path / "alone" / out)


def test_the_command_ends_with_exit_code_3_where_a_unit_fails_on_every_worker(
    model, workers, contents, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    x = ds.noise.random(12, (1, 8, 8), seed=3)
    x.write("noises")
    line = f"record --model {model} --inputs noises --num_steps 2 --lanes 4 --batch_size 4 --device cpu"
    workers.register_plugin(KillsAt(x.tensor(5)))
    try:
        with pytest.raises(SystemExit) as caught:
            call(f"{line} --output run.zarr --cluster {workers.scheduler.address}")
    finally:
        workers.unregister_worker_plugin(KillsAt.name)
    assert caught.value.code == 3
    printed = capsys.readouterr()
    assert "recorded in" not in printed.out and "Traceback" not in printed.err
    error, part = printed.err.splitlines()[-2:]
    assert error == (
        "error: 1 unit was set aside, and all others are stored in run.zarr; solve this and continue with --resume"
    )
    assert part.startswith(
        "  run.zarr sample_0004 to sample_0007: it was begun 4 times, and each time its worker died"
    )
    assert (
        ds.open("run.zarr").dataset["complete"].to_numpy().tolist() == [True] * 4 + [False] * 4 + [True] * 4
    )
    call(f"{line} --output run.zarr --resume --threads 1")
    call(f"{line} --output one.zarr --threads 1")
    assert contents(tmp_path / "run.zarr") == contents(tmp_path / "one.zarr")


class Interrupts(NoProgress):
    """Presses Ctrl-C when the first unit is finished."""

    pressed = False

    def unit_done(self, samples, seconds):  # noqa: ARG002
        if not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


class Asks(NoProgress):
    """Asks for the status whenever a unit is finished."""

    def __init__(self, path):
        self.path, self.seen = path, []

    def unit_done(self, samples, seconds):  # noqa: ARG002
        self.seen.append(status(self.path))


def test_the_status_tells_of_workers_while_they_work_and_of_what_failed(
    denoiser, workers, tmp_path, monkeypatch
):
    x = Brittle(denoiser.shape, 20, broken=9, home=os.getpid())
    path, name = tmp_path / "run.zarr", "run.zarr sample_0008 to sample_0015"
    asking, begun, agreed = Asks(path), [], cluster_run.agreed

    def noted(*given, **options):
        begun.append(status(path).lines)
        return agreed(*given, **options)

    monkeypatch.setattr(cluster_run, "agreed", noted)  # before the workers load the model
    with pytest.raises(ds.UnfinishedError):
        ds.record(denoiser, x, path, cluster=workers, progress=asking, **RUN)
    assert begun == [[f"{path}: starting, by process {os.getpid()} on {socket.gethostname()}"]]
    assert all(seen.is_written and seen.notes.workers == 2 for seen in asking.seen)
    assert [seen.done for seen in asking.seen][-1] == 12
    ended = status(path)
    assert (ended.done, ended.samples, ended.is_written, ended.notes.workers) == (12, 20, False, 0)
    assert ended.notes.failed == {name: "ValueError: noise 9 is out of reach"}
    assert ended.notes.failed_samples == 8
    assert ended.lines[2:] == [
        "  failed: 8 samples, tried again when resumed",
        f"    {name}: {ended.notes.failed[name]}",
    ]


def test_a_run_that_is_stopped_says_what_is_unfinished_beside_what_failed(denoiser, workers, tmp_path):
    x = Brittle(denoiser.shape, 80, broken=1, home=os.getpid())
    path = tmp_path / "run.zarr"
    with pytest.raises(ds.UnfinishedError) as raised:
        ds.record(denoiser, x, path, cluster=workers, progress=Interrupts(), **RUN)
    done = ds.open(path).dataset["complete"].to_numpy()
    left = (80 - 8 - done.sum()) // RUN["lanes"]
    assert left > 0
    line = f"1 unit was set aside before the run stopped with {left} groups of samples unfinished, and all others"
    assert line in str(raised.value)


def test_a_recording_is_resumed_by_workers(denoiser, x, alone, workers, contents, tmp_path, dies_at):
    path = tmp_path / "run.zarr"
    dies_at(denoiser.network, 12)
    with pytest.raises(RuntimeError, match="died on purpose"):
        ds.record(denoiser, x, path, **RUN)
    assert 0 < ds.open(path).dataset["complete"].sum() < len(x)
    ds.record(denoiser, x, path, cluster=workers, resume=True, **RUN)
    assert contents(path) == contents(alone / "run.zarr")


def test_a_recording_is_replaced_by_workers(denoiser, x, alone, workers, contents, tmp_path):
    path = tmp_path / "run.zarr"
    ds.record(denoiser, ds.noise.random(2, denoiser.shape, seed=9), path, **RUN)
    ds.record(denoiser, x, path, cluster=workers, overwrite=True, **RUN)
    assert contents(path) == contents(alone / "run.zarr")


def test_a_sample_that_becomes_nan_stops_the_run_on_request(saved, make_unet, workers, tmp_path):
    network = make_unet(channels=1)
    with torch.no_grad():
        network.conv_out.bias.fill_(float("inf"))
    denoiser = ds.load(saved(network, "infinite"), device="cpu")
    x = ds.noise.random(4, denoiser.shape, seed=0)
    marked = ds.record(denoiser, x, tmp_path / "marked.zarr", cluster=workers, **RUN)
    assert marked.dataset["nonfinite"].to_numpy().any()
    line = r"^sample_000\d became NaN or Inf in step 0, and the run stops there as requested"
    with pytest.raises(ds.UserError, match=line):
        ds.record(denoiser, x, tmp_path / "run.zarr", cluster=workers, on_nonfinite="stop", **RUN)


def test_other_threads_than_the_workers_can_be_refused_when_resumed(denoiser, x, workers, tmp_path):
    ds.record(denoiser, x, tmp_path / "run.zarr", cluster=workers, **RUN)
    with threads_set_to(2), pytest.raises(ds.UserError, match="threads: 1 → 2"):
        ds.record(denoiser, x, tmp_path / "run.zarr", cluster=workers, resume=True, **RUN)


def test_workers_that_do_not_see_the_store_are_named_before_any_work(
    denoiser, x, workers, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ds.UserError, match=r"worker tcp\S+ cannot write into /proc/self/cwd"):
        ds.record(denoiser, x, "/proc/self/cwd/run.zarr", cluster=workers, **RUN)
    assert not list(tmp_path.iterdir())


def test_workers_that_find_another_model_are_named_before_any_work(saved, make_unet, x, workers, tmp_path):
    folder = saved(make_unet(channels=1, seed=1), "changed")
    denoiser = ds.load(folder, device="cpu")
    make_unet(channels=1, seed=2).save_pretrained(folder)
    with pytest.raises(ds.UserError, match=r"would compute something else .*weights_sha256"):
        ds.record(denoiser, x, tmp_path / "run.zarr", cluster=workers, **RUN)
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": None}, "cluster needs an output"),
        ({"fast": True}, "fast=True compiles the network"),
        ({"cluster": "local:2"}, "cluster is 'local:2'; allowed: a dask.distributed.Client, such as"),
    ],
)
def test_what_workers_cannot_do_is_refused(denoiser, x, workers, tmp_path, options, message):
    out = options.pop("out", tmp_path / "run.zarr")
    with pytest.raises(ds.UserError, match=message):
        ds.record(denoiser, x, out, **{"cluster": workers, **RUN, **options})


def test_different_devices_need_workers(denoiser, x, tmp_path):
    with pytest.raises(
        ds.UserError, match="allow_different_devices=True is given without cluster; leave it out"
    ):
        ds.record(denoiser, x, tmp_path / "run.zarr", allow_different_devices=True, **RUN)


def test_a_model_without_a_name_is_refused(tiny, workers, tmp_path):
    x = ds.noise.random(2, tiny.shape, seed=0)
    with pytest.raises(
        ds.UserError, match="UNet2DModel was built in Python, and workers load a model by its name"
    ):
        ds.record(tiny, x, tmp_path / "run.zarr", cluster=workers)
