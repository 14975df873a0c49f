"""Maps and zooms by worker processes: those of one process, whatever happens to the workers."""

import json
import os
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from worker_faults import killing, name_device_again, rename_device

import denoscope as ds
from denoscope.cli.command import main
from denoscope.cluster import connection, hand_out
from denoscope.foundation.threads import threads_set_to
from denoscope.models import loading

RUN = {"steps": 2, "lanes": 16, "batch_size": 8}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with threads_set_to(1):
        yield


@pytest.fixture(scope="module")
def plane(digits):
    return ds.noise.plane((27, 25), digits.shape, lengths=(16, 16), geometry="spherical")


@pytest.fixture(scope="module")
def alone(digits, plane):
    """The map of one process."""
    return ds.basins.map(digits, plane, method="adaptive", **RUN)


class OnlyAt:
    """A classifier that works in one process alone: the sign of the sum."""

    def __init__(self, home, error):
        self.home, self.error = home, error

    def __call__(self, images):
        if os.getpid() != self.home:
            raise self.error
        return (images.flatten(1).sum(1) > 0).long()


@pytest.mark.parametrize("method", ["exact", "adaptive"])
def test_a_map_by_workers_is_that_of_one_process(digits, plane, alone, workers, method):
    expected = alone if method == "adaptive" else ds.basins.map(digits, plane, method=method, **RUN)
    found = ds.basins.map(digits, plane, method=method, cluster=workers, **RUN)
    assert found.identical(expected) and len(np.unique(found["label"])) > 1


@pytest.mark.parametrize(
    ("loading", "options"),
    [
        ({"scheduler": "ddpm", "clip_sample": False}, {"noise_seed": 5}),
        ({"dtype": "float64"}, {"reject": True}),
        ({"dtype": "bfloat16"}, {}),
        ({"source": "digits-conditional"}, {"condition": (3, 2.5)}),
    ],
)
def test_whatever_decides_labels_reaches_the_workers(workers, loading, options):
    denoiser = ds.load(**{"source": "digits", "device": "cpu", **loading})
    if "condition" in options:
        labels, scale = options["condition"]
        inputs = ({"class_labels": torch.tensor([number])} for number in (labels, 10))
        options = {"condition": ds.Condition(*inputs, scale=scale)}
    plane = ds.noise.plane((6, 5), denoiser.shape, lengths=(30, 30), geometry="spherical")
    found, expected = (
        ds.basins.map(denoiser, plane, cluster=cluster, **RUN, **options) for cluster in (workers, None)
    )
    assert found.identical(expected)


def test_cells_of_killed_workers_are_computed_by_others(digits, plane, alone, workers, tmp_path):
    with killing(workers, tmp_path / "calls", {9, 25}) as calls:
        found = ds.basins.map(digits, plane, method="adaptive", cluster=workers, **RUN)
        assert calls() > 25
    assert found.identical(alone)


def test_an_interrupted_map_is_continued_by_workers(digits, plane, alone, workers, tmp_path):
    out, seen = tmp_path / "map.npz", []

    def interrupt(finished, _total):
        seen.append(finished)
        if finished > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint = ds.Checkpoint(out, progress=interrupt)
        ds.basins.map(digits, plane, method="adaptive", checkpoint=checkpoint, **RUN)
    resumed = ds.Checkpoint(out, resume=True)
    found = ds.basins.map(digits, plane, method="adaptive", checkpoint=resumed, cluster=workers, **RUN)
    assert 0 < seen[0] < found["computed"].sum() and found.identical(alone)


def test_a_unit_that_fails_ends_the_map(digits, plane, workers, tmp_path):
    for checkpoint, kept in (
        (None, "nothing is saved, since no checkpoint was given"),
        (tmp_path / "map.npz", r"finished work is saved in .*map\.npz: continue with resume=True"),
    ):
        classifier = OnlyAt(os.getpid(), ValueError("not here"))
        with pytest.raises(ds.UnfinishedError, match=rf"^workers failed; {kept}") as raised:
            ds.basins.map(digits, plane, classifier=classifier, checkpoint=checkpoint, cluster=workers, **RUN)
        ((unit, error),) = raised.value.parts.items()
        assert unit.startswith("16 noises, unit ") and error == "ValueError: not here"
        assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(ds.UserError, match="no digits"):
        wrong = OnlyAt(os.getpid(), ds.UserError("no digits"))
        ds.basins.map(digits, plane, classifier=wrong, cluster=workers, **RUN)
    assert not any("denoscope" in name for name in workers.run_on_scheduler(plugins_of))


