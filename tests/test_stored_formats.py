"""Files that earlier versions stored are opened, verified and gone on with, to the same bits.

`fixtures/b8ac056/README.md` and `fixtures/3b767cf/README.md` say what they are. Last bits depend on the processor and on the versions of libraries: where
plain PyTorch gives the bits that it gave where the files were made, all is compared bit for bit. Elsewhere half-finished
work is first marked as begun here, and numbers are compared within rounding.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import stored_runs as runs
import torch
import xarray
from scipy import stats

import denoscope as ds
from denoscope import cli
from denoscope.recording import verify

# NumPy 2's warning about how some diffusers schedulers convert tensors.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")

STORED = Path(__file__).parent / "fixtures" / "b8ac056"
MANIFEST = json.loads((STORED / "manifest.json").read_text())
OF_MACHINES = {"probe_sha256", "device", "threads", "torch", "diffusers", "numpy", "scheduler_config"}
"""Names in a fingerprint that another machine may have otherwise."""
OF_BITS = {"the map there", "the maps there", "the orbit's state", "observable"}
"""Names in the identity of a measure that hold hashes of what was computed."""
OF_ORIGIN = {"computed_from", "origin"}
SAYING_SO = {"same_bits", "warnings"}
"""Names in what a measure gives that say that bits are not the recording's."""
PROSE = {"warnings", "reason"}
"""Names of sentences, whose wording may change."""
NEWER = "norms (L2)"
"""A part of the warning that planes of before did not have."""
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}
OTHER_SUMS = (
    "full_spectrum/exponents",
    "geometry.json/participation/corrected",
    "geometry.json/participation/ratio",
    "lyapunov/intervals",
    "similarity.json/values",
    "u_turn/interval",
    "u_turn/turn_distance_interval",
)
"""Numbers whose sums, quantiles or singular values are computed in another order, which changes their last digits."""
LAST_DIGITS = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module", autouse=True)
def exact() -> Iterator[bool]:
    """Whether bits must be those of the files, with as many threads as those were made with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(MANIFEST["machine"]["threads"])
    yield runs.machine() == MANIFEST["machine"]
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "b8ac056"
    shutil.copytree(STORED, folder)
    with tarfile.open(STORED / "recordings.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture(autouse=True)
def stored(unpacked, monkeypatch) -> Path:
    """All fixture files, in the tests' working folder; no test changes them."""
    monkeypatch.chdir(unpacked)
    return unpacked


def recordings(kind: str) -> list[str]:
    """The names of the recordings that are complete, half-finished or killed."""
    prefix = f"recordings/{kind}/"
    return sorted(
        {name.removeprefix(prefix).split("/")[0] for name in MANIFEST["files"] if name.startswith(prefix)}
    )


def contents(path: Path) -> dict[str, Any]:
    """All files of a recording, its date left out."""
    found: dict[str, Any] = {
        file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }
    for name, key in (("zarr.json", "attributes"), ("recording.json", "attrs")):
        if name in found:
            found[name] = json.loads(found[name])
            found[name][key].pop("created")
            found[name][key].pop("noise_floor", None)
    return found


