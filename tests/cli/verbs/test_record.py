"""`denoscope record`: the files, messages and plans of recordings."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import xarray
from command_line import call, load, names, snapshot
from safetensors.torch import load_file

import denoscope as ds
from denoscope.foundation.byte_units import format_bytes
from denoscope.storage import space


def test_record_writes_the_documented_files(model, inputs):
    call(f"record --model {model} --batch_size 2 --num_steps 3 --flatten")
    for folder, kind in (("sequences", "sequence"), ("layer1", "trajectory"), ("last_layer", "trajectory")):
        assert names(f"outputs/{folder}") == [f"sample_{k:04d}_{kind}.pt" for k in range(3)]
    sequence = load("outputs/sequences/sample_0001_sequence.pt")
    assert sequence.shape == (4, 1, 8, 8)
    assert torch.equal(sequence[0], load(inputs / "noise_0001.pt")[0])
    assert load("outputs/layer1/sample_0001_trajectory.pt").shape == (3, 8 * 8 * 8)
    assert load("outputs/last_layer/sample_0001_trajectory.pt").shape == (3, 64)
    x_0 = ds.sample(ds.load(model), ds.noise.read(inputs).batch(range(3)), steps=3)
    assert torch.equal(sequence[-1], x_0[1])


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("flag", ["--no-extract_states", "--no-extract-states", "--no_extract_states"])
def test_record_without_states_writes_final_tensors_only(model, capsys, flag):
    call(f"record --model {model} --num_steps 2 {flag}")
    assert names("outputs/final_tensors") == [f"sample_{k:04d}.pt" for k in range(3)]
    assert load("outputs/final_tensors/sample_0000.pt").shape == (1, 8, 8)
    assert not Path("outputs/sequences").exists()
    printed = capsys.readouterr()
    assert "outputs" in printed.out and "3 samples" in printed.err and "memory" in printed.err
    assert "768 B" in printed.err, "3 final images of 64 float32"


@pytest.mark.usefixtures("inputs")
def test_record_writes_a_store_with_the_named_layers(model):
    call(
        f"record --model {model} --inputs inputs --output run.zarr --num_steps 2 --layers conv_in mid_block "
        "--batch_size 8 --no-flatten --scheduler ddpm --seed 3 --device cpu --noise independent"
    )
    data = xarray.open_zarr("run.zarr")
    assert data["mid_block"].shape == (3, 2, 16, 4, 4) and data["sequence"].shape == (3, 3, 1, 8, 8)
    config = data.attrs["config"]
    assert data.attrs["scheduler"] == "DDPMScheduler"
    assert config["noise"] == "independent" and config["noise_seed"] == 3


@pytest.mark.usefixtures("inputs")
def test_a_recording_by_one_process_imports_no_dask_distributed(model):
    program = (
        "import sys; from denoscope.cli.command import main; main(sys.argv[1:]); "
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('distributed', 'dask_jobqueue')))"
    )
    words = f"record --model {model} --num_steps 1 --output run.zarr --quiet".split()
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["recorded in run.zarr", "[]"]


@pytest.mark.usefixtures("inputs")
def test_two_workers_write_the_store_of_one_process_key_by_key(model, contents):
    flags = f"record --model {model} --num_steps 2 --scheduler ddpm --lanes 1 --batch_size 1"
    call(f"{flags} --output alone.zarr --threads 1")
    call(f"{flags} --output shared.zarr --cluster local:2")
    alone, shared = contents(Path("alone.zarr")), contents(Path("shared.zarr"))
    assert shared.keys() == alone.keys()
    assert not [key for key in alone if shared[key] != alone[key]]


@pytest.mark.usefixtures("inputs")
def test_record_writes_a_store_in_the_output_folder_and_one_folder_a_layer(model):
    call(f"record --model {model} --num_steps 1 --output_format zarr")
    assert xarray.open_zarr("outputs/recording.zarr")["sequence"].shape == (3, 2, 1, 8, 8)
    call(f"record --model {model} --num-steps 1 --layers mid_block conv_in --output other")
    assert names("other/mid_block") == names("other/conv_in") and len(names("other/conv_in")) == 3


@pytest.mark.usefixtures("inputs")
def test_a_recording_is_replaced_with_overwrite_only(model, here, refused):
    line = f"record --model {model} --num_steps 1"
    call(line)
    sequences = snapshot(here / "outputs" / "sequences")
    before = snapshot(here)
    refused(line, "outputs", "--overwrite", "--resume", "--output")
    assert snapshot(here) == before
    call(f"{line} --overwrite")
    assert snapshot(here / "outputs" / "sequences") == sequences


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_a_resume_says_whether_there_was_anything_to_resume(model, capsys, output):
    line = f"record --model {model} --num_steps 1 --output {output} --resume"
    said = f"nothing to resume at {output}: the recording starts from the beginning"
    call(line)
    assert capsys.readouterr().err.splitlines()[0] == said
    call(line)
    assert said not in capsys.readouterr().err
    call(line.replace("--resume", "--overwrite"))
    assert said not in capsys.readouterr().err


@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_a_full_disk_ends_in_one_line_and_leaves_no_partial_files(model, here, recorder, output):
    """A limit on file sizes simulates a full disk: writing beyond it fails in the same way."""
    ds.noise.random(4, (1, 8, 8)).write(here / "inputs")
    line = f"record --model {model} --num_steps 30 --lanes 4 --layers conv_in --output {output}"
    code = f"""
