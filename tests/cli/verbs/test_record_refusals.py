"""`denoscope record` with options, inputs, models and outputs that do not fit: no earlier result is touched."""

import itertools
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
import zarr
from command_line import call, snapshot

import denoscope as ds

OPTIONS = {
    "--lanes 0": ["--lanes is 0", "1 to 4, or a multiple of 4"],
    "--lanes 6": ["--lanes is 6", "a multiple of 4"],
    "--dtype float8": ["--dtype", "float8", "float32"],
    "--state_dtype bfloat16": ["--state-dtype", "bfloat16", "float16"],
    "--sampler_dtype half": ["--sampler-dtype", "half", "float64"],
    "--reduce median": ["--reduce is 'median'", "none", "spatial_mean"],
    "--reduce project:0": ["--reduce is 'project:0'"],
    "--layers time_embedding --reduce spatial_mean": [
        "'time_embedding'",
        "[32]",
        "spatial_mean",
        "project:K",
    ],
    "--layers time_embedding --height 0:2": ["[32]", "--height is '0:2'"],
    "--channels 8": ["[8, 8, 8]", "--channels is '8'", "0 to 7"],
    "--channels 3:3": ["--channels is '3:3'", "0 to 7"],
    "--channels x": ["--channels is 'x'", "slice"],
    "--every 0 3": ["--every", "3", "0 to 2"],
    "--every 0": ["--every is 0", "at least 1"],
    "--every 1 1": ["--every is 1 1", "different"],
    "--every -1 1": ["--every is -1 1", "at least 0"],
    "--num_steps 1001": ["--num_steps is 1001", "1 to 1000"],
    "--codec gzip": ["--codec", "gzip", "zstd"],
    "--on_nonfinite hope": ["--on-nonfinite", "hope", "stop"],
    "--resume --overwrite": ["--resume", "--overwrite"],
    "--layers conv_inn": ["'conv_inn'", "conv_in"],
}


@pytest.fixture(scope="module")
def finished(small_model, tmp_path_factory) -> Path:
    """A folder with three noises, and a recording of them in each format."""
    folder = tmp_path_factory.mktemp("finished")
    x, denoiser = ds.noise.random(3, (1, 8, 8)), ds.load(small_model, device="cpu")
    x.write(folder / "inputs")
    for name in ("run", "run.zarr"):
        ds.record(denoiser, x, folder / name, steps=1)
    return folder


def spelled_alike(fragment: str) -> str:
    return fragment.replace("-", "_")


@pytest.mark.parametrize(("flags", "output"), zip(OPTIONS, itertools.cycle(("run", "run.zarr"))))
def test_an_option_that_does_not_fit_is_refused(small_model, finished, refused, monkeypatch, flags, output):
    monkeypatch.chdir(finished)
    before = snapshot(finished)
    overwrite = "" if "--overwrite" in flags else "--overwrite"
    line = refused(f"record --model {small_model} --num_steps 3 --output {output} {overwrite} {flags}")
    for fragment in OPTIONS[flags]:
        assert spelled_alike(fragment) in spelled_alike(line), line
    assert snapshot(finished) == before


def test_what_workers_cannot_record_is_refused_before_they_start(
    small_model, finished, refused, monkeypatch, tmp_path
):
    monkeypatch.chdir(finished)
    monkeypatch.setattr("denoscope.cluster.connection.connected", None)
    (tmp_path / "taken.zarr").mkdir()
    (tmp_path / "taken.zarr/notes").touch()
    record = f"record --model {small_model} --num_steps 1 --cluster local:2"
    refused(f"{record} --output new.zarr --fast", "--fast compiles the network", "--cluster")
    refused(f"{record} --output {tmp_path / 'taken.zarr'}", "exists and is not a recording")