def compare(found: Any, wanted: Any, exact: bool, what: str = "") -> None:
    """Both are equal: bit for bit, or within rounding."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype, what
    if found.dtype.kind != "f" or (exact and not what.startswith(OTHER_SUMS)):
        assert found.tobytes() == wanted.tobytes(), what
    else:
        np.testing.assert_allclose(found, wanted, **LAST_DIGITS if exact else ROUNDING, err_msg=what)


def without_newer(messages: Any) -> Any:
    """Sentences without those that earlier versions did not say."""
    return [line for line in messages if NEWER not in line] if isinstance(messages, list) else messages


def compare_plain(found: Any, wanted: Any, exact: bool, what: str = "") -> None:
    """All expected JSON values are present and equal."""
    if isinstance(wanted, Mapping):
        for name, value in wanted.items():
            if name in OF_ORIGIN or (not exact and name in SAYING_SO):
                continue
            if name in PROSE:
                assert isinstance(found[name], type(value)), what
                assert bool(without_newer(found[name])) == bool(value), what
            else:
                compare_plain(found[name], value, exact, f"{what}/{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), what
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            compare_plain(one, other, exact, f"{what}/{number}")
    elif isinstance(wanted, float) and wanted == wanted and (not exact or what.startswith(OTHER_SUMS)):
        within = LAST_DIGITS if exact else ROUNDING
        assert found == pytest.approx(wanted, rel=within["rtol"], abs=within["atol"]), what
    else:
        assert found == wanted or (found != found and wanted != wanted), what


def compare_recordings(path: Path, other: Path, exact: bool) -> None:
    found, wanted = ds.open(path), ds.open(other)
    for name in wanted.dataset.variables:
        compare(found.dataset[name], wanted.dataset[name], exact, str(name))


def run_command(*words: object) -> None:
    cli.main([str(word) for word in words])


def finished_files(path: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of the files that marks name: both change when a file is rewritten."""
    folder = path / "complete" / "marks" if path.suffix == ".zarr" else path / ".recording"
    marks = [json.loads(mark.read_text()) for mark in folder.glob("[0-9]*.json")]
    stats = {name: (path / name).stat() for mark in marks for name in mark["files"]}
    return {name: (found.st_ino, found.st_mtime_ns) for name, found in stats.items()}


