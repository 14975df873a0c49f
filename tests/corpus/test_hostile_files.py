"""Impossible sizes, pipes and odd names are refused in one line, before memory is allocated."""

import json
import math
import os
import shutil
import tracemalloc

import damaged_files as corpus
import numpy as np
import pytest
import torch
from command_line import check_refusal

import denoscope as ds
from denoscope import cli
from denoscope.config import ClassifierConfig
from denoscope.foundation import memory
from denoscope.recording.predictions import predict
from denoscope.storage import layout_checksums
from denoscope.storage.stores.local import LocalStore


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for out in corpus.OUTPUTS:
        corpus.record(folder, out)
    return folder


@pytest.fixture
def copy(recorded, tmp_path):
    return lambda out: shutil.copytree(recorded / out, tmp_path / out)


def refused(capsys, line):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == 2
    return check_refusal(capsys.readouterr().err)


@pytest.mark.parametrize("checksums", ["kept", "removed", "made to match"])
@pytest.mark.parametrize(
    ("array", "key", "value"),
    [
        ("complete", "shape", [10**15]),
        ("complete", "shape", [-1]),
        ("nonfinite", "shape", [3, 10**12]),
        ("sample", "shape", [10**15]),
        ("sample", "shape", [10**400]),
        ("complete", "chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0]}}),
        ("sequence", "shape", "many"),
    ],
)
def test_sizes_that_no_recording_has_are_refused(copy, capsys, array, key, value, checksums):
    path = copy("run.zarr")
    content = json.loads((path / "zarr.json").read_text())
    content["consolidated_metadata"]["metadata"][array][key] = value
    (path / "zarr.json").write_text(json.dumps(content))
    marks = path / "complete" / "marks"
    if checksums == "removed":
        (marks / "layout.json").unlink()
    elif checksums == "made to match":
        attributes = content.pop("attributes")
        layout_checksums.write(LocalStore(path), "complete/marks", attributes, content, {})
    for line in (f"verify store {path}", f"dynamics divergence {path}"):
        message = refused(capsys, line)
        assert "is damaged" in message and "zarr.json" in message
        assert checksums == "kept" or array in message


@pytest.mark.parametrize(
    "place", ["zarr.json", "epsilon/c/0", "complete/marks/0.json", "complete/marks/layout.json"]
)
def test_a_pipe_in_place_of_a_file_is_refused_at_once(copy, capsys, place):
    path = copy("run.zarr")
    (path / place).unlink()
    os.mkfifo(path / place)
    for line in (f"verify store {path}", f"dynamics divergence {path}"):
        try:
            cli.main(line.split())
            ended = 0
        except SystemExit as stop:
            ended = stop.code
        printed = capsys.readouterr()
        assert ended in (1, 2) and "not a regular file" in printed.out + printed.err


def test_a_pipe_in_place_of_states_is_refused_at_once(copy):
    path = copy("run.zarr")
    (shard,) = (path / "sequence").rglob("c/0/0/0/0/0")
    shard.unlink()
    os.mkfifo(shard)
    rec = ds.open(path)
    with pytest.raises(ds.UserError, match="cannot be read"):
        rec.sequence.to_numpy()
    with pytest.raises(ds.UserError, match="not a regular file"):
        rec.check()


def test_a_pipe_in_place_of_a_sequence_is_refused_at_once(copy, capsys):
    path = copy("run_pt")
    file = sorted((path / "sequences").glob("*.pt"))[0]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ds.UserError, match="not a regular file"):
        ds.open(path).check()
    for line in (f"image --tensor-path {file}", f"classify --tensors {path}", f"dynamics divergence {path}"):
        assert file.name in refused(capsys, line)
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "store", str(path)])
    printed = capsys.readouterr()
    assert ended.value.code == 1 and "not a regular file" in printed.out + printed.err


@pytest.mark.parametrize("cell", ["x99999_y99999", "x0_y999999999", f"x{'9' * 100}_y0"])
def test_a_cell_of_a_plane_that_nothing_holds_is_refused(tmp_path, cell):
    torch.save(torch.zeros(1, 28, 28), tmp_path / f"plane_e_{cell}.pt")
    with pytest.raises(ds.UserError, match=r"plane_e_x.*cells; allowed: at most 100,000,000"):
        predict(ClassifierConfig(tensors=tmp_path))


