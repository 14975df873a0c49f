"""The command and the scripts: every verb and flag, and one line for every mistake."""

import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
import xarray
import zarr

import denoscope as ds
from denoscope.cli import registry
from denoscope.cli.command import main
from denoscope.models.classifier import lenet
from denoscope.storage import space

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """The empty folder in which every test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def inputs(here):
    """A folder inputs/ with three noises for the tiny model."""
    ds.noise.random(3, (1, 8, 8)).write(here / "inputs")
    return here / "inputs"


@pytest.fixture
def refused(capsys):
    """Run the command, which must end with exit code 2 and one line that matches."""

    def run(*arguments: object, match: str = "") -> None:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        assert caught.value.code == 2
        one_line(capsys.readouterr().err, match)

    return run


def call(line: str) -> None:
    """Run the command with the words of a line."""
    main(line.split())


def one_line(text: str, match: str = "") -> None:
    lines = text.splitlines()
    assert "Traceback" not in text
    assert len(lines) == 1 and lines[0].startswith("error: "), text
    assert re.search(match, lines[0]), lines[0]


def load(path: str | Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)


def names(folder: str | Path, pattern: str = "*.pt") -> list[str]:
    return sorted(path.name for path in Path(folder).glob(pattern))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb(capsys, arguments):
    main(arguments)
    out = capsys.readouterr().out
    for name in registry.VERBS:
        assert f"  {name} " in out and registry.verb(name).help in out


@pytest.mark.parametrize("verb", registry.VERBS)
def test_every_verb_has_a_help_with_its_flags(capsys, verb):
    with pytest.raises(SystemExit) as caught:
        main([*verb.split(), "--help"])
    assert not caught.value.code
    out = capsys.readouterr().out
    for _, _, flag in registry.verb(verb).fields():
        assert f"--{flag}" in out or f"--{flag.replace('_', '-')}" in out


@pytest.mark.parametrize("family", ["noise", "verify"])
def test_the_help_of_several_verbs_lists_them(capsys, family):
    main([family, "--help"])
    out = capsys.readouterr().out
    for name in registry.VERBS:
        assert (f"  {name} " in out and registry.verb(name).help in out) == name.startswith(family)


@pytest.mark.usefixtures("inputs")
def test_a_reader_that_leaves_early_is_no_error(model):
    command = f"{sys.executable} -m denoscope record --model {model} --dry_run | true"
    done = subprocess.run(
        ["bash", "-c", command], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_the_version_is_that_of_the_package(capsys):
    import importlib.metadata

    main(["--version"])
    assert capsys.readouterr().out.strip() == importlib.metadata.version("denoscope")


@pytest.mark.parametrize("flag", ["--num_samples", "--num-samples"])
def test_random_noises_are_written(flag):
    main(["noise", "random", flag, "4", "--seed", "7"])
    assert names("inputs") == [f"noise_{k:04d}.pt" for k in range(4)]
    for k in range(4):
        noise = load(f"inputs/noise_{k:04d}.pt")
        assert torch.equal(noise[0], ds.noise.random(4, (1, 28, 28), seed=7).tensor(k))
        assert noise.shape == (1, 1, 28, 28) and noise.dtype == torch.float32


def test_perturbed_noises_are_written():
    call("noise perturbed --num_perturbations 2 --epsilon 500 --base-seed 3 --perturb_seed 4")
    assert names("inputs") == [
        "set_0003_base.pt",
        "set_0003_pert_000_eps_500.0000.pt",
        "set_0003_pert_001_eps_500.0000.pt",
    ]
    base = load("inputs/set_0003_base.pt").double()
    for name in names("inputs", "*pert*"):
        assert (load(f"inputs/{name}").double() - base).norm().item() == pytest.approx(500, rel=1e-6)


def test_a_plane_of_noises_is_written():
    call(
        "noise plane --num_prompts_per_direction 2 3 --center-coords 2000.0 -1500.0 "
        "--len_per_direction 10 20 --direction_seeds 1 2 --base_seed 5"
    )
    assert names("inputs") == [f"plane_0005_1_2_x{i:03d}_y{j:03d}.pt" for i in range(2) for j in range(3)]
    assert names("inputs", "*.json") == ["plane_0005_1_2.json"]
    x = ds.noise.read("inputs")
    assert x.coords["u"].tolist() == [1995.0] * 3 + [2005.0] * 3
    assert x.coords["v"].tolist() == [-1510.0, -1500.0, -1490.0] * 2


def test_noises_follow_the_shape_of_the_model(model, refused):
    main(["noise", "random", "--model", model, "--num_samples", "1"])
    assert load("inputs/noise_0000.pt").shape == (1, 1, 8, 8)
    main(["noise", "random", "--model", model, "--num_samples", "1", "--image_size", "8", "--channels", "1"])
    refused("noise", "random", "--model", model, "--image_size", 9, match=r"image_size is 9; allowed: 8")
    refused("noise", "plane", "--model", model, "--channels", 3, match=r"channels is 3; allowed: 1")


def test_record_writes_the_documented_files(model, inputs):
    main(["record", "--model", model, "--batch_size", "2", "--num_steps", "3", "--flatten"])
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
def test_record_without_states_writes_final_tensors_only(model, flag):
    main(["record", "--model", model, "--num_steps", "2", flag])
    assert names("outputs/final_tensors") == [f"sample_{k:04d}.pt" for k in range(3)]
    assert load("outputs/final_tensors/sample_0000.pt").shape == (1, 8, 8)
    assert not (Path("outputs") / "sequences").exists()


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
def test_record_writes_a_store_in_the_output_folder_and_each_layer_to_a_folder_of_its_own(model):
    call(f"record --model {model} --num_steps 1 --output_format zarr")
    assert xarray.open_zarr("outputs/recording.zarr")["sequence"].shape == (3, 2, 1, 8, 8)
    call(f"record --model {model} --num-steps 1 --layers mid_block conv_in --output other")
    assert names("other/mid_block") == names("other/conv_in") and len(names("other/conv_in")) == 3


@pytest.mark.usefixtures("inputs")
def test_record_tells_progress_and_true_figures(model, capsys):
    call(f"record --model {model} --num_steps 2 --batch_size 8 --no-extract_states")
    captured = capsys.readouterr()
    assert "outputs" in captured.out
    assert "3 samples" in captured.err and "6/6" in captured.err and "memory" in captured.err
    assert "768 B" in captured.err, "3 final images of 64 float32"


@pytest.mark.usefixtures("inputs")
def test_a_verb_can_be_run_again_on_what_it_wrote(model, refused):
    record = ["record", "--model", model, "--num_steps", "1"]
    main(record)
    before = load("outputs/sequences/sample_0000_sequence.pt")
    refused(*record, match="--overwrite")
    assert torch.equal(load("outputs/sequences/sample_0000_sequence.pt"), before)
    main([*record, "--overwrite"])
    assert torch.equal(load("outputs/sequences/sample_0000_sequence.pt"), before)


def test_image_classify_and_compare_take_what_record_writes(here, capsys, refused):
    ds.noise.random(2, (1, 28, 28)).write(here / "inputs")
    main(["record", "--num_steps", "2", "--device", "cpu"])
    sequence = "outputs/sequences/sample_0000_sequence.pt"
    pictures = Path("outputs/images/sequences")
    main(["image", "--tensor-path", sequence])
    main(["image", "--tensor_path", sequence, "--step", "0"])
    main(["image", "--tensor_path", sequence, "--step", "noise"])
    assert {"sample_0000_sequence_step_0001.png", "sample_0000_sequence_step_0000.png"} <= set(
        names(pictures, "*.png")
    )
    main(["image", "--folder-path", "outputs/sequences", "--all-steps", "--output-base-dir", "pictures"])
    assert len(names("pictures/sequences", "*.gif")) == 2
    refused("image", "--tensor-path", sequence, "--step", 2, match="step is 2")
    refused("image", "--tensor-path", sequence, "--step", "last", match="--step is 'last'; allowed: 0 to ")
    refused("image", match="--tensor-path")
    refused("image", "--folder_path", "nowhere", match="nowhere")
    main(["classify"])
    assert Path("outputs/predictions.json").is_file()
    capsys.readouterr()
    main(["compare"])
    assert "noise_0000.pt" in capsys.readouterr().out


def test_classify_takes_the_results_of_the_last_recording(here):
    ds.noise.random(1, (1, 28, 28)).write(here / "inputs")
    call("record --num_steps 1 --device cpu --no-extract_states --output earlier")
    call("record --num_steps 2 --device cpu")
    shutil.copytree("earlier/final_tensors", "outputs/final_tensors")
    call("classify")
    x_0 = load("outputs/sequences/sample_0000_sequence.pt")[-1]
    assert not torch.equal(load("outputs/final_tensors/sample_0000.pt"), x_0)
    entry = json.loads(Path("outputs/predictions.json").read_text())["sample_0000"]
    assert entry["confidence"] == ds.classify(x_0[None]).confidence.item()


def test_what_is_no_digit_is_rejected_on_request(here, refused, capsys):
    torch.save(torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(0)), here / "noise.pt")
    for flags, label in (("", range(10)), (" --reject", [-1])):
        call(f"classify --tensors {here}{flags}")
        entry = json.loads(Path("outputs/predictions.json").read_text())["noise"]
        assert entry["label"] in label and ("likeness" in entry) == bool(flags)
    assert entry["likeness"] < 1 and entry["confidence"] > 0.1
    assert "no digit: 1, labelled -1" in capsys.readouterr().out
    for verb in (f"classify --tensors {here}", "pipeline --device cpu"):
        refused(
            *verb.split(),
            "--reject",
            "--classifier_weights",
            lenet.WEIGHTS,
            match="leave out the weights, or reject",
        )
    call(
        "pipeline --num_prompts_per_direction 2 2 --num_steps 1 --device cpu --lanes 4 --reject --output far --len_per_direction 9000 9000"
    )
    found = load("far/classifications_plane.pt")
    assert (found == -1).any() and found.shape == (2, 2)


def test_the_pictures_of_a_pipeline_lie_in_its_output_folder():
    call("pipeline --num_prompts_per_direction 2 2 --num_steps 1 --device cpu --output elsewhere --lanes 4")
    assert names("elsewhere/images", "*.png") == ["classifications_plane.png"]
    assert not Path("outputs").exists()


def test_pipeline_goes_from_plane_to_picture_in_one_call():
    call("pipeline --num_prompts_per_direction 2 2 --num_steps 1 --device cpu --generate_png --lanes 4")
    assert load("outputs/classifications_plane.pt").shape == (2, 2)
    assert len(names("outputs/final_tensors")) == 4
    assert "classifications_plane.png" in names("outputs/images", "*.png")
    assert len(names("outputs/images/final_tensors", "*.png")) == 4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("recrod", "unknown command 'recrod'.*record"),
        ("noise radnom", "noise random"),
        ("noise spherical", "noise"),
        ("record --num_stesp 3", "num_stesp"),
        ("record --batch_size 0", r"--batch_size is 0"),
        ("record --batch_size two", "batch_size"),
        ("record --batch_size", "batch_size"),
        ("record --num_steps 0", r"--num_steps is 0"),
        ("record --output=", "--output is given an empty text"),
        ("record --device tpu", r"--device is 'tpu'"),
        ("dynamics growth --device cuda:99", "device"),
        ("record --noise shared", "noise"),
        ("record --output_format npz", "output_format|output-format"),
        ("record --seed -1", r"--seed is -1"),
        ("record stray", "stray"),
        ("noise random --num_samples 0", r"--num_samples is 0"),
        ("noise random --image_size 29", r"--image_size is 29; allowed: 28"),
        ("noise perturbed --epsilon 0", r"--epsilon is 0\.0"),
        ("noise perturbed --epsilon nan", r"--epsilon is nan"),
        ("noise plane --num_prompts_per_direction 5", "num_prompts_per_direction|num-prompts-per-direction"),
        ("noise plane --direction_seeds 5 5", "direction_seeds is"),
        ("noise plane --center_coords nan 0", "center_coords is"),
        ("dynamics growth --model nobody/nothing", "nobody/nothing.*mnist needs no network"),
        ("dynamics growth --scheduler dimm", "unknown scheduler 'dimm'"),
        ("record --inputs nowhere", "nowhere"),
        ("record", "inputs"),
        ("noise random --model nobody/nothing", "nobody/nothing"),
        ("classify", "outputs"),
        ("compare", "inputs"),
        ("image --tensor-path none.pt", r"none\.pt"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_changes_nothing(refused, here, arguments, match):
    refused(*arguments.split(), match=match)
    assert not list(here.iterdir())


WRONG_ASKED = [
    ("--lanes 0", r"--lanes is 0; allowed: 1 to 4, or a multiple of 4"),
    ("--lanes 6", r"--lanes is 6"),
    ("--dtype float8", "float8"),
    ("--state_dtype bfloat16", "bfloat16"),
    ("--sampler_dtype half", "half"),
    ("--reduce median", "reduce is 'median'; allowed: none, spatial_mean"),
    ("--reduce project:0", "reduce is 'project:0'"),
    ("--layers time_embedding --reduce spatial_mean", r"'time_embedding'.*spatial_mean needs states of"),
    ("--layers time_embedding --height 0:2", r"'time_embedding'.*no axis for height"),
    ("--channels 8", r"'conv_in'.*--channels is '8', which does not fit its 8 channels"),
    ("--channels 3:3", "keeps at least one"),
    ("--channels x", "channels is 'x'; allowed: a slice"),
    ("--every 0 3", "every names step 3; allowed: 0 to 2"),
    ("--every 0", "every is"),
    ("--every 1 1", "every is"),
    ("--every -1 1", "every is"),
    ("--num_steps 1001", "num_steps is 1001; allowed: 1 to 1000"),
    ("--codec gzip", "codec"),
    ("--on_nonfinite hope", "on_nonfinite|on-nonfinite"),
    ("--resume --overwrite", "contradict"),
]


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("flags", "match"), WRONG_ASKED)
def test_what_cannot_be_recorded_is_refused_and_no_earlier_result_is_touched(model, refused, flags, match):
    for output in ("outputs", "run.zarr"):
        call(f"record --model {model} --num_steps 1 --output {output}")
        before = {path: path.read_bytes() for path in Path(output).rglob("*") if path.is_file()}
        words = f"record --model {model} --num_steps 3 --output {output} --overwrite {flags}".split()
        refused(*words, match=match)
        assert {path: path.read_bytes() for path in Path(output).rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_a_query_that_takes_more_than_the_disk_is_refused_with_the_figure(
    model, here, refused, output, monkeypatch
):
    asked = sum(layer.bytes for layer in ds.load(model, device="cpu").layers()) * 3 * 900
    monkeypatch.setattr("denoscope.storage.space.free_bytes", lambda _: 100 * 2**20)
    before = sorted(here.rglob("*"))
    words = f"record --model {model} --num_steps 900 --output {output} --layers ** !**.nonlinearity".split()
    refused(
        *words,
        match=rf"error: {output}: the recording needs \d+\.\d MiB, but only 100\.0 MiB are free; record fewer",
    )
    with pytest.raises(ds.UserError) as caught:
        ds.record(
            ds.load(model, device="cpu"),
            ds.noise.read("inputs"),
            output,
            steps=900,
            layers=["**", "!**.nonlinearity"],
        )
    figure = float(re.search(r"needs ([\d.]+) MiB", str(caught.value))[1]) * 2**20
    assert asked < figure < 1.2 * asked and sorted(here.rglob("*")) == before


WRONG_WRITES = [
    ({"do": "swap", "value": "short.zarr"}, r"short\.zarr was recorded in 1 steps, this run takes 2"),
    ({"do": "swap", "value": "other.zarr"}, r"other\.zarr was recorded from another model"),
    ({"do": "swap", "value": "gone.zarr"}, r"gone\.zarr: no such recording"),
    ({"do": "add", "value": [1, 2, 3]}, r"a value of shape \[3\] does not fit a state of which \[16, 4, 4\]"),
    ({"do": "add", "value": 1, "branches": "cond"}, "there is no branch 'cond'; allowed: none"),
    ({"do": "add", "value": 1, "steps": "2"}, "steps '2' does not fit; .* 0 to 1"),
    ({"do": "add", "value": 1, "tokens": "0"}, r"state of shape \[16, 4, 4\] .* has no tokens"),
]


@pytest.mark.usefixtures("inputs")
def test_what_cannot_be_written_is_refused_and_no_earlier_result_is_touched(model, here, make_unet, refused):
    make_unet(1, seed=9).save_pretrained("other")
    made = "--layers mid_block --num_steps"
    call(f"record --model {model} {made} 1 --output short.zarr")
    call(f"record --model other --scheduler ddim {made} 2 --output other.zarr")
    call(f"record --model {model} {made} 2 --output run.zarr")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    asked = (
        f"record --model {model} --num_steps 2 --output run.zarr --overwrite --intervene plan.json".split()
    )
    for plan, match in WRONG_WRITES:
        Path("plan.json").write_text(json.dumps({"interventions": [{"at": "mid_block", **plan}]}))
        refused(*asked, match=match)
    Path("plan.json").unlink()
    refused("patch", "run.zarr", "short.zarr", match=r"short\.zarr was recorded in 1 steps, this run takes 2")
    refused("patch", "run.zarr", "other.zarr", match=r"other\.zarr was recorded from another model")
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


# NumPy 2 of how diffusers' Heun makes arrays of tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.usefixtures("inputs")
def test_labels_are_recorded_and_those_that_there_are_not_refused(refused):
    from diffusers import HeunDiscreteScheduler

    tiny_models.unet(in_channels=1, out_channels=1, num_class_embeds=4).save_pretrained("classes")
    asked = (
        "record --model classes --scheduler HeunDiscrete --num_steps 2 --layers mid_block --output run.zarr"
    )
    for labels, match in (
        ("--labels 4", "labels names class 4; allowed: 0 to 3"),
        ("--labels 1 2", r"class_labels has shape \[2\] for 3 samples"),
        ("--labels 1 --guidance_scale 2", "no class for 'none'"),
        ("", "the network needs class_labels"),
    ):
        refused(*asked.split(), *labels.split(), match=match)
    assert not Path("run.zarr").exists()
    call(f"{asked} --labels 3 0 1")
    rec = ds.open("run.zarr")
    assert rec.dataset["class_label"].to_numpy().tolist() == [3, 0, 1]
    state = rec.states["mid_block"]
    assert dict(state.sizes) == {"sample": 3, "step": 2, "call": 2, "channel": 16, "height": 4, "width": 4}
    assert state.isel(step=1, call=1).isnull().all()
    network, scheduler, hooked = ds.load("classes", scheduler="ddim").network, HeunDiscreteScheduler(), []
    network.mid_block.register_forward_hook(lambda _m, _a, output: hooked.append(output[:3]))
    scheduler.set_timesteps(2)
    x = torch.cat([load(path) for path in sorted(Path("inputs").glob("*.pt"))])
    # In as many rows as the command calls it with.
    x, classes = torch.cat([x, x[-1:].expand(5, -1, -1, -1)]) * scheduler.init_noise_sigma, [3, 0] + [1] * 6
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            seen = scheduler.scale_model_input(x, timestep)
            output = network(seen, timestep, torch.tensor(classes)).sample
            x = scheduler.step(output, timestep, x).prev_sample
    for (step, made), by_hand in zip([(0, 0), (0, 1), (1, 0)], hooked, strict=True):
        assert torch.equal(torch.from_numpy(state.isel(step=step, call=made).to_numpy()), by_hand)
    assert torch.equal(torch.from_numpy(rec.final.to_numpy()), x[:3])


def test_a_pipeline_with_a_part_that_is_not_known_is_refused(model, refused):
    shutil.copytree(model, "folder")
    config = Path("folder") / "config.json"
    told = config.read_text()
    for kind, match in (
        ("NoSuchModel", "names the class 'NoSuchModel', which diffusers does not have"),
        ("AutoencoderKL", "what a AutoencoderKL takes is not known; allowed: UNet2DModel"),
    ):
        config.write_text(told.replace("UNet2DModel", kind))
        refused("record", "--model", "folder", match=match)
        refused("layers", "folder")
    (Path("pipe") / "prior").mkdir(parents=True)
    config.rename(Path("pipe") / "prior" / "config.json")
    for verb in (["record", "--model"], ["layers"], ["noise", "random", "--model"]):
        refused(
            *verb,
            "pipe",
            match=r"no config\.json in pipe or its unet/ or transformer/, where there is prior/",
        )


def in_the_way(kind: str, output: Path) -> str:
    """Put something where the recording is to go; the words with which it is refused."""
    match kind:
        case "a file":
            output.write_text("mine")
            return "is a file|is not a recording"
        case "another store":
            zarr.open_group(output, mode="w", zarr_format=3).attrs["mine"] = True
            return "is a Zarr store|is not a recording"
        case "an image as a store":
            output.mkdir()
            (output / "zarr.json").write_bytes(b"\x89PNG\r\n")
            return "is a Zarr store|is not a recording"
        case "a newer recording":
            root = output / ("zarr.json" if output.suffix else "recording.json")
            attrs = {"format": "denoscope recording", "format_version": 2}
            output.mkdir()
            root.write_text(json.dumps({"attributes": attrs, "attrs": attrs}))
            return "format version 2; this denoscope reads versions up to 1"
        case _:
            output.mkdir()
            Path("elsewhere").mkdir()
            for name in ("sequence", "sequences"):
                (output / name).symlink_to(Path("elsewhere").resolve())
            return "leads out of|is not a recording"


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
@pytest.mark.parametrize("flag", ["", "--resume", "--overwrite"])
@pytest.mark.parametrize(
    "kind", ["a file", "another store", "an image as a store", "a newer recording", "a link out of it"]
)
def test_what_is_in_the_way_is_told_and_never_touched(model, here, refused, kind, flag, output):
    match = in_the_way(kind, Path(output))
    before = {path: path.is_file() and path.read_bytes() for path in here.rglob("*")}
    refused(*f"record --model {model} --num_steps 1 --output {output} {flag}".split(), match=match)
    assert {path: path.is_file() and path.read_bytes() for path in here.rglob("*")} == before


@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_samples_that_became_nan_are_told_at_the_end(model, here, capsys, output):
    folder = Path(shutil.copytree(model, here / "broken"))
    network = ds.load(str(folder)).network
    with torch.no_grad():
        network.conv_out.bias[0] = float("nan")
    network.save_pretrained(folder)
    ds.noise.random(3, (1, 8, 8)).write(here / "inputs")
    call(f"record --model {folder} --num_steps 2 --output {output}")
    assert "warning: 3 samples became NaN or Inf, the first sample_0000 in step 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        call(f"record --model {folder} --num_steps 2 --output stopped_{output} --on_nonfinite stop")
    assert caught.value.code == 2
    assert "error: sample_0000 became NaN or Inf in step 0; stopped" in capsys.readouterr().err


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("output", ["run", "run.zarr"])
def test_a_dry_run_prints_the_plan_alone(model, here, capsys, output):
    before = sorted(here.rglob("*"))
    call(f"record --model {model} --num_steps 5 --output {output} --layers conv_in --batch_size 2 --dry_run")
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == f"3 samples, 5 steps → {output}"
    assert lines[1] == "  sequence: [6, 1, 8, 8] float32 for each sample, 4.5 KiB for all"
    assert lines[2] == "  conv_in: [5, 8, 8, 8] float32 for each sample, 30.0 KiB for all"
    # A row: x four times over, [1, 8, 8], and conv_in, [8, 8, 8]; eight rows.
    assert lines[3].startswith("  at least 24.0 KiB in memory beside the network")
    assert "on disk in total" in lines[4] and "are free" in lines[4]
    assert len(lines) == 5 and "denoising" not in told.err and sorted(here.rglob("*")) == before


TOO_LONG = "a" * 300


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("dry", ["", " --dry_run"])
@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("inputs", "inputs is not empty: it holds noise.json"),
        ("notes", "notes is not empty: it holds a/note.txt"),
        ("stores", "stores is not empty: it holds recording.zarr/zarr.json"),
        (TOO_LONG, "name too long"),
        (f"{TOO_LONG}.zarr", "name too long"),
    ],
)
def test_an_output_that_cannot_take_it_is_refused_by_a_dry_run_too(model, here, capsys, output, told, dry):
    (here / "notes" / "a").mkdir(parents=True)
    (here / "notes" / "a" / "note.txt").write_text("mine")
    (here / "stores" / "recording.zarr").mkdir(parents=True)
    (here / "stores" / "recording.zarr" / "zarr.json").write_text("{}")
    before = contents(here)
    with pytest.raises(SystemExit) as caught:
        call(f"record --model {model} --num_steps 2 --output {output}{dry}")
    assert caught.value.code == 2 and contents(here) == before
    assert told in capsys.readouterr().err.replace("File name", "name")


@pytest.mark.usefixtures("inputs")
def test_a_dry_run_refuses_what_cannot_fit_after_it_said_what_that_takes(model, capsys, monkeypatch):
    monkeypatch.setattr(space, "free_bytes", lambda _path: 10_000)
    with pytest.raises(SystemExit) as caught:
        call(f"record --model {model} --num_steps 5 --output run.zarr --dry_run")
    told = capsys.readouterr()
    assert caught.value.code == 2 and "on disk in total" in told.out and "the recording needs" in told.err


@pytest.mark.usefixtures("inputs")
def test_what_comes_of_recordings_may_lie_beside_one(model, here):
    """Pictures and predictions of an earlier recording, folders that are empty, hidden files."""
    output = here / "outputs"
    for place in ("images/sequences/a.png", "predictions.json", "classifications_plane.pt", ".gitkeep"):
        (output / place).parent.mkdir(parents=True, exist_ok=True)
        (output / place).write_text("earlier")
    (output / "layer1").mkdir()
    call(f"record --model {model} --num_steps 2 --output outputs")
    assert (output / "predictions.json").read_text() == "earlier" and (output / "sequences").is_dir()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_flag_of_one_command_alone_is_checked_too(capsys):
    with pytest.raises(SystemExit) as caught:
        call("verify store run.zarr --recompute -1")
    assert caught.value.code == 2
    assert "error: --recompute is -1; allowed: an integer of at least 0" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return os.mkdir, ("ran",)


BAD_INPUTS = {
    "no tensor": lambda path: path.write_text("no tensor"),
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
def test_a_bad_input_is_named_and_costs_no_earlier_result(model, inputs, refused, kind):
    main(["record", "--model", model, "--num_steps", "1"])
    before = {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    BAD_INPUTS[kind](inputs / "noise_0002.pt")
    refused("record", "--model", model, "--num_steps", 1, "--overwrite", match=r"noise_0002\.pt")
    assert {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()} == before
    assert not Path("ran").exists()


def test_an_empty_text_is_no_place_for_results(refused, here):
    refused("record", "--output", "", match="--output is given an empty text")
    assert not list(here.iterdir())


def test_an_empty_input_folder_is_named(model, here, refused):
    (here / "hollow").mkdir()
    refused("record", "--model", model, "--inputs", "hollow", match="hollow")


@pytest.mark.usefixtures("inputs")
def test_an_unknown_layer_is_told_with_the_three_nearest(model, refused):
    nearest = "unknown layer 'conv_inn'; the nearest are (.+, ){2}[^,]+$"
    refused("record", "--model", model, "--layers", "conv_inn", "--num_steps", 1, match=nearest)
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    "verb",
    ["record", "record --output_format zarr", "noise random --num_samples 1", "record --no-extract_states"],
)
def test_an_unwritable_output_is_named(model, refused, verb):
    Path("file").write_text("not a folder")
    place = ["--inputs", "file/inputs"] if verb.startswith("noise") else ["--output", "file/outputs"]
    steps = [] if verb.startswith("noise") else ["--num_steps", "1"]
    refused(*verb.split(), "--model", model, *steps, *place, match="file")
    assert Path("file").read_text() == "not a folder"


def script(
    name: str, *arguments: str, cwd: Path, root: Path = ROOT, **options
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(root / name), *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("output", ["out", "run.zarr"])
def test_a_full_disk_is_told_and_leaves_what_was_finished(model, here, output):
    """A limit on the size of files stands for the full disk: writing beyond it fails in the same way."""
    ds.noise.random(4, (1, 8, 8)).write(here / "inputs")
    command = f"record --model {model} --num_steps 60 --lanes 4 --layers conv_in --output {output}".split()
    done = subprocess.run(
        [sys.executable, "-m", "denoscope", *command],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    assert output in errors[0]
    assert not [path for path in (here / output).rglob("*") if "partial" in path.name]
    assert not ds.open(here / output).dataset["complete"].values.any()


def test_the_scripts_run_in_the_order_of_the_documentation(here):
    for name, arguments in (
        ("generate_inputs.py", "--num_samples 2"),
        ("main.py", "--batch_size 2 --num_steps 3 --flatten"),
        ("tensor_to_image.py", "--tensor-path outputs/sequences/sample_0000_sequence.pt --step -1"),
        ("classify.py", ""),
        ("compare_tensors.py", ""),
    ):
        done = script(name, *arguments.split(), cwd=here)
        assert done.returncode == 0, done.stderr
    assert names("inputs") == ["noise_0000.pt", "noise_0001.pt"]
    assert load("outputs/layer1/sample_0000_trajectory.pt").ndim == 2
    assert names("outputs/images/sequences", "*.png") == ["sample_0000_sequence_step_0002.png"]
    assert Path("outputs/predictions.json").is_file()


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("generate_inputs.py", "--num-samples 10", 10),
        ("generate_perturbed_prompts.py", "--num_perturbations 5 --epsilon 500", 6),
        ("generate_plane_prompts.py", "--num_prompts_per_direction 5 5", 25),
        (
            "generate_plane_prompts.py",
            "--num_prompts_per_direction 10 10 --center_coords 2000.0 -1500.0",
            100,
        ),
    ],
)
def test_the_documented_commands_for_inputs_write_their_files(here, name, arguments, count):
    done = script(name, *arguments.split(), cwd=here)
    assert done.returncode == 0, done.stderr
    assert len(names("inputs")) == count


@pytest.fixture
def checkout(tmp_path_factory):
    """A copy of the scripts, whose config.py a test edits."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.sh")]:
        shutil.copy(path, folder)

    def edit(old: str, new: str) -> Path:
        text = (folder / "config.py").read_text()
        assert old in text
        (folder / "config.py").write_text(text.replace(old, new))
        return folder

    return edit