def kept_in(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description in a measure's file, read by plain NumPy."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return arrays, json.loads(str(arrays.pop("told")))


def compare_kept(path: Path, other: Path, exact: bool, of: str) -> None:
    (found, description), (wanted, expected) = kept_in(path), kept_in(other)
    for name, values in with_new_intervals(of, wanted).items():
        if exact or name not in SAYING_SO:
            compare(found[name], values, exact, f"{of}/{name}")
        assert description["dims"][name] == expected["dims"][name]
    assert set(description["coords"]) >= set(expected["coords"])
    if exact:
        compare_plain(description["attrs"], expected["attrs"], exact)


def with_new_intervals(of: str, numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers of b8ac056 with the intervals that have changed on purpose, since their coverage was measured.

    That of the distance of u-turns is computed from the stored distances by SciPy alone.
    """
    if of == "u_turn":
        squares = np.square(numbers["distance"])
        mean, error = squares.mean(axis=0), stats.sem(squares)
        reach = stats.t.ppf(0.975, len(squares) - 1) * error / mean
        ends = np.sqrt(np.stack([mean * np.exp(-reach), mean * np.exp(reach)], axis=-1))
        plain = isinstance(numbers["distance"], list)
        numbers["turn_distance_interval"] = ends.tolist() if plain else ends
    elif of == "fractions.json":
        found = ds.dynamics.basin_fractions(torch.load("labels/plane.pt")).to_dict()
        numbers["fractions"] |= {name: found[name] for name in ("intervals", "effective_number")}
    elif of == "geometry.json":
        found = ds.dynamics.participation(ds.open("recordings/whole/ddim.zarr").sequence).to_dict()
        numbers["participation"]["intervals"] = found["intervals"]
    return numbers


def by_default(every: Iterable[Any], chosen: Container[Any]) -> list[Any]:
    """Parameters of a test, of which `make test` takes the chosen ones."""
    return [one if one in chosen else pytest.param(one, marks=pytest.mark.slow) for one in every]


# What is there --------------------------------------------------------------------------------------------------------


def test_the_files_are_those_that_were_made(stored):
    for name, expected in MANIFEST["files"].items():
        assert hashlib.sha256((stored / name).read_bytes()).hexdigest() == expected, name


@pytest.mark.parametrize("name", recordings("whole"))
def test_a_recording_opens_and_is_sound(name):
    path = Path("recordings/whole") / name
    rec = ds.open(path)
    lost = ["sample_0003"] if name == "nonfinite.zarr" else []
    assert rec.dataset["complete"].all()
    assert rec.dataset["sample"][rec.dataset["nonfinite"].any("state")].to_numpy().tolist() == lost
    assert np.isfinite(rec.final.drop_sel(sample=lost)).all()
    assert rec.attrs["format_version"] == 1 and rec.attrs["versions"]["denoscope"] == "0.1.0"
    rec.check()
    report = verify.store(path)
    assert report.sound, report
    if name.endswith(".zarr"):
        plain = xarray.open_zarr(path)
        for array in plain.data_vars:
            compare(plain[array], rec.dataset[array], True, str(array))


def test_all_ways_of_storing_one_run_hold_the_same_numbers():
    sequence = ds.open("recordings/whole/ddim.zarr").sequence.to_numpy()
    first = ds.open("recordings/whole/ddim.zarr").states["first"].to_numpy()
    for other in ("ddim_pt", "estimates_pt", "estimates.zarr", "reduced.zarr", "projected.zarr"):
        compare(ds.open(f"recordings/whole/{other}").sequence, sequence, True, other)
    compare(ds.open("recordings/whole/ddim_pt").states["first"], first.reshape(5, 4, -1), True)
    for other in ("final.zarr", "final_pt"):
        compare(ds.open(f"recordings/whole/{other}").final, sequence[:, -1], True, other)
    reduced = ds.open("recordings/whole/reduced.zarr").states["first"]
    compare(reduced, first[:, [0, 3], :2].reshape(5, 2, -1).astype(np.float16), True)


def whole_of_the_small_network() -> list[str]:
    # These do not hold all of their origin: a recording by its former path, a condition given in Python.
    lacking = ("swapped.zarr", "guided.zarr")
    return [name for name in recordings("whole") if name in runs.RECORDINGS and name not in lacking]


RECOMPUTED = ("ddim.zarr", "ddpm_independent.zarr", "noised_independent.zarr", "noised_pt", "plane.zarr", "projected.zarr",
              "steered.zarr")  # fmt: skip
"""One recording of each kind of what a recording is computed from."""


@pytest.mark.parametrize("name", by_default(whole_of_the_small_network(), RECOMPUTED))
def test_samples_of_a_recording_are_computed_again(name, exact):
    path, scheduler = Path("recordings/whole") / name, runs.RECORDINGS[name].get("scheduler", "DDIMScheduler")
    inputs = None if "sequence" in ds.open(path).dataset else "noises/random"
    report = verify.store(path, recompute=2, inputs=inputs, source=runs.denoiser(scheduler).network)
    assert report.recomputed == 2
    assert report.sound and not report.notes if exact else report.notes


@pytest.mark.parametrize(
    "name", by_default([*runs.COMMANDS, "mnist_measured.zarr"], ("mnist_plane_pt", "mnist_measured.zarr"))
)
def test_samples_of_the_bundled_model_are_computed_again_by_the_command(name, exact, capsys):
    inputs = ["--inputs", "noises/digits_plane"] if name == "mnist_plane_pt" else []
    try:
        run_command("verify", "store", f"recordings/whole/{name}", "--recompute", 1, *inputs)
    except SystemExit:
        assert not exact
    printed = capsys.readouterr().out
    assert "1 sample computed again" in printed
    assert printed.strip().endswith("sound") or not exact


def test_a_watched_call_is_made_again(exact, tmp_path):
    compare_recordings(runs.watched(tmp_path / "run.zarr").path, Path("recordings/whole/watched.zarr"), exact)
    assert ds.open("recordings/whole/watched.zarr").attrs["pipeline"] == "DDIMPipeline"


@pytest.mark.parametrize("name", runs.NOISES)
def test_noises_are_read_and_made_again(name, exact, tmp_path):
    runs.NOISES[name]().write(tmp_path)
    stored, made = ds.noise.read(f"noises/{name}"), ds.noise.read(tmp_path)
    assert stored.names == made.names and stored.parameters == made.parameters
    assert list(stored.coords) == list(made.coords)
    for coordinate in stored.coords:
        compare(stored.coords[coordinate], made.coords[coordinate], exact, coordinate)
    everything = range(len(stored))
    compare(made.batch(everything), stored.batch(everything), exact)
    if exact:
        former, written = contents(Path("noises") / name), contents(tmp_path)
        for path in [path for path in written if path.endswith(".json")]:
            manifest = json.loads(written.pop(path))
            del manifest["checksum"]  # as manifests of before
            assert json.loads(former.pop(path)) == manifest | {"format": "denoscope noise 1"}
        assert former == written


def test_a_plan_is_read_and_written_again(tmp_path):
    assert [str(item) for item in ds.read_plan("plans/steering.json")] == [
        str(item) for item in runs.steering()
    ]
    ds.write_plan(ds.read_plan("plans/steering.json"), tmp_path / "plan.json")
    assert (tmp_path / "plan.json").read_bytes() == Path("plans/steering.json").read_bytes()


@pytest.mark.parametrize("folder", ["mnist_plane_pt", "mnist_pt", "pipeline"])
def test_predictions_are_made_again(folder, exact, tmp_path):
    tensors = "pipeline" if folder == "pipeline" else f"recordings/whole/{folder}"
    stored = Path(folder if folder == "pipeline" else f"predictions/{folder}")
    reject = [] if folder == "pipeline" else ["--reject"]
    run_command("classify", "--tensors", tensors, "--output", tmp_path, *reject)
    found, wanted = (json.loads((place / "predictions.json").read_text()) for place in (tmp_path, stored))
    compare_plain(found, wanted, exact)
    if (stored / "classifications_plane.pt").exists():
        planes = [torch.load(place / "classifications_plane.pt") for place in (tmp_path, stored)]
        assert torch.equal(*planes)


@pytest.mark.parametrize("format", ["safetensors", "npz", "pt"])
def test_exports_are_made_again(format, tmp_path):
    ds.open("recordings/whole/estimates.zarr").export(tmp_path / "out", format=format)
    assert contents(tmp_path / "out") == contents(Path("exports") / format)


def in_one_unit(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers of b8ac056 without its dimension per cell: the one per spacing between cells takes its place."""
    if dimension := numbers.get("dimension"):
        numbers["dimension"] = {
            "value": dimension["spaced_value"],
            "fit": dimension["spaced_fit"],
            "mixed_share": dimension["mixed_share"],
        }
    return numbers


@pytest.mark.parametrize("name", by_default(runs.NUMBERS, runs.NUMBERS.keys() - {"expansion.json"}))
def test_numbers_are_measured_again(name, exact, tmp_path):
    picture = ["--picture", tmp_path / "picture.png"] if name in runs.PICTURED else []
    run_command(*runs.NUMBERS[name], "--output", tmp_path / name, *picture)
    if name.endswith(".json"):
        found, wanted = (json.loads(path.read_text()) for path in (tmp_path / name, Path("numbers") / name))
        compare_plain(found, with_new_intervals(name, in_one_unit(wanted)), exact, name)
    else:
        compare_kept(tmp_path / name, Path("numbers") / name, exact, name)


def test_a_map_of_basins_is_read_by_the_commands(tmp_path, capsys):
    run_command("dynamics", "basins", "measures/mnist_basins/whole.npz", "--output", tmp_path / "basins.json")
    assert "class " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_command(
            "dynamics", "basins", "measures/mnist_basins/half.npz", "--output", tmp_path / "half.json"
        )
    assert "is not finished" in capsys.readouterr().err


# What is half finished ------------------------------------------------------------------------------------------------


def crc(content: Any) -> int:
    return google_crc32c.value(json.dumps(content, sort_keys=True).encode())


def apart(stored: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """The names of the values in which two fingerprints differ, including nested ones."""
    found = set()
    for name in {*stored, *now}:
        one, other = stored.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= apart(one, other)
        elif one != other:
            found.add(name)
    return found


def begun_here(path: Path, fresh: Path) -> None:
    """Let a recording say that it was begun on this machine, with the checksums of its layout.

    That its fingerprint differs from one that is made here by nothing but what machines differ in is checked.
    """
    zarr = path.suffix == ".zarr"
    root, key = (path / "zarr.json", "attributes") if zarr else (path / "recording.json", "attrs")
    layout = (path / "complete" / "marks" if zarr else path / ".recording") / "layout.json"
    content, sums = json.loads(root.read_text()), json.loads(layout.read_text())
    stored, now = content[key]["fingerprint"], dict(ds.open(fresh).attrs["fingerprint"])
    assert apart(stored, now) <= OF_MACHINES
    content[key]["fingerprint"] = now
    assert sums["attributes"]["fingerprint"] == crc(stored)
    sums["attributes"]["fingerprint"] = crc(now)
    sums.pop("checksum")
    root.write_text(json.dumps(content))
    layout.write_text(json.dumps({**sums, "checksum": crc(sums)}, sort_keys=True))


@contextmanager
def streams_of_then() -> Iterator[None]:
    """Draw from the random streams of b8ac056, as what resumes its files does."""
    with pytest.MonkeyPatch.context() as patched:
        for module in ("denoscope.recording.job", "denoscope.foundation.checkpoint"):
            patched.setattr(f"{module}.STREAMS_VERSION", 1)
        yield


UNFINISHED = [(kind, name) for kind in ("half", "killed") for name in recordings(kind)]
RESUMED = {
    ("half", "ddpm_independent_pt"), ("half", "guided.zarr"), ("half", "noised_independent.zarr"),
    ("half", "reduced.zarr"), ("half", "swapped.zarr"), ("killed", "ddim.zarr"), ("killed", "final_pt"),
}  # fmt: skip
"""One of each kind of noise, condition and intervention, in both formats."""


@pytest.mark.parametrize("unfinished", by_default(UNFINISHED, RESUMED), ids="-".join)
def test_a_resumed_recording_has_the_bytes_of_an_unbroken_run(unfinished, exact, tmp_path, capsys):
    kind, name = unfinished
    whole, path = Path("recordings/whole") / name, tmp_path / name
    shutil.copytree(Path("recordings") / kind / name, path)
    report = verify.store(path)
    assert not report.sound and not report.problems and 0 < report.finished < report.samples
    assert int(ds.open(path).dataset["complete"].sum()) == report.finished
    if name in runs.COMMANDS:
        words = [*runs.COMMANDS[name], "--output"]
        again, resume = (lambda out: run_command(*words, out)), lambda: run_command(*words, path, "--resume")
    else:
        again, resume = (lambda out: runs.record(name, out)), lambda: runs.record(name, path, resume=True)
    if not exact:
        with streams_of_then():
            again(tmp_path / f"fresh_{name}")
        compare_recordings(tmp_path / f"fresh_{name}", whole, exact)
        begun_here(path, tmp_path / f"fresh_{name}")
    finished = finished_files(path)
    resume()
    assert finished and finished.items() <= finished_files(path).items(), (
        "a finished sample was written again"
    )
    if exact:
        assert contents(path) == contents(whole)
    else:
        compare_recordings(path, whole, exact)
    assert verify.store(path).sound
    capsys.readouterr()


def begun_here_too(path: Path, fresh: Path) -> None:
    """Make a measure's file say that its work was begun on this machine, like files made here."""
    (arrays, description), (_, now) = kept_in(path), kept_in(fresh)
    stored, identity = description["attrs"]["identity"], now["attrs"]["identity"]
    assert apart(stored, identity) <= OF_MACHINES | OF_BITS
    description["attrs"]["identity"] = identity
    np.savez(path, told=np.array(json.dumps(description)), **arrays)


def compare_measure(name: str, result: Any, path: Path, exact: bool) -> None:
    """Compare a measure's result and its file with those stored."""
    stored = Path("measures") / name
    wanted = with_new_intervals(name, json.loads((stored / "result.json").read_text()))
    compare_plain(runs.numbers_of(result), wanted, exact, name)
    compare_kept(path, stored / "whole.npz", exact, name)


LIKE_ANOTHER = {"patch", "lyapunov_of_a_closed_loop", "mnist_basins", "orbit_diagram", "spectrum"}
"""Measures whose files have the form of another measure's."""


@pytest.mark.parametrize("name", by_default(runs.MEASURES, runs.MEASURES.keys() - LIKE_ANOTHER))
def test_a_resumed_measure_has_the_bits_of_an_unbroken_run(name, exact, tmp_path):
    folder, path, reports = Path("measures") / name, tmp_path / "half.npz", []
    shutil.copy(folder / "half.npz", path)
    measure = runs.MEASURES[name]
    if not exact:
        with streams_of_then():
            measure(checkpoint=tmp_path / "fresh.npz")
        begun_here_too(path, tmp_path / "fresh.npz")
    result = measure(
        checkpoint=ds.Checkpoint(path, resume=True, progress=lambda done, _all: reports.append(done))
    )
    assert reports[0] > 1, "it started again"
    compare_measure(name, result, path, exact)


@pytest.mark.parametrize("name", runs.MEASURES)
def test_a_measure_that_is_finished_gives_its_result_without_work(name, exact, tmp_path):
    folder, path, reports = Path("measures") / name, tmp_path / "whole.npz", []
    shutil.copy(folder / "whole.npz", path)
    if not exact:
        pytest.skip("it was finished on another machine")
    result = runs.MEASURES[name](
        checkpoint=ds.Checkpoint(
            path, resume=True, progress=lambda done, every: reports.append(done == every)
        )
    )
    assert all(reports)
    compare_measure(name, result, path, exact)


def test_the_command_resumes_a_map_of_basins(exact, tmp_path, capsys):
    shutil.copy("measures/mnist_basins/half.npz", tmp_path / "basins.npz")
    line = "--num_prompts_per_direction 2 2 --len_per_direction 60 60 --num_steps 2 --lanes 2 --batch_size 2 --geometry flat "
    line += "--endpoint"
    words = ["basins", "map", *line.split(), "--device", "cpu", "--reject", "--resume"]
    words += ["--output", tmp_path / "basins.npz"]
    if not exact:
        with streams_of_then():
            runs.MEASURES["mnist_basins"](checkpoint=tmp_path / "fresh.npz")
        begun_here_too(tmp_path / "basins.npz", tmp_path / "fresh.npz")
    run_command(*words)
    compare_kept(tmp_path / "basins.npz", Path("measures/mnist_basins/whole.npz"), exact, "mnist_basins")
    capsys.readouterr()


@pytest.mark.parametrize("name", by_default(["lyapunov", "orbit"], ["lyapunov"]))
def test_an_orbit_that_is_finished_goes_on_to_more_iterations(name, exact, tmp_path):
    shutil.copy(Path("measures") / name / "whole.npz", tmp_path / "longer.npz")
    if not exact:
        with streams_of_then():
            runs.MEASURES[name](checkpoint=tmp_path / "here.npz")
        begun_here_too(tmp_path / "longer.npz", tmp_path / "here.npz")
    longer = runs.LONGER[name](checkpoint=ds.Checkpoint(tmp_path / "longer.npz", resume=True))
    fresh = runs.LONGER[name](checkpoint=tmp_path / "anew.npz")
    compare_plain(runs.numbers_of(longer), runs.numbers_of(fresh), exact)


# Files of 3b767cf -----------------------------------------------------------------------------------------------------

LATER = STORED.parent / "3b767cf"
LATER_MANIFEST = json.loads((LATER / "manifest.json").read_text())
LATER_WHOLE = ("ddim.zarr", "noised_independent.zarr", "noised_pt", "ddpm_independent_pt")
LATER_MEASURES = ("mnist_basins", "u_turn")


@pytest.fixture(scope="module")
def later_unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "3b767cf"
    with tarfile.open(LATER / "files.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture
def later(later_unpacked, stored, monkeypatch) -> bool:  # noqa: ARG001
    """Go to the files of 3b767cf; whether bits must be theirs."""
    monkeypatch.chdir(later_unpacked)
    return runs.machine() == LATER_MANIFEST["machine"]


def test_the_later_files_are_those_that_were_made(later):  # noqa: ARG001
    found = {path.as_posix() for path in Path().rglob("*") if path.is_file()}
    assert found == set(LATER_MANIFEST["files"])
    for name, expected in LATER_MANIFEST["files"].items():
        assert hashlib.sha256(Path(name).read_bytes()).hexdigest() == expected, name


def test_later_noises_are_read_and_written_again(later, tmp_path):
    stored = ds.noise.read("noises/random")
    runs.NOISES["random"]().write(tmp_path)
    everything = range(len(stored))
    compare(ds.noise.read(tmp_path).batch(everything), stored.batch(everything), later)
    assert json.loads(Path("noises/random/noise.json").read_text())["format"] == "denoscope noise 2"
    if later:
        assert contents(tmp_path) == contents(Path("noises/random"))


@pytest.mark.parametrize("name", LATER_WHOLE)
def test_a_later_recording_is_sound_and_computed_again(name, later):
    path, scheduler = Path("recordings/whole") / name, runs.RECORDINGS[name].get("scheduler", "DDIMScheduler")
    rec = ds.open(path)
    rec.check()
    assert rec.dataset["complete"].all()
    layout = (path / "complete" / "marks" if path.suffix == ".zarr" else path / ".recording") / "layout.json"
    assert layout.is_file()
    if name != "ddim.zarr":
        assert rec.attrs["fingerprint"]["streams"] == 2
    if path.suffix == ".zarr":
        for array, values in xarray.open_zarr(path).data_vars.items():
            compare(values, rec.dataset[array], True, str(array))
    report = verify.store(path, recompute=2, source=runs.denoiser(scheduler).network)
    assert report.recomputed == 2
    assert report.sound and not report.notes if later else report.notes


@pytest.mark.parametrize("name", ["noised_independent.zarr", "ddpm_independent_pt"])
def test_a_later_recording_is_resumed_to_the_bytes_of_an_unbroken_run(name, later, tmp_path):
    whole, path = Path("recordings/whole") / name, tmp_path / name
    shutil.copytree(Path("recordings/half") / name, path)
    report = verify.store(path)
    assert not report.sound and not report.problems and 0 < report.finished < report.samples
    if not later:
        runs.record(name, tmp_path / f"fresh_{name}")
        compare_recordings(tmp_path / f"fresh_{name}", whole, later)
        begun_here(path, tmp_path / f"fresh_{name}")
    finished = finished_files(path)
    runs.record(name, path, resume=True)
    assert finished and finished.items() <= finished_files(path).items()
    if later:
        assert contents(path) == contents(whole)
    else:
        compare_recordings(path, whole, later)
    assert verify.store(path).sound


def compare_later(name: str, result: Any, path: Path, exact: bool) -> None:
    stored = Path("measures") / name
    compare_plain(runs.numbers_of(result), json.loads((stored / "result.json").read_text()), exact, name)
    (found, description), (wanted, expected) = kept_in(path), kept_in(stored / "whole.npz")
    for array, values in wanted.items():
        if exact or array not in SAYING_SO:
            compare(found[array], values, exact, f"{name}/{array}")
    assert description["dims"] == expected["dims"]


@pytest.mark.parametrize("kept", ["half", "whole"])
@pytest.mark.parametrize("name", LATER_MEASURES)
def test_a_later_measure_is_resumed_to_the_bits_of_an_unbroken_run(name, kept, later, tmp_path):
    path, reports, measure = tmp_path / "a.npz", [], runs.MEASURES[name]
    shutil.copy(Path("measures") / name / f"{kept}.npz", path)
    arrays, description = kept_in(path)
    assert ds.Checkpoint(path).read().sizes and description["attrs"]["identity"] and arrays
    if not later:
        if kept == "whole":
            pytest.skip("it was finished on another machine")
        measure(checkpoint=tmp_path / "fresh.npz")
        begun_here_too(path, tmp_path / "fresh.npz")
    result = measure(
        checkpoint=ds.Checkpoint(path, resume=True, progress=lambda *counts: reports.append(counts))
    )
    assert reports[0][0] > 1 if kept == "half" else all(done == every for done, every in reports)
    compare_later(name, result, path, later)


def test_a_later_cache_answers_for_the_points_of_a_map(later, tmp_path):
    """Where bits are those of the files, the network is called at timestep 0 alone, by the probe of the fingerprint."""
    shutil.copy("points.db", tmp_path / "points.db")
    times: list[float] = []
    handle = runs.mnist().network.register_forward_pre_hook(
        lambda _module, _arguments, named: times.append(float(named["timestep"])), with_kwargs=True
    )
    result = runs.MEASURES["mnist_basins"](cache=tmp_path / "points.db", checkpoint=tmp_path / "a.npz")
    handle.remove()
    assert times
    if later:
        assert set(times) == {0.0}
    wanted = ds.Checkpoint("measures/mnist_basins/whole.npz").read()
    for name in ("label", "confidence"):
        compare(result[name], wanted[name], later, name)