@pytest.mark.parametrize("output", ["new", "new.zarr"])
def test_layers_that_do_not_fit_on_the_disk_are_refused_with_their_size(
    small_model, finished, refused, output, monkeypatch
):
    monkeypatch.chdir(finished)
    states = sum(layer.bytes for layer in ds.load(small_model, device="cpu").layers()) * 3 * 900
    monkeypatch.setattr("denoscope.storage.space.free_bytes", lambda _: 100 * 2**20)
    before = snapshot(finished)
    words = f"record --model {small_model} --num_steps 900 --output {output} --layers ** !**.nonlinearity"
    line = refused(words, output, "100.0 MiB")
    needed = float(re.search(r"([\d.]+) MiB", line)[1]) * 2**20
    assert states < needed < 1.2 * states and snapshot(finished) == before


@pytest.mark.parametrize("output", ["/proc/x", "/proc/x/run.zarr"])
def test_an_output_where_no_files_can_be_is_refused_for_that_reason(
    small_model, finished, refused, output, monkeypatch
):
    monkeypatch.chdir(finished)
    line = refused(f"record --model {small_model} --num_steps 1 --output {output}", f"cannot write {output}")
    assert "no folder can be made there" in line and "free" not in line and "--output" in line


INTERVENTIONS = [
    ({"do": "swap", "value": "short.zarr"}, ["short.zarr", "1 steps", "2"]),
    ({"do": "swap", "value": "other.zarr"}, ["other.zarr", "weights"]),
    ({"do": "swap", "value": "gone.zarr"}, ["gone.zarr"]),
    ({"do": "add", "value": [1, 2, 3]}, ["[3]", "[16, 4, 4]"]),
    ({"do": "add", "value": 1, "branches": "cond"}, ["'cond'", "none"]),
    ({"do": "add", "value": 1, "steps": "2"}, ["'2'", "0 to 1"]),
    ({"do": "add", "value": 1, "tokens": "0"}, ["[16, 4, 4]", "tokens"]),
]


@pytest.fixture(scope="module")
def donors(model, make_unet, tmp_path_factory) -> Path:
    """Recordings of mid_block: run.zarr, one with fewer steps, and one of another model."""
    folder = tmp_path_factory.mktemp("donors")
    make_unet(1, seed=9).save_pretrained(folder / "other")
    x, one = ds.noise.random(3, (1, 8, 8)), ds.load(model, device="cpu")
    x.write(folder / "inputs")
    other = ds.load(str(folder / "other"), scheduler="ddim", device="cpu")
    for name, denoiser, steps in (("run", one, 2), ("short", one, 1), ("other", other, 2)):
        ds.record(denoiser, x, folder / f"{name}.zarr", steps=steps, layers=["mid_block"])
    return folder


@pytest.mark.parametrize(("plan", "fragments"), INTERVENTIONS)
def test_an_intervention_that_does_not_fit_is_refused(
    model, donors, here, refused, monkeypatch, plan, fragments
):
    if plan["do"] == "swap":
        plan = {**plan, "value": str(donors / plan["value"])}
    (here / "plan.json").write_text(json.dumps({"interventions": [{"at": "mid_block", **plan}]}))
    monkeypatch.chdir(donors)
    before = snapshot(donors)
    words = f"record --model {model} --num_steps 2 --output run.zarr --overwrite --intervene {here}/plan.json"
    refused(words, "error: --intervene: ", *fragments)
    assert snapshot(donors) == before


def test_a_difference_of_options_is_named_by_its_flag(model, donors, refused, monkeypatch):
    monkeypatch.chdir(donors)
    before, threads = snapshot(donors), torch.get_num_threads()
    line = f"record --model {model} --output run.zarr --layers mid_block --resume"
    refused(
        f"{line} --num_steps 2 --threads {threads + 1}", f"resumed: --threads: {threads} → {threads + 1};"
    )
    refused(f"{line} --num_steps 3", "resumed: --num_steps: 2 → 3;")
    assert snapshot(donors) == before