def test_the_scheduler_forgets_the_labels_of_a_finished_map(digits, workers):
    plane = ds.noise.plane((4, 4), digits.shape, lengths=(16, 16))
    earlier = workers.run_on_scheduler(results_by_topic)
    ds.basins.map(digits, plane, cluster=workers, **RUN)
    found = workers.run_on_scheduler(results_by_topic)
    (topic,) = set(found) - set(earlier)
    assert found[topic] == 0


def results_by_topic(dask_scheduler):
    """The number of results of units that the scheduler keeps, by the topics of runs."""
    return {
        name: sum(event["event"] == "end" for _, event in topic.events)
        for name, topic in dask_scheduler._broker._topics.items()
        if name.startswith("denoscope-")
    }


def plugins_of(dask_scheduler):
    """The names of the plugins that every worker gets."""
    return sorted(dask_scheduler.worker_plugins)


def test_a_unit_reports_its_steps(digits, workers, monkeypatch):
    """Only the first step is sure to be reported: the others follow within a second."""
    finished, hear = [], hand_out.HandOut._hear

    def heard(self, report):
        finished.extend([report["finished"]] if report["event"] == "step" else [])
        yield from hear(self, report)

    monkeypatch.setattr(hand_out.HandOut, "_hear", heard)
    small = ds.noise.plane((4, 4), digits.shape, lengths=(16, 16), geometry="spherical")
    ds.basins.map(digits, small, cluster=workers, **RUN)
    assert finished[0] == 1 and set(finished) <= {1, 2}