def test_what_config_says_holds_and_flags_override_it(checkout, here):
    root = checkout("GenerationConfig()", "GenerationConfig(num_samples=3)")
    assert script("generate_inputs.py", cwd=here, root=root).returncode == 0
    assert len(names("inputs")) == 3
    assert script("generate_inputs.py", "--num_samples", "2", cwd=here, root=root).returncode == 0
    assert len(names("inputs")) == 2


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("InferenceConfig()", "InferenceConfig(batch_size=0)", r"InferenceConfig\.batch_size is 0"),
        (
            "InferenceConfig()",
            "InferenceConfig(batchsize=2)",
            r"config\.py.*'batchsize'.* num_steps, batch_size",
        ),
        ("InferenceConfig()", "InferenceConfig(", r"config\.py"),
        ("InferenceConfig()", "SystemConfig()", r"config\.py"),
        ("InferenceConfig()", "InferenceConf()", r"config\.py.*InferenceConf"),
        ("SETTINGS =", "SETTING =", r"config\.py.*SETTINGS"),
        ("SETTINGS = Settings(", "SETTINGS = dict(", r"config\.py.*SETTINGS"),
    ],
)
def test_a_wrong_config_is_told_in_one_line(checkout, here, old, new, match):
    done = script("main.py", cwd=here, root=checkout(old, new))
    assert done.returncode == 2
    one_line(done.stderr, match)