def test_more_noises_than_a_disk_or_a_run_holds_are_refused(tiny, tmp_path):
    x = ds.noise.random(10**12, tiny.shape)
    with pytest.raises(ds.UserError, match=r"1,000,000,000,000 noises take .* TiB"):
        x.write(tmp_path / "noises")
    assert not (tmp_path / "noises").exists()
    assert len(ds.noise.perturbed(10**12, tiny.shape)) == 10**12 + 1
    with pytest.raises(ds.UserError, match="1,000,000,000,000 noises"):
        ds.record(tiny, x, tmp_path / "run.zarr", steps=1)
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("noise random --num_samples 1000000000", "1,000,000,000"),
        ("noise plane --num_prompts_per_direction 40000 40000", "1,600,000,000"),
        ("noise perturbed --num_perturbations 1000000000", "1,000,000,001"),
    ],
)
def test_more_noises_than_a_disk_holds_are_refused_at_the_command_line(
    tmp_path, capsys, monkeypatch, line, count
):
    free = shutil.disk_usage(tmp_path)._replace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    message = refused(capsys, f"{line} --inputs {tmp_path / 'noises'}")
    assert f"{count} noises take" in message and "931.3 GiB are free" in message
    assert not list(tmp_path.iterdir())


def test_a_plane_that_memory_cannot_hold_is_lazy_and_not_measured(tiny):
    plane = ds.noise.plane((10**6, 10**6), tiny.shape)
    assert len(plane) == 10**12 and plane.tensor(10**12 - 1).shape == tiny.shape
    for measure in (ds.basins.map, ds.dynamics.plane_growth):
        with pytest.raises(ds.UserError, match=r"1,000,000,000,000 noises takes .* of memory"):
            measure(tiny, plane)


@pytest.mark.parametrize("counts", [(10**13, 2), (2, 10**13), (2**62, 2), (10**9, 10**9), (2**40, 2**40)])
def test_a_plane_whose_coordinates_memory_cannot_hold_is_refused_before_they_are_made(
    tiny, monkeypatch, counts
):
    """Memory is free for 10⁹ numbers, which would take seconds to make; Python counts no more than 2⁶³ − 1 noises."""
    monkeypatch.setattr(memory, "_free_on_host", lambda: 8 * 10**9)
    whole = rf"counts gives {math.prod(counts):,} noises: their plane takes [\d.]+ [GT]iB of memory, and 7\.5 GiB are free"
    tracemalloc.start()
    with pytest.raises(ds.UserError, match=f"^{whole}$"):
        ds.noise.plane(counts, tiny.shape)
    with pytest.raises(ds.UserError, match=f"^{whole}$"):
        ds.noise.plane_through(*ds.noise.random(3, tiny.shape), counts)
    monkeypatch.setattr(memory, "_free_on_host", lambda: 2**80)
    too_many = "is too large; allowed: up to 9,223,372,036,854,775,807 noises"
    with pytest.raises(
        ds.UserError, match=too_many if math.prod(counts) >= 2**63 else "the spacing of cells"
    ):
        ds.noise.plane(counts, tiny.shape)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


@pytest.mark.parametrize("counts", ["10000000000000 30", "4611686018427387904 30"])
@pytest.mark.parametrize("command", ["basins map", "basins zoom", "dynamics growth", "noise plane"])
def test_planes_that_memory_cannot_hold_are_refused_at_the_command_line(tmp_path, capsys, command, counts):
    output = "--inputs" if command == "noise plane" else "--output"
    target = tmp_path / ("noises" if command == "noise plane" else "out.npz")
    message = refused(
        capsys, f"{command} --model digits --num_prompts_per_direction {counts} {output} {target}"
    )
    assert "--num_prompts_per_direction gives " in message and "TiB of memory" in message
    assert "GiB are free" in message and not list(tmp_path.iterdir())


@pytest.mark.parametrize("iterations", [10**13, 10**30])
def test_iterations_that_memory_cannot_hold_are_refused(iterations):
    x = torch.zeros(4)
    with pytest.raises(ds.UserError, match=r"iterations.*(of memory|allowed)"):
        ds.dynamics.orbit(lambda state: state / 2, x, iterations=iterations)


NAMES = ["n" * 300, "n/" * 3000, "loop", "loop/below", "a\0b"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_paths_are_refused_in_one_line(tiny, tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    path = os.fspath(tmp_path / name)
    calls = {
        "open": lambda: ds.open(path),
        "verify": lambda: __import__("denoscope.recording.verify").recording.verify.store(path),
        "read": lambda: ds.noise.read(path),
        "load": lambda: ds.load(path),
        "plan": lambda: ds.read_plan(path),
        "checkpoint": lambda: ds.Checkpoint(path).read(),
        "write": lambda: ds.noise.random(1, tiny.shape).write(path),
        "record": lambda: ds.record(tiny, ds.noise.random(1, tiny.shape), path + "/run.zarr", steps=1),
    }
    for what, call in calls.items():
        if what in ("write", "record") and "\0" in name:
            continue
        with pytest.raises(ds.UserError) as found:
            call()
        assert len(str(found.value).splitlines()) == 1, what


def test_odd_values_read_as_numpy_reads_them(recorded):
    """The unchanged fixture is valid, so that the refusals above are due to the changes."""
    rec = ds.open(recorded / "run.zarr")
    assert np.isnan(rec.dataset["epsilon"][0]) or rec.dataset["epsilon"][0] == 0
    assert rec.dataset["epsilon"][1:].to_numpy() == pytest.approx([0.5, 0.5])