import resource
from denoscope.cli.command import main
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
main({line.split()!r})
"""
    ended, _, printed = recorder.block(here, code=code)
    assert ended == 2, printed
    (error,) = (line for line in printed.splitlines() if line.startswith("error: "))
    assert output in error and "Traceback" not in printed
    assert not [path for path in (here / output).rglob("*") if "partial" in path.name]
    assert not ds.open(here / output).dataset["complete"].values.any()


@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_samples_that_became_nan_are_reported(small_model, here, inputs, capsys, output):  # noqa: ARG001
    network = ds.load(small_model).network
    with torch.no_grad():
        network.conv_out.bias[0] = math.nan
    network.save_pretrained("broken")
    line = f"record --model broken --scheduler ddim --num_steps 2 --output {output}"
    call(line)
    (warning,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: "))
    assert all(fragment in warning for fragment in ("3 samples", "NaN", "sample_0000", "step 0"))
    with pytest.raises(SystemExit) as caught:
        call(f"{line} --overwrite --on_nonfinite stop")
    assert caught.value.code == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert all(fragment in error for fragment in ("NaN", "sample_0000", "step 0"))


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_a_dry_run_prints_the_plan_only(model, here, capsys, output):
    before = snapshot(here)
    call(f"record --model {model} --num_steps 5 --output {output} --layers conv_in --batch_size 2 --dry_run")
    printed = capsys.readouterr()
    assert printed.err == "" and snapshot(here) == before
    head, sequence, layer, memory, disk = printed.out.splitlines()
    assert head == f"3 samples, 5 steps → {output}"
    assert "sequence: [6, 1, 8, 8] float32" in sequence and "4.5 KiB" in sequence
    assert "conv_in: [5, 8, 8, 8] float32" in layer and "30.0 KiB" in layer
    # A row: x four times over, [1, 8, 8], and conv_in, [8, 8, 8]; eight rows.
    assert "24.0 KiB" in memory and "memory" in memory
    assert "on disk" in disk and "free" in disk


@pytest.mark.usefixtures("inputs")
def test_a_dry_run_for_workers_says_what_memory_one_and_all_take(model, here, capsys):
    line = f"record --model {model} --num_steps 5 --output run.zarr --layers conv_in --batch_size 2 --dry_run"
    call(f"{line} --device cpu --cluster local:4")
    heads, libraries, network, step, together = capsys.readouterr().out.splitlines()[3:8]
    assert re.split("  +", heads) == ["", "memory, about", "one worker", "all 4"]
    # What a dry run without workers says of a step, and the weights as the file of the model has them.
    assert re.split("  +", step) == ["", "one step of 3 samples", "24.0 KiB", "96.0 KiB"]
    weights = sum(
        value.nbytes for value in load_file(f"{model}/diffusion_pytorch_model.safetensors").values()
    )
    assert re.split("  +", network) == ["", "the network", format_bytes(weights), format_bytes(4 * weights)]
    assert re.match(r"    Python with its libraries +[\d.]+ [MG]iB +[\d.]+ [MG]iB$", libraries)
    assert re.match(r"    together +[\d.]+ [MG]iB +[\d.]+ GiB; [\d.]+ [MG]iB are free$", together)
    (here / "jobs.yaml").write_text("workers: 3\ninterface: lo\n")
    for source, columns in (
        ("slurm:jobs.yaml", ["one worker", "all 3"]),
        ("tcp://127.0.0.1:9", ["one worker"]),
    ):
        call(f"{line} --cluster {source}")
        heads, *_, together, disk = capsys.readouterr().out.splitlines()[3:]
        assert re.split("  +", heads)[2:] == columns and "free" not in together and "on disk" in disk


@pytest.mark.usefixtures("inputs")
def test_a_dry_run_that_does_not_fit_on_the_disk_prints_the_plan_and_fails(model, here, capsys, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda _path: 10_000)
    before = snapshot(here)
    with pytest.raises(SystemExit) as caught:
        call(f"record --model {model} --num_steps 5 --output run.zarr --dry_run")
    printed = capsys.readouterr()
    assert caught.value.code == 2 and snapshot(here) == before
    assert "on disk" in printed.out and "error: run.zarr" in printed.err and "KiB are free" in printed.err


@pytest.mark.usefixtures("inputs")
def test_a_recording_may_be_written_beside_results_of_earlier_ones(model, here):
    """An output folder that holds pictures and predictions, empty folders, or hidden files."""
    output = here / "outputs"
    for place in ("images/sequences/a.png", "predictions.json", "classifications_plane.pt", ".gitkeep"):
        (output / place).parent.mkdir(parents=True, exist_ok=True)
        (output / place).write_text("earlier")
    (output / "layer1").mkdir()
    call(f"record --model {model} --num_steps 2 --output outputs")
    assert (output / "predictions.json").read_text() == "earlier" and (output / "sequences").is_dir()
