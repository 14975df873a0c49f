"""What every command refuses: exit code 2, exactly one line, and nothing written."""

import os
import shutil
import stat
from pathlib import Path

import pytest
import torch
import xarray

import denoscope as ds
from denoscope.cli import registry
from denoscope.foundation.writing.result_files import write
from denoscope.models import sources
from denoscope.models.classifier.lenet import WEIGHTS

MODEL = "--model MODEL --device cpu --num_steps 1"
DIGITS = "--model digits --device cpu --num_steps 1"
PLANE = "--num_prompts_per_direction 2 2 --len_per_direction 8 4"

REFUSED: dict[str, dict[str, list[str]]] = {
    "noise random": {
        "--num_sample 3": ["--num_sample;", "--num_samples"],
        "--model mnits": ["--model is 'mnits'", "mnist"],
        "--model nobody/nothing": ["nobody/nothing", "mnist"],
        "--num_samples 0": ["--num_samples is 0", "at least 1"],
        "--image_size 29": ["--image_size is 29", "28"],
        "--inputs file/inputs": ["file/inputs"],
        "--inputs /proc/noises": ["cannot write /proc/noises", "stores no files", "name another"],
    },
    "noise perturbed": {
        "--epsilom 3": ["--epsilom;", "--epsilon"],
        "--model mnits": ["--model is 'mnits'", "mnist"],
        "--epsilon 0": ["--epsilon is 0.0", "above 0"],
        "--epsilon nan": ["--epsilon is nan", "above 0"],
        "--inputs file/inputs": ["file/inputs"],
    },
    "noise plane": {
        "--direction_seed 3": ["--direction_seed;", "--direction_seeds"],
        "--model mnits": ["--model is 'mnits'", "mnist"],
        "--direction_seeds 5 5": ["--direction_seeds is 5 5", "different"],
        "--center_coords nan 0": ["--center_coords is nan 0.0", "finite numbers"],
        "--num_prompts_per_direction 5": ["--num-prompts-per-direction", "2"],
        "--inputs file/inputs": ["file/inputs"],
    },
    "record": {
        "--num_stesp 3": ["--num_stesp;", "--num_steps"],
        "": ["--inputs is inputs", "folder"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        "--inputs hollow": ["--inputs is hollow", ".pt"],
        "--batch_size 0": ["--batch_size is 0", "at least 1"],
        "--batch_size two": ["--batch-size", "two"],
        "--batch_size": ["--batch-size"],
        "--num_steps 0": ["--num_steps is 0", "at least 1"],
        "--layers conv_in --layers conv_out": ["--layers is given 2 times", "once, followed by all"],
        "--every 1 --every=2": ["--every is given 2 times"],
        "--inputs noises --output http://host/run.zarr": [
            "http://host/run.zarr is a URL of an unknown kind",
            "s3://",
        ],
        "--inputs noises --output dangling": [
            "--output is dangling, a link to nowhere",
            "create that folder",
        ],
        "--output=": ["--output", "empty"],
        "--device tpu": ["--device is 'tpu'", "auto, cpu, cuda or cuda:N"],
        "--cluster local:0": ["--cluster is 'local:0'", "local:N (N from 1 to 9999)"],
        "--cluster k8s": ["--cluster is 'k8s'", "tcp://HOST:PORT"],
        "--allow_different_devices": ["--allow_different_devices is given without --cluster"],
        "--noise shared": ["--noise", "shared", "independent"],
        "--output_format npz": ["--output-format", "npz", "zarr"],
        "--seed -1": ["--seed is -1", "at least 0"],
        f"--num_steps {'9' * 5000}": ["--num_steps is 9999", "9… (5000 characters)", "at least 1"],
        "--inputs no\x1b[31m": ["--inputs is no\\x1b[31m"],
        "--inputs=~/no_noises": [f"--inputs is {Path.home()}/no_noises"],
        f"--inputs noises {MODEL} --output file/run.zarr": ["file/run.zarr: Not a directory; name another"],
        f"--inputs noises {MODEL} --output {'x' * 300}.zarr": ["File name too long; name another"],
        f"--inputs noises {MODEL} --output x.ZARR": ["--output is x.ZARR", "NAME.zarr", "--output_format pt"],
        f"--inputs noises {MODEL} --output x.zarr.zip": ["--output is x.zarr.zip", "NAME.zarr"],
        f"--inputs noises {MODEL} --output run.h5": [
            "--output is run.h5",
            "a folder of .pt files",
            "NAME.zarr",
        ],
        f"--inputs noises {MODEL} --every 0 3": ["--every names step 3", "0 to 0"],
        f"--inputs noises {MODEL} --channels x": ["--channels is 'x'", "slice"],
        f"--inputs noises {MODEL} --guidance_scale 2": ["--guidance_scale 2.0 needs --labels"],
        f"--inputs noises {MODEL} --cluster local:2 --fast": ["--fast compiles the network", "--cluster"],
        "--threads 100000": ["--threads is 100000", "1 to 1024"],
        "stray": ["stray"],
        f"--inputs noises {MODEL} --layers conv_inn --output new": [
            "--layers: unknown layer 'conv_inn'",
            "conv_in, ",
        ],
        f"--inputs noises {MODEL} --output run.zarr": ["run.zarr", "--resume", "--overwrite", "--output"],
    },
    "status": {
        "nowhere": ["nowhere: no such recording", "denoscope record"],
        "hollow": ["hollow is not a recording"],
        "damaged.zarr": ["damaged.zarr is damaged", "zarr.json"],
        "file": ["file is not a recording"],
        "s3://bucket": ["s3://bucket names no recording"],
        "run.zarr --wach": ["--wach;", "--watch"],
    },
    "patch": {
        "run.zarr run.zarr --layer conv_in": ["--layer;", "--layers"],
        "none.zarr run.zarr": ["none.zarr"],
        "run.zarr run.zarr --batch_size 0": ["--batch_size is 0", "at least 1"],
        "run.zarr run.zarr --output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "basins map": {
        "--base_sed 3": ["--base_sed;", "--base_seed"],
        "--classifier_weights none": ["--classifier_weights is none", "file"],
        f"{PLANE} --len_per_direction 0 1": ["--len_per_direction is 0.0 1.0", "above 0"],
        f"{PLANE} --geometry round": ["--geometry is round", "flat, spherical"],
        f"{PLANE} --len_per_direction 2000 3000": [
            "--len_per_direction is",
            "--geometry spherical",
            "circumference",
        ],
        f"{PLANE} --method exact --audit 10": ["--audit is 10", "--method exact", "--method adaptive"],
        "--labels 1 2": ["--labels is 1 2", "one class"],
        "--guidance_scale 2": ["--guidance_scale 2.0 needs --labels or --condition"],
        "--cluster slurm:none.yaml": ["--cluster is slurm:none.yaml", "cannot be read"],
        "--cluster local:2 --fast": ["--fast compiles the network", "--cluster"],
        "--cache new.npz --output new.npz": ["--cache is new.npz", "the same file as --output new.npz"],
        "--cache ./taken.npz --output taken.npz --overwrite": ["--cache is taken.npz", "--output taken.npz"],
        "--cache taken.npz --output link.npz --overwrite": ["--cache is taken.npz", "--output link.npz"],
        "--cache taken.npz --output hard.npz --overwrite": ["--cache is taken.npz", "--output hard.npz"],
        "--cache basins.png": ["--cache is basins.png", "--picture basins.png"],
        "--cache new.gif --animation new.gif": ["--cache is new.gif", "--animation new.gif"],
        "--picture new.gif --animation new.gif": ["--picture is new.gif", "--animation new.gif"],
        "--output a.json": ["--output is a.json", ".npz"],
        "--output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "basins zoom": {
        "--factor 1": ["--factor is 1.0", "above 1"],
        "--levels 0": ["--levels is 0", "at least 1"],
        "--checks 0": ["--checks is 0", "at least 1"],
        "--target nan 0": ["--target is nan", "finite"],
        "--animation a.webm": ["--animation is a.webm", ".gif or .mp4"],
        f"{PLANE}": ["--num_prompts_per_direction: the plane has 2×2 cells", "25×25"],
        "--num_prompts_per_direction 25 25 --method exact --audit 5": ["--audit is 5", "--method exact"],
        "--num_prompts_per_direction 25 25 --levels 60": [
            "--levels is 60",
            "1 to ",
            "float32",
            "--dtype float64",
        ],
        f"{DIGITS} --num_prompts_per_direction 25 25 --len_per_direction 0.01 0.01 --target 2 1": [
            "--target is (2.0, 1.0)",
            "--len_per_direction",
            "allowed: a place with two labels",
        ],
        "--num_prompts_per_direction 25 25 --len_per_direction 1e-9 1e-9": [
            "--len_per_direction is",
            "float32",
        ],
        "--output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "dynamics spectrum": {
        "--sample 3": ["--sample;", "--samples"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        f"--inputs noises {MODEL} --samples 4": ["--samples is 4", "1 to 3"],
        "--inputs noises --k 0": ["--k is 0", "at least 1"],
        f"--inputs noises {MODEL} --k 65": ["k is 65", "1 to 64"],
        "--inputs noises --layer_step 1": ["--layer_step is 1", "--layer"],
        f"--inputs noises {MODEL} --layer conv_*": ["--layer: 'conv_*' names", "conv_in"],
        "--inputs noises --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics full_spectrum": {
        "--inputz noises": ["--inputz;", "--inputs"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        "--inputs noises --num_steps 0": ["--num_steps is 0", "at least 1"],
        "--inputs noises --output taken.json": ["taken.json", "--overwrite", "--output"],
        "--inputs noises --checkpoint taken.npz": ["taken.npz", "--resume", "--overwrite", "--checkpoint"],
    },
    "dynamics local_expansion": {
        "--inputz noises": ["--inputz;", "--inputs"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        f"--inputs noises {MODEL} --k 65": ["k is 65", "1 to 64"],
        "--inputs noises --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics growth": {
        "--lane 3": ["--lane;", "--lanes"],
        "--model nobody/nothing": ["nobody/nothing", "mnist"],
        "--scheduler dimm": ["--scheduler is 'dimm'", "ddim", "allowed"],
        "--device cuda:99": ["cuda:99"],
        "--picture a.docx": ["a.docx", "pdf", "png"],
        "--output growth.pdf": ["--output is growth.pdf", ".npz"],
        "--output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "dynamics divergence": {
        "run.zarr --treshold 2": ["--treshold;", "--threshold"],
        "none.zarr": ["none.zarr"],
        "one.zarr": ["one.zarr", "perturbed"],
        "run.zarr --threshold x": ["--threshold", "x"],
        "run.zarr --output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "dynamics sweep": {
        "run.zarr --tolerence 2": ["--tolerence;", "--tolerance"],
        "none.zarr": ["none.zarr"],
        "run.zarr": ["1 epsilons", "3 or more"],
        "run.zarr --tolerance 0": ["--tolerance is 0.0", "above 0"],
        "run.zarr --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics lyapunov": {
        "--iteration 3": ["--iteration;", "--iterations"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        "--inputs noises --iterations 1": ["--iterations is 1", "at least 2"],
        "--inputs noises --loop_noise none": ["--loop-noise", "none", "fixed", "common"],
        "--inputs noises --checkpoint taken.npz": ["taken.npz", "--resume", "--overwrite", "--checkpoint"],
    },
    "dynamics orbit": {
        "--iteration 3": ["--iteration;", "--iterations"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        "--inputs noises --theiler -1": ["--theiler is -1", "at least 0"],
        f"--inputs noises {MODEL} --level 2": ["--level is 2", "allowed"],
        "--inputs noises --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics orbit_diagram": {
        "--level 3": ["--level;", "--levels"],
        "--inputs nowhere": ["--inputs is nowhere", "folder"],
        "--inputs noises --model MODEL --device cpu --num_steps 4 --levels 0.5 2": [
            "--levels is 2.0",
            "0.25 to 1",
        ],
        "--inputs noises --picture taken.png": ["taken.png", "--overwrite", "--picture"],
    },
    "dynamics basins": {
        "plane.pt --boxs 3": ["--boxs;", "--boxes"],
        "none.pt": ["none.pt", "basins map", "classify"],
        "none.npz": ["none.npz", "basins map", "classify"],
        "taken.json": ["taken.json", "not a tensor file", "basins map` (.npz)", "classify` (.pt)"],
        ".": ["cannot read .", "folder"],
        "plane.pt --boxes 0": ["--boxes is 0", "at least 3", "at least 2"],
        "plane.pt --boxes 2 4 31": ["2 to 31", "2 to 20"],
        "plane.pt --output plane.pt": ["--output is plane.pt", ".json"],
        "plane.pt --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics uncertainty": {
        "--point 3": ["--point;", "--points"],
        "--classifier_weights none": ["--classifier_weights is none", "file"],
        "--points 1": ["--points is 1", "at least 2"],
        f"{PLANE} {DIGITS} --epsilons 1e-9 3": ["epsilons", "1e-09", "at least"],
        "--checkpoint taken.npz": ["taken.npz", "--resume", "--overwrite", "--checkpoint"],
    },
    "dynamics verdict": {
        "plane.pt --outputt a.json": ["--outputt;", "--output"],
        "none.pt": ["none.pt", "basins map", "classify"],
        "one.pt": ["1 classes"],
        "plane.pt --threads 0": ["--threads is 0", "1 to 1024"],
        "plane.pt --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics commitment": {
        "digits.zarr --devize cpu": ["--devize;", "--device"],
        "none.zarr": ["none.zarr"],
        "final.zarr --device cpu": ["final.zarr", "final images"],
        "digits.zarr --device tpu": ["--device is 'tpu'", "auto, cpu, cuda or cuda:N"],
        "digits.zarr --output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "dynamics u_turn": {
        "digits.zarr --level 1": ["--level;", "--levels"],
        "none.zarr": ["none.zarr"],
        "digits.zarr --levels 0.05 --device cpu": ["--levels is 0.05", "0.25 to 1"],
        "digits.zarr --levels 1 --samples 9 --device cpu": ["--samples is 9", "1 to 6", "digits.zarr"],
        "digits.zarr --draws 0": ["--draws is 0", "at least 1"],
        "digits.zarr --output taken.npz": ["taken.npz", "--overwrite", "--output"],
    },
    "dynamics similarity": {
        "run.zarr --layer conv_in": ["--layer;", "--layers"],
        "none.zarr": ["none.zarr"],
        "run.zarr --layers conv_out": ["--layers: run.zarr", "'conv_out'", "conv_in, mid_block"],
        "run.zarr --steps 3": ["run.zarr", "3", "0, 1, 2"],
        "run.zarr --layers conv_in": ["conv_in", "--layers", "--steps"],
        "run.zarr --layers conv_in conv_in": ["conv_in", "--layers", "--steps"],
        "run.zarr --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics distances": {
        "run.zarr --metrik dtw": ["--metrik;", "--metric"],
        "none.zarr": ["none.zarr"],
        "one.zarr": ["one.zarr", "two or more"],
        "final.zarr": ["final.zarr"],
        "run.zarr --metric manhattan": ["--metric", "manhattan", "frechet"],
        "run.zarr --output taken.json": ["taken.json", "--overwrite", "--output"],
    },
    "dynamics geometry": {
        "run.zarr --pictur a.png": ["--pictur;", "--picture"],
        "none.zarr": ["none.zarr"],
        "run.zarr --picture a.docx": ["a.docx", "pdf", "png"],
        "run.zarr --output run.zarr/zarr.json --overwrite": ["--output is run.zarr/zarr.json", "run.zarr, "],
        "run.zarr --picture taken.png": ["taken.png", "--overwrite", "--picture"],
    },
    "layers": {
        "mnist --verbos": ["--verbos;", "--verbose"],
        "mnits": ["mnits"],
        "MODEL conv_inn": ["QUERY: unknown layer 'conv_inn'", "conv_in"],
        "MODEL conv_in:probs": ["'conv_in:probs'", "Conv2d"],
        "MODEL mid_block:probs[1]": ["mid_block:probs[1]", ":in", ":out"],
        "MODEL down_blocks.0[7]": ["QUERY: layer 'down_blocks.0[7]'", "7", "2"],
    },
    "image": {
        "--tensor_pat plane.pt": ["--tensor_pat;", "--tensor_path"],
        "": ["--tensor-path", "--folder-path"],
        "--tensor-path none.pt": ["none.pt"],
        "--folder_path nowhere": ["--folder_path is nowhere", "folder"],
        "--folder_path hollow": ["--folder_path is hollow", ".pt"],
        "--folder_path noises --step last": ["--step is 'last'", "noise"],
    },
    "plot": {
        "--outputt a.png": ["--outputt;", "--output"],
        "": ["PATH is missing"],
        "none.json": ["none.json"],
        "nowhere.zarr": ["nowhere.zarr"],
        "noises": ["noises"],
        "plane.pt": ["plane.pt"],
        "none.json --output a.txt": ["a.txt does not end with a format of pictures", "png"],
    },
    "classify": {
        "--rejekt": ["--rejekt;", "--reject"],
        "": ["outputs"],
        "--tensors nowhere": ["nowhere"],
        "--classifier_weights none": ["--classifier_weights is none", "file"],
        "--threads 0": ["--threads is 0", "1 to 1024"],
    },
    "compare": {
        "--foldr inputs": ["--foldr;", "--folder"],
        "": ["inputs", "folder"],
        "--folder nowhere": ["--folder is nowhere", "folder"],
        "--folder=": ["--folder", "empty"],
    },
    "verify determinism": {
        "--lane 3": ["--lane;", "--lanes"],
        "--model mnits": ["--model is 'mnits'", "mnist"],
        "--lanes 6": ["--lanes is 6", "a multiple of 4"],
    },
    "verify precision": {
        "--pth run.zarr": ["--pth;", "--path"],
        "--path none.zarr": ["none.zarr"],
        "--path run.zarr --num_steps 3": ["--path"],
        "--num_steps 0": ["--num_steps is 0", "at least 1"],
    },
    "verify store": {
        "run.zarr --recomput 1": ["--recomput;", "--recompute"],
        "none.zarr": ["none.zarr"],
        "run.zarr --recompute -1": ["--recompute is -1", "at least 0"],
    },
    "selfcheck": {
        "--quik": ["--quik;", "--quick"],
        "--threads 0": ["--threads is 0", "1 to 1024"],
    },
    "pipeline": {
        "--generate_pgn": ["--generate_pgn;", "--generate_png"],
        "--classifier_weights none": ["--classifier_weights is none", "file"],
        "--num_steps 0": ["--num_steps is 0", "at least 1"],
        f"--device cpu --reject --classifier_weights {WEIGHTS}": ["--reject"],
        "--output run.zarr": ["run.zarr", "--resume", "--overwrite", "--output"],
    },
    "cluster check": {
        "--cluster k8s": ["--cluster is 'k8s'", "tcp://HOST:PORT"],
        "--cluster slurm:none.yaml": ["--cluster is slurm:none.yaml", "cannot be read"],
        "--model mnits": ["--model is 'mnits'", "mnist"],
        "--num_steps 0": ["--num_steps is 0", "at least 1"],
        "--output s3://bucket": ["s3://bucket names no recording"],
        "--clustr local": ["--clustr;", "--cluster"],
    },
    "explore": {
        "--prot 9000": ["--prot;", "--port"],
        "mnits": ["TARGET is 'mnits'", "mnist"],
        "nonsense": ["TARGET is 'nonsense'", "digits"],
        "digits mnist": ["TARGET", "one model"],
        "none.zarr": ["none.zarr", "recording"],
        "hollow": ["TARGET is hollow", "config.json", "recording.json"],
        "empty.zarr": ["empty.zarr", "zarr.json"],
        "damaged.zarr": ["damaged.zarr", "damaged"],
        "begun.zarr": ["begun.zarr", "no finished sample", "--resume"],
        "none.npz": ["none.npz", "No such file"],
        "taken.npz": ["taken.npz", "damaged"],
        "measure.npz": ["measure.npz", "growth (x)", "map of basins"],
        "run.zarr --export new.html": ["--export is new.html", "TARGET", "model"],
        "digits --export new.html --cache new.html": ["--cache is new.html", "--export new.html"],
        "digits --cache explored": ["--cache is explored", "--output explored"],
        "digits --port 80": ["--port is 80", "1024 to 65535"],
        "digits --dtype float16": ["--dtype is float16", "float64"],
        "digits --overwrite": ["--overwrite", "--export"],
        "digits --export view.png": ["--export", ".html"],
        "digits --export file": ["--export", ".html"],
        "digits --side -3 --export new.html": ["--side is '-3'", "above 0"],
    },
    "report": {
        "": ["SOURCES is empty", "recordings"],
        "run.zarr --outptu new.html": ["--outptu;", "--output"],
        "run.zarr --output page.pdf": ["--output is page.pdf", ".html"],
        "run.zarr --output file/page.html": ["--output is file/page.html: Not a directory"],
        "run.zarr --output run.zarr/page.html": ["--output is run.zarr/page.html", "a part of run.zarr"],
        "none.zarr": ["none.zarr", "no such recording"],
        "run.zarr none.json": ["cannot read none.json", "no such file"],
        "file": ["file is neither a recording nor a result"],
        "taken.json": ["taken.json", "not JSON"],
        "taken.npz": ["taken.npz", "not a file of results"],
        "damaged.zarr": ["damaged.zarr", "damaged"],
        "empty.zarr": ["empty.zarr", "zarr.json"],
        "run.zarr http://host/b.zarr": ["http://host/b.zarr is a URL of an unknown kind"],
    },
}
"""Words after the name of a command, and what the line on stderr must name: the flag, its value and what is allowed."""
NEEDS_THE_MODEL = {
    "record": ("--layers conv_inn --output new",),
    "basins zoom": ("--levels 60", "--target 2 1", "1e-9 1e-9"),
    "dynamics spectrum": ("--layer conv_*",),
    "dynamics uncertainty": ("--epsilons 1e-9 3",),
}
"""The ends of words that are refused only once the weights are read."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory, recordings) -> Path:
    """A folder with noises, recordings, planes of labels, and files at the places of outputs."""
    folder = tmp_path_factory.mktemp("refusals")
    ds.noise.random(3, (1, 8, 8), seed=1).write(folder / "noises")
    (folder / "hollow").mkdir()
    (folder / "file").write_text("a file")
    for name in ("taken.json", "taken.npz", "taken.png"):
        (folder / name).write_bytes(b"mine")
    (folder / "link.npz").symlink_to("taken.npz")
    (folder / "dangling").symlink_to("nowhere")
    os.link(folder / "taken.npz", folder / "hard.npz")
    for name, original in (("run", "pairs"), ("digits", "digits"), ("final", "final"), ("one", "one")):
        (folder / f"{name}.zarr").symlink_to(recordings / f"{original}.zarr")
    write(xarray.Dataset({"growth": ("x", [1.0])}), folder / "measure.npz")
    (folder / "empty.zarr").mkdir()
    for name in ("damaged", "begun"):
        shutil.copytree(recordings / "one.zarr", folder / f"{name}.zarr")
    (folder / "damaged.zarr" / "zarr.json").write_text("{")
    for mark in (folder / "begun.zarr").rglob("0.json"):
        mark.unlink()
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    torch.save((rows + 2 * columns > 60).long(), folder / "plane.pt")
    torch.save(torch.zeros(30, 30).long(), folder / "one.pt")
    return folder


def files(*folders: Path) -> dict[str, tuple[int, ...]]:
    """All paths below folders, with the inode, size and time that change when a file is written."""
    places = (place for folder in folders for place in os.walk(folder))
    paths = (os.path.join(place, name) for place, inner, names in places for name in [*inner, *names])
    stats = {path: os.lstat(path) for path in paths}
    return {
        path: () if stat.S_ISDIR(found.st_mode) else (found.st_ino, found.st_size, found.st_mtime_ns)
        for path, found in stats.items()
    }


@pytest.fixture(scope="module")
def untouched(shared, recordings) -> dict[str, tuple[int, ...]]:
    """The files before the first command."""
    return files(shared, recordings)


@pytest.mark.parametrize(
    ("verb", "words"), [(verb, words) for verb, rows in REFUSED.items() for words in rows]
)
def test_a_mistake_is_refused_in_one_line_and_writes_nothing(
    verb, words, shared, recordings, untouched, model, refused, monkeypatch
):
    monkeypatch.chdir(shared)
    read, with_weights = [], sources.with_weights
    monkeypatch.setattr(sources, "with_weights", lambda *given: read.append(given) or with_weights(*given))
    line = refused(f"{verb} {words.replace('MODEL', model)}")
    for fragment in REFUSED[verb][words]:
        assert fragment.replace("-", "_") in line.replace("-", "_"), line
    assert files(shared, recordings) == untouched
    assert not read or words.endswith(NEEDS_THE_MODEL.get(verb, ())), "the weights were read first"


def test_every_command_is_in_the_table():
    assert set(REFUSED) == set(registry.VERBS)
