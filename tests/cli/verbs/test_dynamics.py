"""The commands of the measures: what they print and write, and one line for every mistake."""

import json
import signal

import numpy as np
import pytest
import torch
import xarray

import denoscope as ds
from denoscope import dynamics
from denoscope.cli import command
from denoscope.foundation import checkpoint


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, line: str) -> str:
    with pytest.raises(SystemExit) as caught:
        command.main(line.split())
    assert caught.value.code == 2
    (told,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    return told


def test_spectrum_writes_the_exponents_of_the_first_noises(model, here, capsys):
    x = ds.noise.random(3, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    command.main(f"dynamics spectrum --model {model} --samples 2 --k 3 --num_steps 1 --device cpu".split())
    written = json.loads((here / "spectrum.json").read_text())
    denoiser = ds.load(model, device="cpu")
    assert list(written) == ["noise_0000", "noise_0001"]
    for index, (name, found) in enumerate(written.items()):
        expected = dynamics.spectrum(denoiser, x.batch([index]), 3, steps=1, name=name)
        np.testing.assert_allclose(found["exponents"], expected.exponents, atol=1e-6)
        assert found["origin"]["fingerprint"]["num_steps"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["noise_0000", "noise_0001", "spectrum.json"]


def test_spectrum_of_a_layer_and_its_directions(model, here, capsys):
    x = ds.noise.random(1, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = (
        f"dynamics spectrum --model {model} --k 2 --num_steps 2 --device cpu --layer conv_in --layer_step 1"
    )
    command.main([*line.split(), "--differences", "--vectors", "vectors"])
    expected = dynamics.spectrum(
        ds.load(model, device="cpu"), x.batch([0]), 2, steps=2, layer="conv_in", step=1, differences=True
    )
    found = json.loads((here / "spectrum.json").read_text())["noise_0000"]
    assert found["exponents"] == expected.exponents.tolist()
    assert found["difference_errors"] == expected.difference_errors.tolist()
    assert torch.equal(torch.load(here / "vectors" / "noise_0000.pt", weights_only=True), expected.right)
    assert "names" in refused(capsys, line.replace("conv_in", "conv_*") + " --output other.json")


def test_a_spectrum_is_gone_on_with_after_a_kill_and_replaced_on_request_alone(model, recorder, here):
    ds.noise.random(3, (1, 8, 8), seed=1).write(here / "inputs")
    line = [*f"dynamics spectrum --model {model} --k 2 --num_steps 1 --device cpu".split(), "--output"]
    whole = recorder.run(*line, "whole.json", "--samples", 2, "--vectors", "whole")
    assert whole.code == 0, whole.said
    running = recorder.start(*line, "spectrum.json", "--samples", 2, pause=0.05)
    running.until("noise_0001, 2 of 2")
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert list(json.loads((here / "spectrum.json").read_text())) == ["noise_0000"]
    left = int(checkpoint.read(here / "spectrum.kept" / "noise_0001.npz")["iterations"])
    unbroken = checkpoint.read(here / "whole.kept" / "noise_0001.npz")
    assert 1 <= left < int(unbroken["iterations"])

    before = {path: path.read_bytes() for path in here.rglob("spectrum*/*")}
    for flags, told in (
        ([], "spectrum.json exists; resume it (--resume), replace it (--overwrite)"),
        (
            ["--resume", "--num_steps", 2],
            "noise_0000.npz cannot be resumed, since it differs in num_steps: 1 → 2",
        ),
        (["--resume", "--k", 3], "differs in k: 2 → 3"),
        (["--resume", "--overwrite"], "contradict"),
        (["--overwrite", "--samples", 4], "--samples is 4; allowed: 1 to 3"),
    ):
        refused = recorder.run(*line, "spectrum.json", *flags)
        assert refused.code == 2 and told in refused.said, refused.said
        assert "Traceback" not in refused.said
    assert before == {path: path.read_bytes() for path in here.rglob("spectrum*/*")}

    went_on = recorder.run(*line, "spectrum.json", "--samples", 2, "--vectors", "vectors", "--resume")
    assert went_on.code == 0, went_on.said
    assert "noise_0000, 1 of 2" not in went_on.said and "noise_0001, 2 of 2" in went_on.said
    assert (here / "spectrum.json").read_bytes() == (here / "whole.json").read_bytes()
    for name in ("noise_0000", "noise_0001"):
        directions, expected = (
            torch.load(here / of / f"{name}.pt", weights_only=True) for of in ("vectors", "whole")
        )
        assert torch.equal(directions, expected)
    more = recorder.run(*line, "spectrum.json", "--samples", 3, "--resume")
    assert more.code == 0 and "noise_0002, 3 of 3" in more.said and "noise_0001, 2 of 3" not in more.said
    assert list(json.loads((here / "spectrum.json").read_text())) == [f"noise_000{k}" for k in range(3)]

    replaced = recorder.run(*line, "spectrum.json", "--num_steps", 2, "--overwrite")
    assert replaced.code == 0, replaced.said
    # Of the former work nothing is left that would stand in the way of the new.
    more = recorder.run(*line, "spectrum.json", "--num_steps", 2, "--samples", 2, "--resume")
    assert more.code == 0, more.said
    for written in json.loads((here / "spectrum.json").read_text()).values():
        assert written["origin"]["fingerprint"]["num_steps"] == 2


@pytest.mark.parametrize(
    ("measure", "begun", "saved_in"),
    [
        ("spectrum --samples 2 --k 2", "noise_0001, 2 of 2", "spectrum.kept/*.npz"),
        ("growth --batch_size 1 --num_prompts_per_direction 5 5", "call 15\n", "growth.npz"),
        ("lyapunov --iterations 60 --discard 0", "call 60\n", "lyapunov.npz"),
    ],
)
def test_ctrl_c_reports_where_the_work_is_saved(model, recorder, here, measure, begun, saved_in):
    ds.noise.random(2, (1, 8, 8), seed=1).write(here / "inputs")
    line = f"dynamics {measure} --model {model} --device cpu --num_steps 2".split()
    running = recorder.start(*line, pause=0.005)
    running.until(begun)
    running.send(signal.SIGINT)
    assert running.wait() == 130
    assert running.said.endswith(f"stopped; finished work is saved in {saved_in}: resume with --resume\n")
    assert "Traceback" not in running.said
    went_on = recorder.run(*line, "--resume")
    assert went_on.code == 0, went_on.said


def test_exponents_of_which_nothing_was_kept_are_not_gone_on_with(model, here, capsys):
    ds.noise.random(1, (1, 8, 8), seed=1).write(here / "inputs")
    (here / "spectrum.json").write_text("{}")
    line = f"dynamics spectrum --model {model} --k 2 --num_steps 1 --device cpu"
    assert "spectrum.json exists; replace it (--overwrite)" in refused(capsys, line)
    assert "since nothing is saved in spectrum.kept" in refused(capsys, f"{line} --resume")
    assert (here / "spectrum.json").read_text() == "{}"
    command.main([*line.split(), "--overwrite"])
    (here / "spectrum.json").unlink()
    assert "noise_0000.npz exists" in refused(capsys, line)
    (here / "spectrum.kept" / "noise_0000.npz").write_bytes(b"half")
    assert "or damaged" in refused(capsys, f"{line} --resume")
    command.main([*line.split(), "--overwrite"])


def test_basins_maps_a_plane_that_the_measures_read(here, capsys):
    line = "basins map --device cpu --num_steps 1 --num_prompts_per_direction 26 25 --len_per_direction 60 60"
    command.main(line.split())
    found = checkpoint.read(here / "basins.npz")
    assert found["label"].shape == (25, 26) and found["computed"].all()
    assert (here / "basins.png").stat().st_size > 1000
    assert capsys.readouterr().out.splitlines() == ["basins.npz", "basins.png"]
    for verb in ("basins", "verdict"):
        command.main(["dynamics", verb, "basins.npz"])
    assert "boundary dimension" in capsys.readouterr().out
    several = ("label", "same", "a", "b", "c", "d")
    for name, held in (
        ("other", "nothing"),
        ("turned", "label (sample), same (sample), a (sample), b (sample) and 2 more"),
    ):
        labels = xarray.Dataset({of: ("sample", np.zeros(3, int)) for of in several})
        checkpoint.write(labels if name == "turned" else xarray.Dataset(), here / f"{name}.npz")
        for verb in ("basins", "verdict"):
            told = refused(capsys, f"dynamics {verb} {name}.npz --overwrite")
            assert (
                f"{name}.npz holds no plane of labels but {held}; " in told
                and "`denoscope basins map`" in told
            )
    for place, why in (("none.npz", "there is no such file"), (".", "it is a folder")):
        told = refused(capsys, f"dynamics basins {place} --overwrite")
        assert f"cannot read {place}: {why}; name a plane of labels" in told and "(.npz)" in told
    assert "exists" in refused(capsys, line)


def test_divergence_prints_each_pair_and_draws(tiny, here, capsys):
    x = ds.noise.perturbed(2, tiny.shape, epsilon=1.0)
    ds.record(tiny, x, here / "run.zarr", steps=3, layers=["conv_in", "mid_block"])
    command.main(["dynamics", "divergence", "run.zarr", "--picture", "curves.pdf", "--threshold", "1.5"])
    told = capsys.readouterr()
    pairs = [line for line in told.out.splitlines() if line.startswith("set_0042_pert_")]
    assert len(pairs) == 2 and all("per step" in line and "diverged" in line for line in pairs)
    assert "no noise floor was measured" in told.err and (here / "curves.pdf").read_bytes()[:4] == b"%PDF"
    expected = dynamics.divergence(ds.open(here / "run.zarr"), threshold=1.5)
    written = checkpoint.read(here / "divergence.npz")
    assert set(written) == set(expected) and all(
        np.array_equal(written[name], expected[name], equal_nan=True) for name in expected
    )


def test_verdict_says_what_a_plane_shows(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(90), torch.arange(90), indexing="ij")
    torch.save((rows + 2 * columns > 130).long(), here / "plane.pt")
    command.main(["dynamics", "verdict", "plane.pt"])
    assert capsys.readouterr().out.startswith("smooth: ")


def test_growth_writes_the_ridge_map_of_a_plane_and_goes_on_with_it(model, here, capsys):
    line = (
        f"dynamics growth --model {model} --device cpu --num_steps 2 --num_prompts_per_direction 3 2"
        " --len_per_direction 8 4 --base_seed 1"
    )
    command.main(line.split())
    denoiser, plane = (
        ds.load(model, device="cpu"),
        ds.noise.plane((3, 2), (1, 8, 8), lengths=(8, 4), base_seed=1),
    )
    expected = dynamics.plane_growth(denoiser, plane, steps=2)
    np.testing.assert_array_equal(checkpoint.read(here / "growth.npz")["growth"], expected["growth"])
    assert (here / "growth.png").stat().st_size > 1000
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("growth of the plane, ln over the whole map: ")
    assert told[1:] == ["growth.npz", "growth.png"]
    assert "growth.npz exists" in refused(capsys, line)
    command.main([*line.split(), "--resume", "--picture", "pictures/ridges.pdf"])
    assert (here / "pictures" / "ridges.pdf").read_bytes()[:4] == b"%PDF"
    assert "--output is growth.pdf; allowed: a name that ends in .npz" in refused(
        capsys, line + " --output growth.pdf"
    )
    assert "a.docx has no ending that tells a picture's format" in refused(
        capsys, line + " --resume --picture a.docx"
    )
    assert "differs in num_steps: 2 → 3" in refused(capsys, line.replace("steps 2", "steps 3") + " --resume")


def test_basins_prints_shares_and_entropies_of_a_plane(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    plane = torch.where(rows + 2 * columns > 90, 3, -1)
    torch.save(plane, here / "plane.pt")
    command.main(["dynamics", "basins", "plane.pt", "--boxes", "2", "4", "8"])
    told, written = capsys.readouterr().out, json.loads((here / "basins.json").read_text())
    assert f"class   3  {float((plane == 3).double().mean()):7.2%}" in told
    entropy = dynamics.basin_entropy(plane.numpy(), box=(2, 4, 8))
    assert written["entropy"]["entropy"] == pytest.approx(entropy.entropy.tolist())
    assert written["dimension"]["value"] == pytest.approx(1, abs=0.05)
    assert "boundary dimension" in told and told.endswith("basins.json\n")


def test_basins_takes_a_plane_of_one_class_and_tells_what_does_not_fit(here, capsys):
    torch.save(torch.full((30, 30), 7), here / "one.pt")
    command.main(["dynamics", "basins", "one.pt"])
    told, written = capsys.readouterr(), json.loads((here / "basins.json").read_text())
    assert "class   7  100.00%" in told.out and "there is no boundary to measure" in told.out
    assert written.keys() == {"computed_from", "fractions"} and written["fractions"]["classes"] == [7]
    torch.save(torch.arange(16).reshape(4, 4) % 2, here / "small.pt")
    torch.save(torch.arange(900).reshape(30, 30) % 7, here / "plane.pt")
    command.main(["dynamics", "basins", "small.pt", "--overwrite"])
    told, written = capsys.readouterr(), json.loads((here / "basins.json").read_text())
    assert "class   1   50.00%" in told.out and written.keys() == {"computed_from", "fractions"}
    assert "boundary: not measured, the plane has 4×4 cells; allowed: at least 25×25" in told.out
    for line, wrong in (
        ("plane.pt --boxes 0", "--boxes is (0,); allowed: at least 3 different integers of at least 2"),
        ("plane.pt --boxes 2 4 31", "boxes range from 2 to 31 cells; allowed: 2 to 15"),
        ("small.pt --boxes 2 3 4", "boxes range from 2 to 4 cells; allowed: 2 to 2"),
    ):
        assert wrong in refused(capsys, f"dynamics basins {line} --overwrite")
    assert not capsys.readouterr().out


def test_basins_measures_with_boxes_that_suit_the_plane(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    torch.save((rows > 50).long() + (columns > 50) * (rows > 50), here / "three.pt")
    torch.save((rows > 40)[:50, :30].long(), here / "few.pt")
    command.main(["dynamics", "basins", "three.pt"])
    told, written = capsys.readouterr().out, json.loads((here / "basins.json").read_text())
    low, high = written["dimension"]["interval"]
    line = f"boundary dimension {written['dimension']['value']:.3f}  [{low:.3f}, {high:.3f}]"
    assert f"{line}  over 4 to 16 spacings" in told and "basins: not wada" in told
    assert written["wada"]["boxes"] == [5, 9, 17] == written["entropy"]["origin"]["boxes"]
    command.main(["dynamics", "basins", "few.pt", "--overwrite"])
    assert "wada" not in capsys.readouterr().out
    assert json.loads((here / "basins.json").read_text())["entropy"]["origin"]["boxes"] == [2, 3, 5]


def test_lyapunov_iterates_the_loop_of_the_first_noise(model, here, capsys):
    x = ds.noise.random(2, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = f"dynamics lyapunov --model {model} --device cpu --num_steps 2 --iterations 60 --discard 5 --k 1"
    command.main(line.split())
    denoiser = ds.load(model, device="cpu")
    x_0 = ds.sample(denoiser, x.batch([0]), steps=2)[0]
    loop = dynamics.closed_loop(denoiser, 0.5, steps=2, noise_seed=42)
    expected = dynamics.lyapunov(loop, x_0, iterations=60, discard=5, k=1)
    written = json.loads((here / "lyapunov.json").read_text())
    assert written["exponents"] == expected.exponents.tolist()
    told = capsys.readouterr()
    assert (
        told.out.startswith(f"exponent 1: {expected.exponents[0]:+.4f} per iteration")
        and "60 iterations" in told.err
    )


def test_commitment_and_geometry_of_a_recording(mnist, here, capsys):
    rec = ds.record(
        mnist, ds.noise.random(6, mnist.shape, seed=1), here / "run.zarr", steps=4, layers=["conv_in"]
    )
    command.main(["dynamics", "commitment", "run.zarr", "--device", "cpu"])
    expected = dynamics.commitment(rec)
    assert checkpoint.read(here / "commitment.npz").drop_attrs().identical(expected.drop_attrs())
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in told[:4]] == ["0", "1", "2", "3"]
    assert told[3].split()[5] == f"{float(expected['decided'][3]):.1%}" and told[4:] == [
        "commitment.npz",
        "commitment.png",
    ]
    command.main(["dynamics", "geometry", "run.zarr"])
    written, path = (
        json.loads((here / "geometry.json").read_text()),
        dynamics.path_geometry(rec.sequence.to_numpy()),
    )
    assert written["path"]["lengths"] == path.lengths.tolist()
    told = capsys.readouterr()
    assert (
        told.out.startswith(f"length {np.median(path.lengths):.4g}") and "6 samples show at most" in told.err
    )
    assert (here / "geometry.png").stat().st_size > 1000


def test_u_turn_takes_the_images_of_a_recording(mnist, here, capsys):
    ds.record(
        mnist, ds.noise.random(2, mnist.shape, seed=1), here / "run.zarr", steps=5, extract_states=False
    )
    line = "dynamics u_turn run.zarr --draws 2 --device cpu"
    told = refused(capsys, f"{line} --levels 0.05")
    assert "level is 0.05; allowed: 0.2 to 1, the share of 5 steps that are left (--level, --levels)" in told
    command.main([*line.split(), "--output", "each_step.npz"])
    assert checkpoint.read(here / "each_step.npz")["level"].to_numpy().tolist() == [0.2, 0.4, 0.6, 0.8, 1]
    capsys.readouterr()
    command.main([*line.split(), "--levels", "0.2", "1"])
    rec = ds.open(here / "run.zarr")
    expected = dynamics.u_turn(
        mnist, torch.from_numpy(rec.final.to_numpy()), (0.2, 1.0), draws=2, steps=5, seed=42
    )
    np.testing.assert_array_equal(checkpoint.read(here / "u_turn.npz")["same"], expected["same"])
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in told[:2]] == ["0.20", "1.00"] and told[2:] == [
        "u_turn.npz",
        "u_turn.png",
    ]


def test_mistakes_are_one_line(model, tiny, here, capsys):
    ds.noise.random(1, (1, 8, 8)).write(here / "inputs")
    ds.record(tiny, ds.noise.random(1, tiny.shape), here / "random.zarr", steps=1)
    torch.save(torch.zeros(30, 30).long(), here / "one.pt")
    spectrum = f"dynamics spectrum --model {model} --num_steps 2 --device cpu"
    assert "--samples is 2; allowed: 1 to 1" in refused(capsys, f"{spectrum} --samples 2")
    assert "--k is 0; allowed: an integer of at least 1" in refused(capsys, f"{spectrum} --k 0")
    assert "--layer_step is 1, but no layer is named" in refused(capsys, f"{spectrum} --layer_step 1")
    assert "k is 65; allowed: 1 to 64" in refused(capsys, f"{spectrum} --k 65")
    assert "holds no perturbed noises" in refused(capsys, "dynamics divergence random.zarr")
    assert "no such recording" in refused(capsys, "dynamics divergence none.zarr")
    assert "labels hold 1 classes" in refused(capsys, "dynamics verdict one.pt")
    assert not (here / "spectrum.json").exists() and not (here / "divergence.png").exists()


def test_the_plane_that_is_measured_is_never_the_output(here, capsys):
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    torch.save((rows + 2 * columns > 60).long(), here / "plane.pt")
    before = (here / "plane.pt").read_bytes()
    told = refused(capsys, "dynamics basins plane.pt --output plane.pt")
    assert "--output is plane.pt; allowed: a name that ends in .json" in told
    assert (here / "plane.pt").read_bytes() == before
    command.main(["dynamics", "basins", "plane.pt", "--boxes", "4", "2", "4", "8"])
    assert json.loads((here / "basins.json").read_text())["entropy"]["origin"]["boxes"] == [2, 4, 8]


@pytest.fixture
def measures(model, tiny, here):
    """The line of each measure on something to measure, and the files that it writes."""
    ds.noise.random(1, (1, 8, 8), seed=1).write(here / "inputs")
    ds.record(tiny, ds.noise.perturbed(5, tiny.shape, epsilon=1.0), here / "run.zarr", steps=3)
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    torch.save((rows + 2 * columns > 60).long(), here / "plane.pt")
    of_model = f"--model {model} --device cpu --num_steps 1"
    plane = "--num_prompts_per_direction 3 2 --len_per_direction 8 4"
    return {
        f"dynamics spectrum {of_model} --k 2 --vectors vectors": [
            "spectrum.json",
            "spectrum.kept/noise_0000.npz",
            "vectors/noise_0000.pt",
        ],
        "dynamics divergence run.zarr": ["divergence.npz", "divergence.png"],
        f"dynamics growth {of_model} {plane} --picture ridges.svg": ["growth.npz", "ridges.svg"],
        f"dynamics lyapunov {of_model} --level 1 --iterations 40 --discard 0": [
            "lyapunov.json",
            "lyapunov.npz",
        ],
        "dynamics geometry run.zarr": ["geometry.json", "geometry.png"],
        "dynamics basins plane.pt": ["basins.json"],
        "dynamics verdict plane.pt": ["verdict.json"],
    }


def test_no_file_is_replaced_unless_that_is_asked_for(measures, here, capsys):
    for line, files in measures.items():
        for name in files:
            (here / name).parent.mkdir(exist_ok=True)
            (here / name).write_bytes(b"mine")
            told = refused(capsys, line)
            assert f"{name} exists; " in told and "(--overwrite) or name another --" in told
            if "--num_steps" in line and "--resume" not in told:
                assert f"{name} cannot be resumed" in refused(capsys, f"{line} --resume")
            assert (here / name).read_bytes() == b"mine"
            assert not [other for other in files if other != name and (here / other).exists()]
            (here / name).unlink()
        command.main(line.split())
        assert all((here / name).exists() for name in files)
        (here / files[-1]).write_bytes(b"mine")
        command.main([*line.split(), "--overwrite"])
        assert (here / files[-1]).read_bytes() != b"mine"


def test_the_noises_that_are_measured_are_never_the_output(measures, here, capsys):
    before = (here / "inputs" / "noise_0000.pt").read_bytes()
    line = f"{next(iter(measures))} --overwrite --vectors {here}/inputs/../inputs"
    assert "inputs/*.pt, which is read; name another path" in refused(capsys, line)
    assert (here / "inputs" / "noise_0000.pt").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named_before_anything_is_measured(measures, here, capsys):
    (here / "file").write_text("")
    (here / "folder.json").mkdir()
    spectrum, divergence, growth, lyapunov, *_ = measures
    for line, place in (
        (f"{spectrum} --vectors /proc/v", "/proc/v/*.pt"),
        (f"{spectrum} --output file/s.json", "file/s.json"),
        (f"{divergence} --picture file/p.png", "file/p.png"),
        (f"{growth} --output file/g.npz", "file/g.npz"),
        (f"{lyapunov} --output folder.json --overwrite", "folder.json"),
        (f"{lyapunov} --checkpoint file/l.npz", "file/l.npz"),
    ):
        assert f"cannot write {place}: " in refused(capsys, line)
    for line, allowed in ((spectrum, ".json"), (growth, ".npz"), (lyapunov, ".json")):
        for place in (".", "/", "inputs"):
            told = refused(capsys, f"{line} --output {place}")
            assert f"--output is {place}; allowed: a name that ends in {allowed}" in told
    assert "--checkpoint is a.json; allowed: " in refused(
        capsys, f"{lyapunov} --output a.json --checkpoint a.json"
    )
    assert sorted(path.name for path in here.iterdir()) == sorted(
        ["inputs", "run.zarr", "plane.pt", "file", "folder.json"]
    )


def test_what_is_refused_as_it_begins_leaves_and_replaces_nothing(measures, here, capsys):
    lines = [line for line in measures if "--num_steps" in line]
    before = sorted(here.rglob("*"))
    for line in lines:
        assert "1001" in refused(capsys, line.replace("--num_steps 1", "--num_steps 1001"))
    assert sorted(here.rglob("*")) == before
    for line in lines:
        command.main(line.split())
    written = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    for line in lines:
        refused(capsys, line.replace("--num_steps 1", "--num_steps 1001") + " --overwrite")
    assert written == {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", ["run.zarr", "run"])
def test_a_damaged_recording_is_told_in_one_line(mnist, here, capsys, out):
    ds.record(
        mnist,
        ds.noise.perturbed(5, mnist.shape, epsilon=1.0),
        here / out,
        steps=2,
        layers=["conv_in"],
    )
    damaged = max(
        (here / out / "sequence" if out == "run.zarr" else here / out / "sequences").rglob("*"),
        key=lambda path: path.stat().st_size if path.is_file() else 0,
    )
    damaged.write_bytes(damaged.read_bytes()[:-100])
    for measure in ("divergence", "geometry", "commitment --device cpu", "u_turn --levels 1 --device cpu"):
        told = refused(capsys, f"dynamics {measure} {out}")
        assert told.startswith(f"error: {out} is damaged: sequence")
        assert f"`denoscope verify store {out}`" in told and "--resume" in told
    with pytest.raises(ds.UserError, match="cannot be read"):
        ds.open(here / out).final.to_numpy()
    with pytest.raises(SystemExit) as found:
        command.main(["verify", "store", out])
    assert found.value.code == 1 and damaged.name in capsys.readouterr().out


def test_a_commitment_that_is_refused_leaves_no_file(mnist, here, capsys):
    ds.record(mnist, ds.noise.random(2, mnist.shape), here / "final.zarr", steps=2, extract_states=False)
    assert "holds final images only" in refused(capsys, "dynamics commitment final.zarr --device cpu")
    assert not (here / "commitment.npz").exists()


def test_a_sweep_of_epsilons_is_that_of_the_library(mnist, here, capsys):
    for epsilon in (0.003, 0.01, 0.03, 10):
        ds.noise.perturbed(3, mnist.shape, epsilon=epsilon).write(here / "inputs")
    rec = ds.record(mnist, ds.noise.read(here / "inputs"), here / "run.zarr", steps=3, layers=["conv_in"])
    command.main(["dynamics", "sweep", "run.zarr"])
    found = dynamics.epsilon_sweep(dynamics.divergence(rec))
    assert json.loads((here / "sweep.json").read_text())["growth"] == found.growth.tolist()
    lines = capsys.readouterr().out.splitlines()
    assert (
        [line.endswith("linear") for line in lines[:4]] == found.linear.tolist() == [True, True, True, False]
    )
    assert lines[4:] == ["sweep.json", "sweep.png"]
    ds.noise.perturbed(3, mnist.shape, epsilon=1).write(here / "one")
    ds.record(mnist, ds.noise.read(here / "one"), here / "one.zarr", steps=1, layers=["conv_in"])
    assert "pairs of 1 epsilons; allowed: 3 or more" in refused(capsys, "dynamics sweep one.zarr --overwrite")


def test_similarity_compares_layers_and_steps(tiny, here, capsys):
    rec = ds.record(
        tiny, ds.noise.random(9, tiny.shape), here / "run.zarr", steps=3, layers=["conv_in", "mid_block"]
    )
    command.main(["dynamics", "similarity", "run.zarr", "--steps", "0", "-1"])
    written = json.loads((here / "similarity.json").read_text())
    assert written["sets"] == ["conv_in, step 0", "conv_in, step 2", "mid_block, step 0", "mid_block, step 2"]
    states = [rec.states[layer][:, step].to_numpy() for layer in ("conv_in", "mid_block") for step in (0, 2)]
    assert written["debiased"] == dynamics.cka_matrix(states).debiased.tolist()
    assert "conv_in, step 0  most like " in capsys.readouterr().out and (here / "similarity.png").exists()
    for flags, line in (
        ("--layers conv_out", "run.zarr has no layer 'conv_out'; it has conv_in, mid_block"),
        ("--steps 3", "holds no states of step 3; it has 0, 1, 2"),
        (
            "--layers conv_in",
            "conv_in in one step leaves nothing to compare; name several --layers or --steps",
        ),
    ):
        assert line in refused(capsys, f"dynamics similarity run.zarr {flags} --overwrite")


def test_a_full_spectrum_adds_up_to_its_determinant(model, here, capsys):
    x = ds.noise.random(1, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = f"dynamics full_spectrum --model {model} --device cpu --num_steps 2 --dtype float64 --clip_sample False"
    command.main(line.split())
    denoiser = ds.load(model, device="cpu", dtype="float64", clip_sample=False)
    expected = dynamics.full_spectrum(denoiser, x.batch([0]), steps=2)
    written = json.loads((here / "full_spectrum.json").read_text())
    np.testing.assert_allclose(written["exponents"], expected.exponents, rtol=1e-12)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"64 exponents, {(expected.exponents > 0).sum()} above 0")
    assert told[1] == f"sum {expected.exponents.sum():.10g}, ln|det| {expected.log_det:.10g}"
    assert told[3:] == ["full_spectrum.json", "full_spectrum.png"] and (here / "full_spectrum.npz").exists()
    assert "full_spectrum.json exists; resume it (--resume)" in refused(capsys, line)


def test_uncertainty_asks_random_points_of_a_plane(here, capsys):
    flags = "--num_prompts_per_direction 3 3 --len_per_direction 60 60 --num_steps 1 --device cpu"
    line = f"dynamics uncertainty {flags} --points 40 --epsilons 3 10 30 --seed 2"
    command.main(line.split())
    denoiser = ds.load("mnist", device="cpu")
    plane = ds.noise.plane((3, 3), denoiser.shape, lengths=(60, 60))
    points = np.random.default_rng(2).uniform(-30, 30, (40, 2))
    where = ds.basins.label_of(denoiser, plane, steps=1, noise_seed=2)
    expected = dynamics.uncertainty_exponent(where, points, [3, 10, 30], seed=2)
    written = json.loads((here / "uncertainty.json").read_text())
    assert written["fractions"] == expected.fractions.tolist()
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("epsilon 3 ") and told[-2:] == ["uncertainty.json", "uncertainty.png"]
    command.main([*line.split(), "--resume"])
    assert json.loads((here / "uncertainty.json").read_text()) == written
    for other in ("--reject", "--scheduler ddpm", "--clip_sample False"):
        assert "cannot be resumed, since it differs in" in refused(capsys, f"{line} --resume {other}")
    command.main([*line.split(), "--resume", "--batch_size", "3"])
    assert json.loads((here / "uncertainty.json").read_text()) == written
    assert written["origin"]["fingerprint"]["num_steps"] == 1
    assert "--points is 1; allowed: an integer of at least 2" in refused(capsys, line.replace("40", "1"))
    told = refused(
        capsys, line.replace("epsilons 3", "epsilons 1e-9 3") + " --output other.json --checkpoint other.npz"
    )
    assert "epsilons" in told and "1e-09; allowed: at least" in told
    assert not (here / "other.npz").exists()


def test_an_orbit_is_kept_and_measured(model, here, capsys):
    x = ds.noise.random(1, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = f"dynamics orbit --model {model} --device cpu --num_steps 2 --discard 3 --loop_noise common"
    command.main(f"{line} --iterations 150".split())
    told, denoiser = capsys.readouterr(), ds.load(model, device="cpu")
    assert (
        "period: none of up to 50 iterations" in told.out
        and "correlation dimension: not measured" in told.out
    )
    loop = dynamics.closed_loop(denoiser, 0.5, noise_seed=42, noise="common", steps=2)
    x_0 = ds.sample(denoiser, x.batch([0]), steps=2)[0]
    states = dynamics.orbit(loop, x_0, iterations=220, discard=3)
    np.testing.assert_array_equal(checkpoint.read("orbit.npz")["state"], states[:150])
    command.main(f"{line} --iterations 220 --resume".split())
    np.testing.assert_array_equal(checkpoint.read("orbit.npz")["state"], states)
    written, told = json.loads((here / "orbit.json").read_text()), capsys.readouterr().out
    assert written["recurrence"]["determinism"] == dynamics.recurrence(states, theiler=10).determinism
    assert told.splitlines()[-2:] == ["orbit.json", "orbit.png"] and "recurrence: determinism" in told


def test_an_orbit_diagram_is_that_of_the_library(model, here, capsys):
    x = ds.noise.random(1, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = f"dynamics orbit_diagram --model {model} --device cpu --num_steps 4 --discard 5 --iterations 7"
    command.main(f"{line} --levels 0.25 1".split())
    denoiser = ds.load(model, device="cpu")
    x_0 = ds.sample(denoiser, x.batch([0]), steps=4)[0]
    written, told = (
        json.loads((here / "orbit_diagram.json").read_text()),
        capsys.readouterr().out.splitlines(),
    )
    for row, level in enumerate((0.25, 1.0)):
        loop = dynamics.closed_loop(denoiser, level, noise_seed=42, steps=4)
        states = dynamics.orbit(loop, x_0, iterations=7, discard=5)
        means = states.double().flatten(1).mean(1).tolist()
        assert written["values"][row] == means and written["computed_from"]["begin"][str(level)] == loop.begin
        assert told[row] == f"level {level:<5g} mean pixel {min(means):+.6f} to {max(means):+.6f}"
    assert told[2:] == ["orbit_diagram.json", "orbit_diagram.png"]
    assert "orbit_diagram.json exists; resume it (--resume)" in refused(capsys, line)
    command.main(f"{line} --output each.json --checkpoint each.npz".split())
    assert json.loads((here / "each.json").read_text())["parameters"] == [0.25, 0.5, 0.75, 1]
    told = refused(
        capsys, f"{line} --levels 0.5 2 --output other.json --checkpoint other.npz --picture other.png"
    )
    assert "level is 2.0; allowed: 0.25 to 1" in told and not (here / "other.npz").exists()


def test_local_expansion_prints_each_step(model, here, capsys):
    x = ds.noise.random(1, (1, 8, 8), seed=1)
    x.write(here / "inputs")
    line = f"dynamics local_expansion --model {model} --device cpu --num_steps 3 --k 2"
    command.main(line.split())
    expected = dynamics.local_expansion(ds.load(model, device="cpu"), x.batch([0]), 2, steps=3)
    written = json.loads((here / "local_expansion.json").read_text())
    assert written["rates"] == expected.rates.tolist() and written["origin"]["fingerprint"]["num_steps"] == 3
    lines = capsys.readouterr().out.splitlines()
    assert [float(rate) for line in lines[:3] for rate in line.split()[2:]] == pytest.approx(
        expected.rates.ravel().tolist(), abs=5e-4
    )
    assert lines[3:] == ["local_expansion.json", "local_expansion.png"]
    assert "k is 65; allowed: 1 to 64" in refused(capsys, line.replace("--k 2", "--k 65 --overwrite"))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dtw", "frechet", "hausdorff"])
def test_distances_name_the_nearest_trajectory(tiny, here, capsys, metric):
    rec = ds.record(tiny, ds.noise.random(4, tiny.shape), here / "run.zarr", steps=3)
    command.main(["dynamics", "distances", "run.zarr", "--metric", metric])
    expected = dynamics.trajectory_distances(rec.sequence.to_numpy(), metric=metric).values
    written = json.loads((here / "distances.json").read_text())
    assert written["values"] == expected.tolist()
    assert written["computed_from"]["fingerprint"] == rec.origin["fingerprint"]
    nearest = (expected + np.diag([np.inf] * 4)).argmin(1)
    assert capsys.readouterr().out.splitlines() == [
        *(f"{written['samples'][k]}  nearest {written['samples'][nearest[k]]}: {expected[k, nearest[k]]:.4g} ({metric})" for k in range(4)),
        "distances.json",
        "distances.png",
    ]  # fmt: skip


def test_distances_of_what_cannot_be_compared_are_refused(tiny, here, capsys):
    ds.record(tiny, ds.noise.random(1, tiny.shape), here / "one.zarr", steps=2)
    assert "one.zarr holds one sample; allowed: two or more" in refused(capsys, "dynamics distances one.zarr")
    ds.record(tiny, ds.noise.random(2, tiny.shape), here / "final.zarr", steps=2, extract_states=False)
    assert "final.zarr" in refused(capsys, "dynamics distances final.zarr")
    ds.record(tiny, ds.noise.random(2, tiny.shape), here / "run.zarr", steps=2)
    told = refused(capsys, "dynamics distances run.zarr --metric manhattan")
    assert "--metric" in told and "manhattan" in told and "frechet" in told
    assert not (here / "distances.json").exists()


def test_no_part_of_the_recording_that_is_read_is_an_output(tiny, here, capsys):
    ds.record(
        tiny, ds.noise.random(5, tiny.shape), here / "run.zarr", steps=2, layers=["conv_in", "mid_block"]
    )
    told = refused(capsys, "dynamics geometry run.zarr --output run.zarr/zarr.json --overwrite")
    assert "--output is run.zarr/zarr.json, a part of run.zarr, which is read" in told
    ds.open(here / "run.zarr").check()
    flags = "--layers conv_in conv_in"
    assert "leaves nothing to compare" in refused(capsys, f"dynamics similarity run.zarr {flags}")


def test_results_say_what_they_were_computed_from(mnist, model, here):
    rec = ds.record(
        mnist, ds.noise.random(5, mnist.shape), here / "run.zarr", steps=2, layers=["conv_in", "mid_block"]
    )
    ds.noise.random(1, (1, 8, 8), seed=1).write(here / "inputs")
    grid = "--num_prompts_per_direction 26 25 --len_per_direction 60 60 --num_steps 1 --device cpu"
    loop = f"--model {model} --device cpu --num_steps 2 --iterations 60 --discard 0 --loop_noise common"
    for line in (
        "geometry run.zarr", "similarity run.zarr", f"lyapunov {loop} --k 1", f"orbit {loop}", "basins basins.npz",
        "verdict basins.npz",
    ):  # fmt: skip
        if "basins.npz" in line and not (here / "basins.npz").exists():
            command.main(f"basins map {grid}".split())
        command.main(f"dynamics {line}".split())
    found = {path.stem: json.loads(path.read_text()) for path in here.glob("*.json")}
    for name in ("geometry", "similarity"):
        assert found[name]["computed_from"] == {
            "recording": "run.zarr",
            "fingerprint": rec.attrs["fingerprint"],
        }
    for origin in (found["orbit"]["computed_from"], found["lyapunov"]["origin"]):
        assert origin["fingerprint"]["num_steps"] == 2 and (origin["begin"], origin["loop_noise"]) == (
            1,
            "common",
        )
    for name in ("basins", "verdict"):
        origin = found[name]["computed_from"]
        assert origin["plane"] == "basins.npz" and origin["map"]["plane"]["counts"] == [26, 25]
        assert origin["map"]["num_steps"] == 1


def test_an_unfinished_recording_is_no_one_s_nan(mnist, here, recorder, capsys):
    ds.noise.random(8, mnist.shape).write(here / "inputs")
    line = "record --inputs inputs --output run.zarr --num_steps 2 --batch_size 4 --lanes 4 --device cpu"
    running = recorder.run(*line.split(), dies_at=150)
    assert running.code != 0 and not ds.open(here / "run.zarr").dataset["complete"].all()
    for measure in ("geometry", "u_turn --levels 1 --device cpu", "commitment --device cpu"):
        told = refused(capsys, f"dynamics {measure} run.zarr")
        assert "run.zarr is not finished; resume it (--resume)" in told
    assert recorder.run(*line.split(), "--resume").code == 0
    told = refused(capsys, "dynamics u_turn run.zarr --levels 1 --device cpu --samples 9")
    assert "--samples is 9; allowed: 1 to 8, the images in run.zarr" in told