def test_maps_of_several_threads_by_one_client_take_turns(digits, workers):
    plane, found = ds.noise.plane((8, 8), digits.shape, lengths=(16, 16), geometry="spherical"), {}
    expected = ds.basins.map(digits, plane, **RUN)

    def computed(name):
        with threads_set_to(1):
            found[name] = ds.basins.map(digits, plane, cluster=workers, **RUN)

    threads = [threading.Thread(target=computed, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[name].identical(expected) for name in "ab")


def test_a_zoom_by_workers_is_that_of_one_process(digits, plane, workers, tmp_path):
    options = {"steps": 2, "levels": 1, "checks": 8, "lanes": 16}
    zoomed = ds.basins.zoom(digits, plane, **options)
    with killing(workers, tmp_path / "calls") as calls:
        assert ds.basins.zoom(digits, plane, cluster=workers, **options).identical(zoomed)
        assert calls() > 20


def test_labels_of_points_by_workers_are_those_of_one_process(digits, plane, workers, tmp_path):
    points = np.random.default_rng(0).uniform(-8, 8, (70, 2))
    alone, shared = (
        ds.basins.label_of(digits, plane, steps=2, lanes=16, cluster=cluster) for cluster in (None, workers)
    )
    assert shared.origin == alone.origin and shared.rows_together(20) == 32 * 2 * 8
    with killing(workers, tmp_path / "calls", {4}) as calls:
        assert shared.answers(points).identical(alone.answers(points))
        assert calls() > 5
    assert shared.answers(points[:0]).identical(alone.answers(points[:0]))
    found, expected = (
        ds.dynamics.uncertainty_exponent(labels, points, [0.1, 1.0, 10.0], batch_size=50)
        for labels in (shared, alone)
    )
    assert found.to_dict() == expected.to_dict()


def test_labels_of_points_need_the_workers_from_which_they_began(digits, plane, workers):
    shared = ds.basins.label_of(digits, plane, steps=2, cluster=workers)
    workers.run(rename_device)
    try:
        with pytest.raises(
            ds.UserError, match=r"^the workers are not those of ds\.basins\.label_of .*of another kind"
        ):
            shared(np.zeros((1, 2)))
    finally:
        workers.run(name_device_again)
    assert shared(np.zeros((1, 2))).shape == (1,)


def test_workers_keep_the_model_for_the_next_run(digits, plane, workers):
    shared = ds.basins.label_of(digits, plane, steps=2, cluster=workers)
    networks = workers.run(kept_networks)
    shared(np.zeros((3, 2)))
    assert workers.run(kept_networks) == networks and all(len(kept) == 1 for kept in networks.values())


def kept_networks():
    """The identities of the networks that this process keeps."""
    return [id(denoiser.network) for denoiser in loading._KEPT.values()]


def test_workers_that_differ_are_refused_or_named_in_the_map(digits, plane, alone, workers):
    first, _ = sorted(workers.nthreads())
    workers.run(rename_device, workers=[first])
    try:
        with pytest.raises(ds.UserError, match=r"differ \(device: .* of another kind.* allow it"):
            ds.basins.map(digits, plane, cluster=workers, **RUN)
        found = ds.basins.map(
            digits, plane, method="adaptive", cluster=workers, allow_different_devices=True, **RUN
        )
    finally:
        workers.run(name_device_again)
    assert "of another kind" in str(found.attrs["fingerprint"]["different_devices"])
    assert found["label"].identical(alone["label"])


def test_this_process_calls_the_network_for_its_description_alone(plane, alone, workers):
    denoiser, calls = ds.load("digits", device="cpu"), []
    denoiser.network.register_forward_pre_hook(lambda *_: calls.append(1))
    found = ds.basins.map(denoiser, plane, method="adaptive", cluster=workers, **RUN)
    assert found.identical(alone) and len(calls) == 1


def test_a_network_that_was_changed_after_it_was_loaded_is_refused(plane, workers):
    denoiser = ds.load("digits", device="cpu")
    denoiser.network.conv_in.register_forward_hook(lambda _module, _inputs, output: output * 1.01)
    with pytest.raises(
        ds.UserError,
        match=r"would compute something else .*probe_sha256.* that was changed after it was loaded",
    ):
        ds.basins.map(denoiser, plane, cluster=workers, **RUN)


def test_what_workers_cannot_do_is_refused(digits, plane, tiny, workers, tmp_path):
    for options, message in (
        ({"fast": True}, "fast=True compiles the network, which workers do not"),
        ({"cluster": "local:2"}, "cluster is 'local:2'; allowed: a dask.distributed.Client"),
        (
            {"cluster": None, "allow_different_devices": True},
            "allow_different_devices=True is given without cluster",
        ),
    ):
        with pytest.raises(ds.UserError, match=message):
            ds.basins.map(digits, plane, **{"cluster": workers, **RUN, **options})
    other = ds.noise.plane((3, 3), tiny.shape, lengths=(1, 1))
    with pytest.raises(ds.UserError, match="workers load a model by its name"):
        ds.basins.map(tiny, other, classifier=lambda images: images, cluster=workers, **RUN)
    (tmp_path / "map.npz").write_text("taken")
    with pytest.raises(ds.UserError, match=r"map\.npz exists"):
        ds.basins.map(digits, plane, checkpoint=tmp_path / "map.npz", cluster=workers, **RUN)


@pytest.mark.parametrize(
    ("verb", "size", "extra"),
    [
        ("map", "6 5", "--reject"),
        pytest.param("zoom", "25 25", "--levels 2 --checks 4", marks=pytest.mark.slow),
    ],
)
def test_the_commands_take_workers(workers, monkeypatch, tmp_path, capsys, verb, size, extra):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext(workers))
    plane = f"--num_prompts_per_direction {size} --len_per_direction 16 16"
    line = f"basins {verb} --model digits --device cpu --num_steps 2 {plane} {extra}".split()
    main([*line, "--threads", "1", "--output", "alone.npz"])
    with killing(workers, tmp_path / "calls") as calls:
        main([*line, "--cluster", "local:2", "--output", "shared.npz"])
        assert calls() > 2, "the fingerprint of each worker takes one"
    alone, shared = np.load("alone.npz"), np.load("shared.npz")
    for name in set(alone.files) - {"told"}:
        np.testing.assert_array_equal(alone[name], shared[name])
    assert torch.get_num_threads() == 1
    if verb == "map":
        with pytest.raises(SystemExit):
            main([*line, "--cluster", "local:2", "--fast", "--output", "fast.npz"])
        assert "--fast compiles the network, which workers do not" in capsys.readouterr().err


def test_the_command_of_the_uncertainty_exponent_takes_workers(workers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection, "connected", lambda *_, **__: nullcontext(workers))
    plane = "--num_prompts_per_direction 3 3 --len_per_direction 16 16 --epsilons 0.1 1 10 --points 40"
    line = f"dynamics uncertainty --model digits --device cpu --num_steps 2 {plane}".split()
    main([*line, "--threads", "1", "--output", "alone.json", "--checkpoint", "alone.npz"])
    with killing(workers, tmp_path / "calls") as calls:
        main([*line, "--cluster", "local:2", "--output", "shared.json", "--checkpoint", "shared.npz"])
        assert calls() > 8
    alone, shared = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "shared"))
    assert alone == shared
