"""`denoscope basins map` and `dynamics growth`, `basins`, `verdict` and `uncertainty`."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from command_line import call
from torch.nn.modules.module import register_module_forward_pre_hook

import denoscope as ds
from denoscope import dynamics
from denoscope.basins.zooming import zoom_levels
from denoscope.foundation import checkpoint
from denoscope.foundation.writing import result_files

MAP = "basins map --model digits --device cpu --num_steps 1 --num_prompts_per_direction 26 25 --len_per_direction 16 16"


@pytest.fixture(scope="module")
def basin_map(tmp_path_factory) -> Path:
    """A folder with basins.npz, the smallest map whose boundary can be measured, and its picture."""
    folder = tmp_path_factory.mktemp("basins")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        call(MAP)
    return folder


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_basins_map_writes_a_plane_that_the_measures_read(basin_map, here, capsys):
    stored = checkpoint.read(basin_map / "basins.npz")
    assert stored["label"].shape == (25, 26) and stored["computed"].all()
    assert (basin_map / "basins.png").stat().st_size > 1000
    shutil.copy(basin_map / "basins.npz", here)
    for verb in ("basins", "verdict"):
        call(f"dynamics {verb} basins.npz")
        origin = read(here / f"{verb}.json")["computed_from"]
        assert origin["plane"] == "basins.npz" and origin["map"]["plane"]["counts"] == [26, 25]
        assert origin["map"]["num_steps"] == 1
    assert "boundary dimension" in capsys.readouterr().out


def test_measures_read_an_adaptive_map_and_say_that_cells_were_filled(tiny, here, refused, capsys):
    plane = ds.noise.plane((64, 64), tiny.shape, lengths=(20.0, 20.0))

    def stop(_done, _total):
        raise KeyboardInterrupt

    options = {"steps": 1, "lanes": 64, "batch_size": 512, "method": "adaptive", "audit": 10}
    options["classifier"] = lambda images: images.mean((1, 2, 3)) > 0
    with pytest.raises(KeyboardInterrupt):
        ds.basins.map(tiny, plane, checkpoint=ds.Checkpoint(here / "map.npz", progress=stop), **options)
    refused("dynamics basins map.npz", "map.npz is not finished", "--resume")
    found = ds.basins.map(tiny, plane, checkpoint=ds.Checkpoint(here / "map.npz", resume=True), **options)
    assert not found["computed"].all()
    for verb in ("basins", "verdict"):
        capsys.readouterr()
        call(f"dynamics {verb} map.npz")
        assert (
            "cells were filled; of 10 that were then computed to check them, 0 had" in capsys.readouterr().err
        )
        assert (here / f"{verb}.json").exists()


def test_a_map_begins_spherical_with_lengths_that_fit_the_model_and_says_so(here, capsys):
    call("basins map --model digits --device cpu --num_steps 1 --num_prompts_per_direction 2 1")
    error = capsys.readouterr().err
    assert "--geometry flat" in error
    assert "64 rows went through the network, 100.00 % of those of every cell" in error
    made_with = checkpoint.read(here / "basins.npz").attrs["plane"]
    assert made_with["geometry"] == "spherical"
    assert made_with["lengths"] == list(ds.noise.plane((2, 1), (1, 8, 8), geometry="spherical").lengths)


def test_a_finer_map_shares_points_with_a_coarser_one(here, capsys):
    line = (
        "basins map --model digits --device cpu --num_steps 1 --lanes 8 --cache points.db --geometry flat "
        "--len_per_direction 16 16"
    )
    for cells in (3, 6):
        call(
            f"{line} --num_prompts_per_direction {cells} {cells} --output {cells}.npz --animation {cells}.gif"
        )
        assert capsys.readouterr().out.splitlines() == [f"{cells}.npz", f"{cells}.png", f"{cells}.gif"]
    assert (here / "6.gif").read_bytes().startswith(b"GIF89a")
    coarse, fine = (checkpoint.read(here / f"{cells}.npz") for cells in (3, 6))
    np.testing.assert_array_equal(coarse["label"], fine["label"][::2, ::2])
    connection = sqlite3.connect(here / "points.db")
    assert connection.execute("SELECT count(*) FROM points").fetchone() == (36,)
    connection.close()


@pytest.mark.parametrize("verb", ["basins", "verdict"])
def test_a_file_without_a_plane_of_labels_is_refused_with_its_arrays(here, refused, verb):
    arrays = {name: ("sample", np.zeros(3, int)) for name in ("label", "same", "a", "b", "c", "d")}
    result_files.write(xarray.Dataset(arrays), here / "turned.npz")
    result_files.write(xarray.Dataset(), here / "other.npz")
    for name, content in (("other", "nothing"), ("turned", "b (sample) and 2 more")):
        refused(f"dynamics {verb} {name}.npz", f"{name}.npz", content, "`denoscope basins map`")


def test_a_map_without_the_cells_that_are_computed_is_refused_in_one_line(basin_map, here, refused):
    result_files.write(checkpoint.read(basin_map / "basins.npz").drop_vars("computed"), here / "basins.npz")
    before = (here / "basins.npz").read_bytes()
    for line in ("dynamics basins basins.npz", "dynamics verdict basins.npz", "explore basins.npz"):
        refused(line, "basins.npz holds label (y, x)", "`denoscope basins map`")
    refused(f"{MAP} --resume", "basins.npz cannot be resumed: it lacks computed", "--overwrite")
    assert (here / "basins.npz").read_bytes() == before


@pytest.mark.parametrize(
    "line",
    ["dynamics basins basins.npz", "dynamics verdict basins.npz", "explore basins.npz", "MAP --resume"],
)
def test_a_pipe_in_place_of_a_map_is_refused_at_once(line, here, refused):
    os.mkfifo(here / "basins.npz")
    refused(line.replace("MAP", MAP), "basins.npz", "not a regular file")


def test_growth_writes_the_ridge_map_of_a_plane_and_resumes_it(small_model, here, capsys, refused):
    line = (
        f"dynamics growth --model {small_model} --device cpu --num_steps 1 --num_prompts_per_direction 2 1"
        " --len_per_direction 8 4 --base_seed 1"
    )
    call(line)
    plane = ds.noise.plane((2, 1), (1, 8, 8), lengths=(8, 4), base_seed=1)
    expected = dynamics.plane_growth(ds.load(small_model, device="cpu"), plane, steps=1)
    np.testing.assert_array_equal(checkpoint.read(here / "growth.npz")["growth"], expected["growth"])
    assert (here / "growth.png").stat().st_size > 1000
    first, *paths = capsys.readouterr().out.splitlines()
    assert first.startswith("growth of the plane, ln over the whole map: ")
    assert paths == ["growth.npz", "growth.png"]
    call(f"{line} --resume --picture pictures/ridges.pdf")
    assert (here / "pictures" / "ridges.pdf").read_bytes()[:4] == b"%PDF"
    refused(f"{line} --resume --picture a.docx", "a.docx", "pdf", "png")
    refused(line.replace("steps 1", "steps 3") + " --resume", "growth.npz", "num_steps: 1 → 3")


@pytest.mark.usefixtures("plane")
def test_verdict_prints_what_a_plane_shows(capsys):
    call("dynamics verdict plane.pt")
    assert capsys.readouterr().out.startswith("smooth: ")


def test_basins_prints_shares_and_entropies_of_a_plane(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    plane = torch.where(rows + 2 * columns > 90, 3, -1)
    torch.save(plane, here / "plane.pt")
    call("dynamics basins plane.pt --boxes 4 2 4 8")
    out, written = capsys.readouterr().out, read(here / "basins.json")
    assert f"class   3  {float((plane == 3).double().mean()):7.2%}" in out
    entropy = dynamics.basin_entropy(plane.numpy(), box=(2, 4, 8))
    assert written["entropy"]["entropy"] == pytest.approx(entropy.entropy.tolist())
    assert written["entropy"]["origin"]["boxes"] == [2, 4, 8]
    assert written["dimension"]["value"] == pytest.approx(1, abs=0.05)
    assert "boundary dimension" in out and out.endswith("basins.json\n")


def test_basins_of_a_plane_without_a_boundary_are_their_shares(here, capsys):
    torch.save(torch.full((30, 30), 7), here / "one.pt")
    call("dynamics basins one.pt")
    out, written = capsys.readouterr().out, read(here / "basins.json")
    assert "class   7  100.00%" in out and "no boundary" in out
    assert written.keys() == {"computed_from", "fractions"} and written["fractions"]["classes"] == [7]


def test_basins_of_a_plane_too_small_for_its_boundary_are_their_shares(here, capsys, refused):
    torch.save(torch.arange(16).reshape(4, 4) % 2, here / "small.pt")
    call("dynamics basins small.pt")
    out, written = capsys.readouterr().out, read(here / "basins.json")
    assert "class   1   50.00%" in out and written.keys() == {"computed_from", "fractions"}
    assert all(fragment in out for fragment in ("not measured", "4×4", "25×25", "--boxes"))
    refused("dynamics basins small.pt --boxes 2 3 4 --overwrite", "2 to 4", "2 to 2")


def test_basins_measures_with_boxes_that_suit_the_plane(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    torch.save((rows > 50).long() + (columns > 50) * (rows > 50), here / "three.pt")
    torch.save((rows > 40)[:50, :30].long(), here / "few.pt")
    call("dynamics basins three.pt")
    out, written = capsys.readouterr().out, read(here / "basins.json")
    low, high = written["dimension"]["interval"]
    line = f"boundary dimension {written['dimension']['value']:.3f}  [{low:.3f}, {high:.3f}]"
    assert f"{line}  over 4 to 16 spacings" in out and "basins: not wada" in out
    assert written["wada"]["boxes"] == [5, 9, 17] == written["entropy"]["origin"]["boxes"]
    call("dynamics basins few.pt --overwrite")
    assert "wada" not in capsys.readouterr().out
    assert read(here / "basins.json")["entropy"]["origin"]["boxes"] == [2, 3, 5]


def test_uncertainty_classifies_random_points_of_a_plane(digits, here, capsys, refused):
    flags = "--num_prompts_per_direction 3 3 --len_per_direction 60 60 --num_steps 1 --device cpu"
    line = f"dynamics uncertainty --model digits {flags} --points 6 --epsilons 3 10 30 --seed 2 --lanes 8"
    call(line)
    plane = ds.noise.plane((3, 3), digits.shape, lengths=(60, 60))
    points = np.random.default_rng(2).uniform(-30, 30, (6, 2))
    label_of = ds.basins.label_of(digits, plane, steps=1, noise_seed=2, lanes=8)
    expected = dynamics.uncertainty_exponent(label_of, points, [3, 10, 30], seed=2)
    written = read(here / "uncertainty.json")
    assert written["fractions"] == expected.fractions.tolist()
    assert written["origin"]["fingerprint"]["num_steps"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("epsilon 3 ") and lines[-3:] == [
        "uncertainty.json",
        "uncertainty.png",
        "uncertainty.npz",
    ]
    call(f"{line} --resume --batch_size 3")
    assert read(here / "uncertainty.json") == written
    for other in ("--reject", "--scheduler ddpm", "--clip_sample False"):
        refused(f"{line} --resume {other}", "uncertainty.npz", "differs")


@pytest.mark.usefixtures("here")
def test_uncertainty_fills_the_calls_of_the_network():
    flags = "--num_prompts_per_direction 3 3 --len_per_direction 60 60 --num_steps 1 --device cpu --lanes 8"
    line = f"dynamics uncertainty --model digits {flags} --points 6 --epsilons 3 10 30"
    counts = []
    for batch_size in (8, 3):
        calls = []
        count = register_module_forward_pre_hook(
            lambda module, _, calls=calls: calls.append(1) if type(module).__name__ == "UNet2DModel" else None
        )
        try:
            call(f"{line} --output {batch_size}.json --checkpoint {batch_size}.npz --batch_size {batch_size}")
        finally:
            count.remove()
        counts.append(len(calls))
    assert counts[0] == counts[1] > 2


def test_basins_zoom_writes_levels_a_figure_and_an_animation(here, capsys):
    call(
        "basins zoom --model digits --device cpu --num_steps 1 --num_prompts_per_direction 25 25 --len_per_direction 16 16 "
        "--geometry flat --levels 2 --factor 1.5 --audit 0 --checks 4 --output deep.npz"
    )
    stored = checkpoint.read(here / "deep.npz")
    assert stored["label"].shape == (2, 25, 25) and stored["finished"].all() and stored.attrs["factor"] == 1.5
    said = capsys.readouterr()
    assert "the plane is spherical" not in said.err
    *lines, numbers, picture, animation = said.out.splitlines()
    assert (numbers, picture, animation) == ("deep.npz", "deep.png", "deep.gif")
    assert "half-width 8.0e+00: dimension" in lines[0] and "stopped after 2 levels" in lines[1]
    assert all((here / name).stat().st_size > 1000 for name in (picture, animation))


def test_a_zoom_without_a_decade_is_drawn_too_and_says_that_it_began_spherical(here, capsys, monkeypatch):
    """Rounding decides every label, as if the network were made of noise: the first level is the last."""
    monkeypatch.setattr(
        zoom_levels, "changes_with_rounding", lambda _labelling, x_T, *_: np.ones(len(x_T), bool)
    )
    call(
        "basins zoom --model digits --device cpu --num_steps 1 --num_prompts_per_direction 25 25 --len_per_direction 16 16 "
        "--levels 2 --checks 4 --output deep.npz"
    )
    said = capsys.readouterr()
    assert "the plane is spherical: each noise has the norm of the base (--geometry flat" in said.err
    first, *paths = said.out.splitlines()
    assert first.startswith("stopped after 1 levels: rounding decides")
    assert paths == ["deep.npz", "deep.png", "deep.gif"] and all(
        (here / name).stat().st_size for name in paths
    )


@pytest.mark.parametrize("verb", ["map", "zoom"])
def test_an_mp4_without_its_library_is_refused(refused, monkeypatch, verb):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "imageio_ffmpeg" else name)
    refused(f"basins {verb} --animation film.mp4", "--animation is 'film.mp4'", "[video]", ".gif")


def test_a_zoom_places_its_cells_in_one_way(refused):
    refused("basins zoom --endpoint", "--endpoint")