def in_the_way(kind: str, output: Path) -> None:
    """Put a file or folder at the place of the recording."""
    match kind:
        case "a file":
            output.write_text("mine")
        case "another store":
            zarr.open_group(output, mode="w", zarr_format=3).attrs["mine"] = True
        case "an image as a store":
            output.mkdir()
            (output / "zarr.json").write_bytes(b"\x89PNG\r\n")
        case "a newer recording":
            root = output / ("zarr.json" if output.suffix else "recording.json")
            attrs = {"format": "denoscope recording", "format_version": 2}
            output.mkdir()
            root.write_text(json.dumps({"attributes": attrs, "attrs": attrs}))
        case "a link out of it":
            output.mkdir()
            Path("elsewhere").mkdir()
            for name in ("sequence", "sequences"):
                (output / name).symlink_to(Path("elsewhere").resolve())


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
@pytest.mark.parametrize(
    "kind", ["a file", "another store", "an image as a store", "a newer recording", "a link out of it"]
)
def test_foreign_files_at_the_output_are_never_touched(small_model, here, refused, kind, output):
    in_the_way(kind, Path(output))
    before = snapshot(here)
    for flag in ("", "--resume", "--overwrite"):
        line = refused(f"record --model {small_model} --num_steps 1 --output {output} {flag}", output)
        if kind == "a newer recording" and flag:
            assert "version 2" in line and "1" in line
    assert snapshot(here) == before


OUTPUTS = {
    "inputs": ["inputs", "noise.json"],
    "notes": ["notes", "a/note.txt"],
    "stores": ["stores", "recording.zarr/zarr.json"],
    "a" * 300: ["name too long"],
    f"{'a' * 300}.zarr": ["name too long"],
    "file/outputs": ["file"],
    "file/run.zarr": ["file"],
    "file/outputs --no-extract_states": ["file"],
    "file/outputs --output_format zarr": ["file"],
}


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused(small_model, here, capsys, output):
    (here / "notes" / "a").mkdir(parents=True)
    (here / "notes" / "a" / "note.txt").write_text("mine")
    (here / "stores" / "recording.zarr").mkdir(parents=True)
    (here / "stores" / "recording.zarr" / "zarr.json").write_text("{}")
    (here / "file").write_text("not a folder")
    before = snapshot(here)
    for dry in ("",) if output.startswith("file/") else ("", " --dry_run"):
        with pytest.raises(SystemExit) as caught:
            call(f"record --model {small_model} --num_steps 2 --output {output}{dry}")
        (line,) = capsys.readouterr().err.splitlines()
        assert caught.value.code == 2 and line.startswith("error: ")
        assert all(fragment in line.replace("File name", "name") for fragment in OUTPUTS[output]), line
    assert snapshot(here) == before


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


BAD_INPUTS = {
    "text": lambda path: path.write_text("no tensor"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-150]),
    "code": lambda path: torch.save(Evil(), path),
    "code in a bare pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "wrong size": lambda path: torch.save(torch.zeros(1, 8, 9), path),
    "wrong channels": lambda path: torch.save(torch.zeros(1, 3, 8, 8), path),
    "NaN": lambda path: torch.save(torch.full((1, 8, 8), float("nan")), path),
    "Inf": lambda path: torch.save(torch.full((1, 8, 8), float("inf")), path),
    "integers": lambda path: torch.save(torch.zeros(1, 8, 8, dtype=torch.int64), path),
    "state dict": lambda path: torch.save({"weight": torch.zeros(1, 8, 8)}, path),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_an_input_that_is_not_a_noise_is_refused_by_its_file(small_model, finished, here, refused, kind):
    shutil.copytree(finished, here, dirs_exist_ok=True)
    BAD_INPUTS[kind](here / "inputs" / "noise_0002.pt")
    before = snapshot(here)
    refused(f"record --model {small_model} --num_steps 1 --output run --overwrite", "noise_0002.pt")
    assert snapshot(here) == before and not Path("ran").exists()


@pytest.mark.usefixtures("inputs")
def test_a_network_of_an_unknown_class_is_refused(model, refused):
    shutil.copytree(model, "folder")
    config = Path("folder") / "config.json"
    text = config.read_text()
    for kind in ("NoSuchModel", "AutoencoderKL"):
        config.write_text(text.replace("UNet2DModel", kind))
        refused("record --model folder", kind)
        refused("layers folder", kind)
    (Path("pipe") / "prior").mkdir(parents=True)
    config.rename(Path("pipe") / "prior" / "config.json")
    for line in ("record --model pipe", "layers pipe", "noise random --model pipe"):
        refused(line, "config.json", "pipe", "unet/", "transformer/", "prior/")
