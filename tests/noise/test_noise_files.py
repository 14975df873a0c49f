"""Noises written to a folder and read back."""

import json
import os

import google_crc32c
import numpy as np
import pytest
import torch

import denoscope as ds
from denoscope import UserError, noise
from denoscope.foundation import tensor_files

SHAPE = (1, 28, 28)


def test_plane_files_and_their_json_are_as_documented(tmp_path):
    x = noise.plane((2, 3), SHAPE, lengths=(2.0, 4.0), center=(1.0, 0.0), base_seed=420)
    written = x.write(tmp_path)
    stems = [f"plane_0420_100_200_x{i:03d}_y{j:03d}" for i in range(2) for j in range(3)]
    assert [path.name for path in written] == [f"{stem}.pt" for stem in stems]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(path.name for path in written), "plane_0420_100_200.json"]
    )
    content = json.loads((tmp_path / "plane_0420_100_200.json").read_text())
    assert (
        content["counts"] == [2, 3] and content["lengths"] == [2.0, 4.0] and content["center"] == [1.0, 0.0]
    )
    assert content["base_seed"] == 420 and content["direction_seeds"] == [100, 200]
    assert content["shape"] == list(SHAPE)
    assert content["samples"][0] == {"name": stems[0], "u": 0.0, "v": -2.0}
    assert content["samples"][5] == {"name": stems[5], "u": 2.0, "v": 2.0}
    first = torch.load(written[0], weights_only=True)
    assert first.shape == (1, *SHAPE) and first.dtype == torch.float32


SETS = {
    "random": lambda: noise.random(3, (2, 4, 4), seed=1),
    "perturbed": lambda: noise.perturbed(2, (2, 4, 4), epsilon=10.0),
    "plane": lambda: noise.plane((2, 2), (2, 4, 4)),
    "sphere": lambda: noise.sphere(2, (2, 4, 4)),
}


@pytest.mark.parametrize("kind", SETS)
def test_a_written_set_is_read_back(tmp_path, kind):
    x = SETS[kind]()
    x.write(tmp_path)
    read = noise.read(tmp_path, shape=(2, 4, 4))
    assert read.names == tuple(sorted(x.names)) and read.shape == x.shape
    order = [read.names.index(name) for name in x.names]
    assert torch.equal(read.batch(order), x.batch(range(len(x))))
    assert read.coords.keys() == x.coords.keys()
    for name in x.coords:
        assert read.coords[name][order].tolist() == x.coords[name].tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: noise.random(np.int64(2), SHAPE, seed=np.int64(3)),
        lambda: noise.perturbed(1, SHAPE, epsilon=np.float32(3), base_seed=np.int64(1)),
        lambda: noise.plane(np.array([2, 2]), SHAPE, lengths=np.array([1.0, 2.0]), center=np.zeros(2)),
    ],
)
def test_parameters_may_be_numpy_numbers(tmp_path, make):
    x = make()
    x.write(tmp_path)
    assert noise.read(tmp_path).names == x.names and len(list(tmp_path.glob("*.json"))) == 1


def test_a_manifest_has_the_checksum_of_its_content(tmp_path):
    noise.perturbed(1, SHAPE, epsilon=0.5).write(tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    stored = content.pop("checksum")
    assert stored == google_crc32c.value(json.dumps(content, sort_keys=True).encode())
    path.write_text(json.dumps(content | {"checksum": stored}))
    assert noise.read(tmp_path).coords["epsilon"].tolist() == [0.0, 0.5]
    # Parameters say nothing of the file, so that work on noises of before goes on with those written again.
    assert noise.read(tmp_path).parameters["sets"][0].keys() == content.keys() - {"samples"}
    path.write_text(json.dumps(content | {"format": "denoscope noise 1"}))
    assert noise.read(tmp_path).parameters["sets"][0]["format"] == "denoscope noise 1"


@pytest.mark.parametrize("format", ["denoscope noise 1", "denoscope noise 2"])
def test_every_number_of_a_manifest_is_covered(tmp_path, format):
    noise.perturbed(1, SHAPE, epsilon=0.5).write(tmp_path)
    (path,) = tmp_path.glob("*.json")
    text = path.read_text().replace("denoscope noise 2", format)
    path.write_text(text.replace('"epsilon": 0.5', '"epsilon": 0.7'))
    for work in (
        lambda: noise.read(tmp_path),
        lambda: noise.perturbed(1, SHAPE, epsilon=0.5).write(tmp_path),
    ):
        with pytest.raises(UserError, match=r"is damaged.*checksum") as refused:
            work()
        assert str(path) in str(refused.value)


def test_a_set_that_replaces_another_leaves_no_stale_file(tmp_path):
    noise.random(5, SHAPE).write(tmp_path)
    torch.save(torch.zeros(SHAPE), tmp_path / "mine.pt")
    noise.random(2, SHAPE).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "noise_0000.pt",
        "noise_0001.pt",
        "mine.pt",
        "noise.json",
    }