def test_a_missing_config_is_told_in_one_line(checkout, here):
    root = checkout("", "")
    (root / "config.py").unlink()
    done = script("main.py", cwd=here, root=root)
    assert done.returncode == 2
    one_line(done.stderr, r"config\.py")


def test_the_clean_scripts_act_on_their_own_folders_from_anywhere_and_keep_them(checkout, here):
    root = checkout("", "")
    for folder in (root, here):
        for name in (
            "inputs/x.pt",
            "outputs/sequences/y.pt",
            "outputs/.hidden",
            "outputs/own/z.pt",
            "kept.txt",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
    kept = {
        root / f"outputs/{name}" for name in ("layer1", "last_layer", "sequences", "images", "final_tensors")
    }
    subprocess.run(["bash", str(root / "clean_output.sh")], cwd=here, check=True)
    assert set((root / "outputs").rglob("*")) == kept and (root / "inputs/x.pt").exists()
    subprocess.run(["bash", str(root / "clean_input_output.sh")], cwd=here, check=True)
    assert set((root / "outputs").rglob("*")) == kept and not list((root / "inputs").iterdir())
    assert (root / "kept.txt").exists() and (root / "main.py").exists()
    assert len([path for path in here.rglob("*") if path.is_file()]) == 5


def test_a_clean_script_behind_a_link_acts_on_its_own_folders(checkout, here):
    root = checkout("", "")
    for folder in (root, here):
        (folder / "outputs").mkdir()
        (folder / "outputs" / "x.pt").write_text("")
    (here / "clean").symlink_to(root / "clean_output.sh")
    subprocess.run(["bash", str(here / "clean")], cwd=here, check=True)
    assert (here / "outputs" / "x.pt").exists() and not (root / "outputs" / "x.pt").exists()


@pytest.mark.usefixtures("here")
def test_the_package_runs_as_a_module_and_as_a_command():
    for command in ([sys.executable, "-m", "denoscope"], [str(Path(sys.executable).with_name("denoscope"))]):
        done = subprocess.run(
            [*command, "record", "--batch_size", "0"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        one_line(done.stderr, "batch_size")


def test_classify_can_be_run_again_also_after_a_pipeline():
    call("pipeline --num_prompts_per_direction 2 2 --num_steps 1 --device cpu --lanes 4")
    before = load("outputs/classifications_plane.pt")
    call("classify")
    call("classify")
    assert torch.equal(load("outputs/classifications_plane.pt"), before)


def test_a_sample_that_became_nan_is_classified_as_none_and_the_others_as_ever(here, capsys):
    ds.noise.random(3, (1, 28, 28)).write(here / "inputs")
    call("record --num_steps 1 --device cpu --no-extract_states")
    broken = load("outputs/final_tensors/sample_0001.pt")
    broken[0, 0, 0] = float("inf")
    torch.save(broken, "outputs/final_tensors/sample_0001.pt")
    call("classify")
    assert "NaN or Inf: 1, labelled -1" in capsys.readouterr().out
    found = json.loads(Path("outputs/predictions.json").read_text())
    assert found["sample_0001"] | {"file": ""} == {
        "file": "",
        "label": -1,
        "confidence": None,
        "margin": None,
    }
    assert found["sample_0000"]["label"] >= 0


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (torch.zeros(1, 32, 32), r"b\.pt: images have shape \[1, 1, 32, 32\]"),
        (torch.zeros(3, 28, 28), r"b\.pt: images have shape"),
        (torch.zeros(1, 28, 28, dtype=torch.int32), r"b\.pt: images have dtype int32"),
        (torch.zeros(28, 28), r"b\.pt: holds shape \[28, 28\]"),
    ],
)
def test_what_cannot_be_classified_is_named_by_its_file(here, refused, image, match):
    torch.save(torch.zeros(1, 28, 28), here / "a.pt")
    torch.save(image, here / "b.pt")
    refused("classify", "--tensors", here, match=match)


def test_lists_in_config_are_lists(checkout, here):
    root = checkout("InferenceConfig()", "InferenceConfig(layers=['conv_in', 'mid_block'], num_steps=1)")
    done = script("main.py", "--dry_run", "--device", "cpu", "--inputs", noise28(here), cwd=here, root=root)
    assert done.returncode == 0 and "mid_block" in done.stdout
    root = checkout(
        "DefaultConfig()", "DefaultConfig(center_coords=[1.0, 2.0], num_prompts_per_direction=[2, 1])"
    )
    assert script("generate_plane_prompts.py", cwd=here, root=root).returncode == 0


def noise28(folder: Path) -> str:
    ds.noise.random(1, (1, 28, 28)).write(folder / "digits")
    return "digits"


@pytest.mark.parametrize("wrong", ["image_size=32", "channels=3"])
def test_a_size_in_config_that_contradicts_the_model_stops_a_recording(checkout, here, wrong):
    root = checkout("GenerationConfig()", f"GenerationConfig({wrong})")
    done = script("main.py", "--device", "cpu", "--inputs", noise28(here), cwd=here, root=root)
    assert done.returncode == 2
    one_line(done.stderr, f"GenerationConfig.{wrong.replace('=', ' is ')}")
    assert not Path("outputs").exists()


def test_a_pipeline_checks_everything_before_it_denoises(here, refused, monkeypatch):
    line = [
        "pipeline",
        "--num_prompts_per_direction",
        "2",
        "2",
        "--num_steps",
        "1",
        "--device",
        "cpu",
        "--lanes",
        "4",
    ]
    refused(*line, "--classifier_weights", "nofile", match="nofile")
    (here / "taken").write_text("a file")
    refused(*line, "--output_base_dir", "taken", match="taken")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    refused(*line, match=r"denoscope\[plots\]")
    assert not Path("outputs/final_tensors").exists()
    monkeypatch.undo()
    monkeypatch.chdir(here)
    call(" ".join(line))
    call(" ".join([*line, "--resume"]))


def test_groups_of_commands_list_their_own(capsys):
    for group in ("noise", "verify"):
        main([group, "--help"])
        told = capsys.readouterr().out
        assert all(name in told for name in registry.VERBS if name.startswith(f"{group} "))
        assert "pipeline" not in told


def test_a_reader_that_goes_away_is_no_error():
    program = f"{sys.executable} -m denoscope layers mnist | head -1"
    done = subprocess.run(
        ["bash", "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("layer") and "Traceback" not in done.stderr and "Broken" not in done.stderr