def test_a_manifest_cannot_remove_files_outside_its_folder(tmp_path):
    inputs, other = tmp_path / "inputs", tmp_path / "precious.pt"
    inputs.mkdir()
    other.write_text("keep me")
    content = {
        "format": "denoscope noise 1",
        "samples": [{"name": "../precious"}, {"name": str(tmp_path / "precious")}],
    }
    (inputs / "noise.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"noise\.json has a sample named '\.\./precious'"):
        noise.random(1, SHAPE).write(inputs)
    assert other.exists()


@pytest.mark.parametrize(
    "content",
    ['{"format": "denoscope noise 1"}', '{"format": "denoscope noise 1", "samples": [{}]}', "[1]", "{"],
)
def test_a_damaged_manifest_does_not_end_in_a_traceback(tmp_path, content):
    noise.random(2, SHAPE).write(tmp_path)
    (tmp_path / "noise.json").write_text(content)
    try:
        assert len(noise.read(tmp_path)) == 2
        noise.random(1, SHAPE).write(tmp_path)
    except UserError as error:
        message = str(error)
        assert "noise.json" in message


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        noise.random(1, SHAPE).write(tmp_path / "file" / "inputs")


def test_an_interrupted_write_leaves_the_earlier_set_unchanged(tmp_path, monkeypatch):
    noise.random(5, SHAPE, seed=1).write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save, written = tensor_files.save, []

    def full(tensor, path):
        written.append(path)
        if len(written) > 3:
            raise UserError(f"cannot write {path}: No space left on device")
        save(tensor, path)

    monkeypatch.setattr(tensor_files, "save", full)
    with pytest.raises(UserError, match="No space left"):
        noise.random(7, SHAPE, seed=2).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["../evil", "a/b", "/a", "", "..", ".hidden"])
def test_a_name_that_is_not_a_file_name_is_refused(tmp_path, name):
    x = noise.ArrayNoise(torch.zeros(2, *SHAPE), ("fine", name))
    with pytest.raises(UserError, match="cannot be written"):
        x.write(tmp_path / "inputs")
    assert not list(tmp_path.iterdir())


def changed(folder, change):
    """Change the manifest of noises in a folder."""
    noise.perturbed(1, SHAPE, epsilon=0.5).write(folder)
    (path,) = folder.glob("*.json")
    path.write_text(change(path.read_text()))
    return path.name


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text[:1],
        lambda _: "",
        lambda _: "[" * 100_000,
        lambda text: text.replace('"name"', '"nale"', 1),
        lambda text: text.replace('"format"', '"formbt"'),
        lambda text: text.replace("denoscope noise", "denoscope nohse"),
        lambda text: text.replace('"samples"', '"samplet"'),
        lambda text: text.replace('"epsilon": 0.5', '"epsilon": [0.5]'),
        lambda text: text.replace('"epsilon": 0.5', '"epsilon": "0.5"'),
        lambda text: text.replace('"epsilon": 0.5', f'"epsilon": {10**30}'),
        lambda text: text.replace('"epsilon"', '""'),
        lambda text: text.replace('"epsilon"', '"../../evil"'),
    ],
)
def test_a_damaged_manifest_is_refused_and_named(tmp_path, change):
    name = changed(tmp_path, change)
    with pytest.raises(UserError) as refused:
        noise.read(tmp_path)
    message = str(refused.value)
    assert "\n" not in message and (name in message or "epsilon" in message), message


@pytest.mark.parametrize("key", ["", "../../evil", "a b", "a/b"])
def test_a_coordinate_that_is_no_name_is_refused_without_a_checksum_too(tmp_path, key):
    noise.perturbed(1, SHAPE, epsilon=0.5).write(tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text().replace('"epsilon": 0.5', f'"{key}": 0.5'))
    del content["checksum"]
    path.write_text(json.dumps(content | {"format": "denoscope noise 1"}))
    for work in (
        lambda: noise.read(tmp_path),
        lambda: noise.perturbed(1, SHAPE, epsilon=0.5).write(tmp_path),
    ):
        with pytest.raises(UserError) as refused:
            work()
        assert str(refused.value) == f"{path} has the coordinate {key!r}; allowed: letters, digits and _"


@pytest.mark.parametrize("content", ["[1]", "{}", '{"format": "mine"}', '{"samples": ["a"]}', "3"])
def test_the_json_file_of_another_program_is_ignored(tmp_path, content):
    noise.random(2, SHAPE, seed=3).write(tmp_path)
    (tmp_path / "mine.json").write_text(content)
    assert (
        noise.read(tmp_path).coords["seed"].tolist() == noise.random(2, SHAPE, seed=3).coords["seed"].tolist()
    )


@pytest.mark.parametrize("key", ["timestep", "sequence", "complete", "sample", "nonfinite", "final", "state"])
def test_a_coordinate_with_a_name_of_recordings_is_not_recorded(tiny, tmp_path, key):
    noise.perturbed(1, tiny.shape, epsilon=0.5).write(tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text().replace('"epsilon"', f'"{key}"', 3))
    del content["checksum"]
    path.write_text(json.dumps(content | {"format": "denoscope noise 1"}))
    with pytest.raises(UserError, match=f"'{key}'"):
        ds.record(tiny, noise.read(tmp_path), steps=1)
    assert "run.zarr" not in [found.name for found in tmp_path.iterdir()]


def test_a_file_whose_name_is_not_utf_8_is_named(tmp_path):
    noise.random(1, SHAPE).write(tmp_path)
    (tmp_path / "noise_0000.pt").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pt"))
    with pytest.raises(UserError, match="not UTF-8"):
        noise.read(tmp_path)


def test_a_pipe_beside_noises_is_refused_at_once(tmp_path):
    noise.random(1, SHAPE).write(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"pipe\.json.*not a regular file"):
        noise.read(tmp_path)
