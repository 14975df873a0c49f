"""`verify`: broken promises fail, measured noise floors have their known values, and every damage is named."""

import errno
import itertools
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from outputs import OUTPUTS, record_all

import denoscope as ds
from denoscope.cli import command
from denoscope.config import InferenceConfig
from denoscope.recording import verify
from denoscope.recording.opening import set_attribute
from denoscope.recording.verify import same_bits
from denoscope.storage import completion
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.zarr import shard

STEPS = 3


class Scaled(torch.nn.Module):
    """ε = a·x plus a term that a test adds to break a promise."""

    def __init__(self, spoil=lambda _: 0.0):
        super().__init__()
        self.weight, self.spoil = torch.nn.Parameter(torch.tensor(0.1)), spoil
        self.last = torch.nn.Identity()

    def forward(self, x, timestep):  # noqa: ARG002
        return self.last(self.weight * x + self.spoil(x))


@pytest.fixture
def scaled(make_scheduler):
    def make(spoil=lambda _: 0.0, scheduler="ddim") -> ds.Denoiser:
        return ds.load(Scaled(spoil), scheduler=make_scheduler(scheduler), shape=(1, 4, 4), device="cpu")

    return make


def failing(checks) -> set[str]:
    return {check.name for check in checks if not check.holds}


@pytest.fixture(scope="module")
def small(make_small_unet, make_scheduler):
    """A small denoiser with DDIM."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")


def test_the_promise_holds_for_a_network_and_the_table_says_what_was_tried(small):
    checks = verify.determinism(small, steps=1, lanes=4)
    assert not failing(checks)
    names = [check.name for check in checks]
    assert names[:6] == [
        "the same again", "batch size 1", "batch size 3", "batch size 4", "batch size 8", "reverse order",
    ]  # fmt: skip
    assert "other neighbours, every position" in names and "8 lanes" in names
    assert {check.name for check in checks if not check.promised} == set(names[names.index("1 lanes") :])


BROKEN = {
    "depends on its neighbours": (lambda x: x.mean(0, keepdim=True), {"reverse order", "batch size 1"}),
    "depends on its place": (lambda x: torch.arange(len(x)).reshape(-1, 1, 1, 1) * 1e-3, {"reverse order"}),
    "feels one neighbour's last bit": (
        lambda x: x.roll(1, 0) * 1e-7,
        {"other neighbours, every position"},
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_network_that_breaks_it_fails(scaled, kind):
    spoil, least = BROKEN[kind]
    found = failing(verify.determinism(scaled(spoil), steps=2, lanes=4))
    assert least | {"other neighbours, every position"} <= found
    assert "the same again" not in found


def test_a_network_with_a_memory_fails_when_run_again(scaled):
    calls = iter(range(10**6))
    assert "the same again" in failing(
        verify.determinism(scaled(lambda _: next(calls) * 1e-3), steps=2, lanes=4)
    )


def test_a_dependence_on_the_number_of_rows_is_shown_but_no_breach(scaled):
    checks = verify.determinism(scaled(lambda x: len(x) * 1e-3), steps=2, lanes=4)
    assert not failing(checks)
    by_name = {check.name: check for check in checks}
    assert not by_name["8 lanes"].same_bits and by_name["8 lanes"].largest_difference > 1e-3
    assert "part of the fingerprint" in str(by_name["8 lanes"]) and str(by_name["8 lanes"]).endswith("ok")


@pytest.mark.parametrize(
    ("one", "two", "same", "largest"),
    [
        ([1.0, 2.0], [1.0, 2.0], True, 0.0),
        ([1.0, 2.0], [1.0, 2.5], False, 0.5),
        ([0.0], [-0.0], False, 0.0),
        ([math.nan], [math.nan], True, 0.0),
        ([math.nan], [1.0], False, math.inf),
        ([math.inf], [math.inf], True, 0.0),
        ([math.inf], [-math.inf], False, math.inf),
        ([1.0], [np.nextafter(1.0, 2)], False, 2**-52),
    ],
)
def test_bits_are_compared_not_values(one, two, same, largest):
    check = same_bits._compared("any", [(np.array(one), np.array(two))], True)
    assert (check.same_bits, check.largest_difference) == (same, largest)
    assert check.holds is same


@pytest.mark.slow
def test_another_process_computes_the_same_bits_where_the_model_can_be_loaded_again(small_model):
    """With a precision and a schedule other than the folder's, which the other process must receive."""
    scheduler = ds.load(small_model, device="cpu").scheduler
    denoiser = ds.load(small_model, scheduler=type(scheduler)(beta_end=0.01), dtype="float64", device="cpu")
    assert denoiser.dtype == torch.float64
    options = InferenceConfig(num_steps=2, lanes=4, sampler_dtype="float64")
    x = ds.noise.random(1, denoiser.shape, seed=3)
    there = same_bits._in_another_process(denoiser, options, 3)
    first, *_, last = [layer.address for layer in denoiser.layers() if layer.shape is not None]
    parts = []
    for step in ds.denoise(denoiser, x.batch([0]), steps=2, lanes=4, layers=[first, last]):
        parts += [step.x_after, *step.states.values()]
    here = torch.cat([part.flatten() for part in parts]).numpy()
    assert there.tobytes() == here.tobytes()


def test_the_promise_is_measured_with_the_options_of_a_recording(scaled, monkeypatch):
    """Under independent noise a sample keeps its name in every batch position."""
    asked = []

    def noted(*arguments, **options):
        asked.append((arguments[3], arguments[4]))
        return steps_of(*arguments, **options)

    steps_of = same_bits.steps_of
    monkeypatch.setattr(same_bits, "steps_of", noted)
    options = {"noise": "independent", "sampler_dtype": "float64", "tf32": True, "lanes": 4}
    assert not failing(verify.determinism(scaled(scheduler="ddpm"), steps=2, **options))
    assert all(loop.noise == "independent" and loop.sampler_dtype == "float64" for loop, _ in asked)
    assert all(loop.tf32 and loop.steps == 2 for loop, _ in asked)
    assert len({name for _, names in asked for name in names}) == same_bits.SAMPLES + 4


def test_a_compiled_network_is_compiled_once_for_all_ways_of_running(scaled, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: compiled.append(network) or network)
    assert not failing(verify.determinism(scaled(), steps=1, lanes=4, fast=True))
    assert len(compiled) == 1


def test_the_command_prints_a_table_and_ends_with_1_where_a_promise_does_not_hold(
    scaled, monkeypatch, capsys
):
    for spoil, code in ((lambda _: 0.0, 0), (BROKEN["depends on its neighbours"][0], 1)):
        monkeypatch.setattr(
            "denoscope.cli.verbs.verify.determinism.load", lambda _settings, spoil=spoil: scaled(spoil)
        )
        try:
            command.main(["verify", "determinism", "--num_steps", "2", "--lanes", "4"])
            ended = 0
        except SystemExit as stop:
            ended = stop.code
        assert ended == code
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["way", "of", "running", "promised", "found"] and len(lines) > 10
        assert any(line.endswith("FAILS") for line in lines) is bool(code)


def test_the_noise_floor_between_lane_counts_is_that_of_a_network_that_counts_rows(scaled, make_scheduler):
    """ε = a·x + c·rows: with DDIM's x' = A x + B ε, a difference d of the rows adds B·c·d in each step."""
    c = 2.0**-10
    denoiser = scaled(lambda x: len(x) * c)
    scheduler = make_scheduler("ddim")
    scheduler.set_timesteps(STEPS)
    levels = [float(scheduler.alphas_cumprod[t]) for t in scheduler.timesteps] + [1.0]
    offset, expected = 0.0, [0.0]
    for now, then in itertools.pairwise(levels):
        a, b = ddim(now, then)
        offset = a * offset + b * (0.1 * offset + c * 8)  # 16 lanes against 8 is the largest difference
        expected.append(abs(offset))
    floor = verify.precision(denoiser, steps=STEPS)
    assert floor.between_lane_counts == pytest.approx(max(expected), rel=1e-4)
    assert floor.per_state == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # All 16 numbers of a sample are off by the same.
    assert floor.per_state_l2 == pytest.approx([4 * gap for gap in expected], rel=1e-4, abs=1e-6)


def test_the_noise_floor_of_layers_is_that_of_what_they_put_out(scaled):
    """`last` puts out ε = a·x + c·rows; in step 0 x is the same, so 16 rows differ from 4 by 12 c."""
    c = 2.0**-10
    floor = verify.precision(scaled(lambda x: len(x) * c), steps=STEPS, layers=["last"], lanes=4)
    (gaps,) = floor.layers.values()
    assert len(gaps["largest"]) == STEPS
    assert gaps["largest"][0] == pytest.approx(12 * c, rel=1e-4)
    assert gaps["l2"][0] == pytest.approx(4 * 12 * c, rel=1e-4)


def test_values_that_cannot_be_measured_are_reported_as_not_measured(scaled, make_small_unet, make_scheduler):
    """A stochastic scheduler draws other numbers in double precision; nothing is more precise than double precision."""
    double = ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), dtype="float64", device="cpu")
    for denoiser, dtype in ((scaled(scheduler="ddpm"), "float32"), (double, "float64")):
        floor = verify.precision(denoiser, steps=1)
        assert floor.between_precisions is None and floor.value == floor.between_lane_counts
        assert floor.dtype == dtype and f"{dtype} − float64" in str(floor) and "not measured" in str(floor)
    assert verify.precision(double, steps=1).value < 1e-12


def test_the_precision_of_the_state_changes_the_floor(small):
    """With the sampler in float64 only the network rounds."""
    single, double = (
        verify.precision(small, steps=STEPS, sampler_dtype=kind) for kind in ("auto", "float64")
    )
    assert 0 < double.between_precisions != single.between_precisions > 0


def ddim(now: float, then: float) -> tuple[float, float]:
    """x' = a x + b ε of one DDIM step between two levels ᾱ, eta 0."""
    a = math.sqrt(then / now)
    return a, math.sqrt(1 - then) - math.sqrt(then * (1 - now) / now)


class Constant(torch.nn.Module):
    """ε = 0.3 in the precision of x; no parameter determines the precision."""

    def forward(self, x, timestep):  # noqa: ARG002
        return torch.full_like(x, 0.3)


def test_the_noise_floor_between_precisions_is_that_of_the_loop_written_out(make_scheduler):
    scheduler = make_scheduler("ddim")
    denoiser = ds.load(Constant(), scheduler=scheduler, shape=(1, 4, 4), device="cpu")
    floor = verify.precision(denoiser, steps=STEPS)
    scheduler.set_timesteps(STEPS)
    betas = np.linspace(1e-4, 0.02, 1000)
    double = np.cumprod(1 - betas)
    x = ds.noise.random(8, (1, 4, 4), seed=42).batch(range(8))
    single, exact, worst = x.clone(), x.double().numpy(), 0.0
    timesteps = [int(t) for t in scheduler.timesteps]
    for now, then in zip(timesteps, [*timesteps[1:], -1], strict=True):
        single = scheduler.step(torch.full_like(single, 0.3), now, single).prev_sample
        a, b = ddim(double[now], double[then] if then >= 0 else 1.0)
        exact = a * exact + b * 0.3
        worst = max(worst, float(np.abs(single.double().numpy() - exact).max()))
    assert 0 < worst < 1e-4
    assert floor.between_precisions == pytest.approx(worst, rel=1e-3)
    assert floor.between_lane_counts == 0 and floor.value == floor.between_precisions
    assert floor.to_dict()["value"] == floor.value and len(floor.per_state) == STEPS + 1


@pytest.fixture(scope="module")
def recorded(small_model, tmp_path_factory):
    """Recordings of six samples in two groups, in both formats; the model can be loaded again from its folder."""
    folder = tmp_path_factory.mktemp("recorded")
    denoiser = ds.load(small_model, device="cpu")
    x = ds.noise.random(6, denoiser.shape, seed=5)
    x.write(folder / "inputs")
    return record_all(folder, denoiser, x, steps=STEPS, lanes=4, layers=["conv_in"], batch_size=4)


@pytest.fixture
def copy(recorded, tmp_path):
    """A recording of its own to be damaged."""

    def make(out: str) -> Path:
        if (tmp_path / out).exists():
            shutil.rmtree(tmp_path / out)
        return Path(shutil.copytree(recorded / out, tmp_path / out))

    return make


def files(path: Path) -> list[Path]:
    found = [file.relative_to(path) for file in path.rglob("*") if file.is_file() and file.name != "lock"]
    return sorted(found)


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_sound_recording_is_said_to_be_sound(recorded, capsys, out):
    report = verify.store(recorded / out)
    assert report.sound and (report.samples, report.finished) == (6, 6)
    assert not report.problems and not report.missing
    command.main(["verify", "store", str(recorded / out)])
    assert capsys.readouterr().out.splitlines() == ["6 of 6 samples are finished, 0 missing", "sound"]


def harmed(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    match harm:
        case "gone":
            path.unlink()
        case "truncated":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"\0")
        case "first byte":
            content[0] ^= 4
            path.write_bytes(content)
        case "last byte":
            content[-1] ^= 4
            path.write_bytes(content)
        case "a byte within":
            content[len(content) // 3] ^= 1
            path.write_bytes(content)


def outcome(path: Path) -> tuple[str, bool | None]:
    """What is said of a recording, and whether it is sound; None if it is refused in one line."""
    try:
        report = verify.store(path)
    except ds.UserError as error:
        return str(error) * ("\n" not in str(error)), None
    return str(report), report.sound


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("harm", ["gone", "truncated", "longer", "first byte", "last byte", "a byte within"])
def test_every_damage_of_every_file_is_found_and_named(copy, out, harm):
    path = copy(out)
    assert len(files(path)) >= 15
    for file in files(path):
        sound = (path / file).read_bytes()
        harmed(path / file, harm)
        harmless = file.suffix == ".json" and content_of(path / file) == json.loads(sound)
        message, is_sound = outcome(path)
        # Without the files that describe the recording nothing can be checked.
        assert is_sound is not None or file.name in ("zarr.json", "recording.json"), (file, harm)
        assert bool(is_sound) is harmless, (file, harm)
        assert harmless or (file.name if is_sound is None else file.as_posix()) in message, (
            file,
            harm,
            message,
        )
        (path / file).write_bytes(sound)
    assert verify.store(path).sound


@pytest.mark.parametrize(
    ("name", "code"), [("conv_in/c/0/0/0/0/0", 1), ("complete/marks/1.json", 1), ("zarr.json", 2)]
)
def test_the_command_names_a_damaged_file_and_ends_with_its_code(copy, capsys, name, code):
    path = copy("run.zarr")
    harmed(path / name, "truncated")
    with pytest.raises(SystemExit) as caught:
        command.main(["verify", "store", str(path)])
    printed = capsys.readouterr()
    assert caught.value.code == code and name in (printed.out if code == 1 else printed.err)
    assert printed.err.count("\n") == code - 1


def content_of(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def test_a_flipped_byte_in_a_chunk_is_named_by_layer_sample_and_step(copy):
    path = copy("run.zarr")
    file = path / "conv_in" / "c" / "1" / "0" / "0" / "0" / "0"
    content = bytearray(file.read_bytes())
    size = 8 * 8 * 8 * 4  # an entry of conv_in; two samples are in the second group, step after step
    content[3 * size + 17] ^= 64
    file.write_bytes(content)
    (problem,) = verify.store(path).problems
    assert problem == (
        "conv_in, sample sample_0005, entry 1: does not match its checksum (in conv_in/c/1/0/0/0/0)"
    )


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("harm", ["gone", "truncated", "first byte"])
def test_a_recording_checks_the_arrays_that_are_to_be_read(copy, out, harm):
    path = copy(out)
    layer = next(file for file in files(path) if file.parts[0] == "conv_in" and file.name != "zarr.json")
    harmed(path / layer, harm)
    rec = ds.open(path)
    rec.check("sequence")
    for arrays in (["conv_in"], ["sequence", "conv_in"], []):
        with pytest.raises(ds.UserError, match=r"is damaged: conv_in.*verify store.*resume=True") as refused:
            rec.check(*arrays)
        assert "\n" not in str(refused.value)
    x = ds.noise.random(6, ds.load(rec.attrs["model"], device="cpu").shape, seed=5)
    ds.record(
        ds.load(rec.attrs["model"], device="cpu"),
        x,
        path,
        steps=STEPS,
        lanes=4,
        layers=["conv_in"],
        resume=True,
    )
    ds.open(path).check()


def test_missing_marks_are_counted_and_named(copy):
    path = copy("run.zarr")
    (path / "complete" / "marks" / "1.json").unlink()
    report = verify.store(path)
    assert not report.sound and report.finished == 4 and report.missing == ("complete/marks/1.json",)
    assert "4 of 6 samples are finished, 2 missing" in str(report)
    assert "without complete/marks/1.json" in str(report)
    assert report.problems == ("complete/c/1 marks samples as complete that have no mark",)


def test_an_unfinished_recording_is_not_reported_as_damaged(small_model, tmp_path, dies_at, capsys):
    denoiser = ds.load(small_model, device="cpu")
    denoiser.layers()
    dies_at(denoiser.network, STEPS + 2)
    x = ds.noise.random(6, denoiser.shape)
    with pytest.raises(RuntimeError, match="on purpose"):
        ds.record(denoiser, x, tmp_path / "run.zarr", steps=STEPS, lanes=4, batch_size=4)
    with pytest.raises(SystemExit) as caught:
        command.main(["verify", "store", str(tmp_path / "run.zarr")])
    assert caught.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "4 of 6 samples are finished, 2 missing",
        "  without complete/marks/1.json",
        "unfinished, resume it (--resume)",
    ]


@pytest.mark.parametrize("out", OUTPUTS)
def test_notes_added_later_are_not_damage(copy, out):
    path = copy(out)
    set_attribute(path, "noise_floor", {"value": 1e-6})
    set_attribute(path, "mine", "a note")
    assert verify.store(path).sound and ds.open(path).attrs["mine"] == "a note"


def test_the_noise_floor_of_a_recording_is_written_into_it(copy, capsys):
    path = copy("run.zarr")
    command.main(["verify", "precision", "--path", str(path), "--device", "cpu"])
    assert "noise floor" in capsys.readouterr().out
    rec = ds.open(path)
    floor = rec.attrs["noise_floor"]
    assert 0 < floor["value"] < 1e-3 and len(floor["per_state"]) == STEPS + 1
    assert list(floor["layers"]) == list(rec.states) and floor["lanes"] == rec.attrs["fingerprint"]["lanes"]
    assert verify.store(path).sound


def test_the_noise_floor_of_a_recording_takes_no_other_options(copy, capsys):
    path = copy("run.zarr")
    with pytest.raises(SystemExit) as caught:
        command.main(["verify", "precision", "--path", str(path), "--lanes", "4"])
    assert caught.value.code == 2 and "leave out the other flags" in capsys.readouterr().err
    assert "noise_floor" not in ds.open(path).attrs


def test_a_recording_that_cannot_be_written_to_says_so_and_stays(copy, monkeypatch):
    path = copy("run.zarr")
    before = (path / "zarr.json").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ds.UserError, match=r"cannot write mine into .*No space left"):
        set_attribute(path, "mine", 1)
    assert (path / "zarr.json").read_bytes() == before


def test_a_module_made_in_python_is_given_to_be_computed_again(scaled, tmp_path):
    x = ds.noise.random(3, (1, 4, 4))
    ds.record(scaled(), x, tmp_path / "run.zarr", steps=STEPS, layers=["last"])
    with pytest.raises(ds.UserError, match=r"recorded from a Scaled.*built in Python.*source=module"):
        verify.store(tmp_path / "run.zarr", recompute=1)
    assert verify.store(tmp_path / "run.zarr", recompute=3, source=Scaled()).sound
    wrong = verify.store(tmp_path / "run.zarr", recompute=1, source=Scaled(lambda x: x * 0 + 1))
    assert wrong.problems and any("probe_sha256" in note for note in wrong.notes)


def test_a_model_in_a_folder_is_found_again_from_elsewhere(small_model, tmp_path, monkeypatch):
    shutil.copytree(small_model, tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    denoiser = ds.load("models/mine", device="cpu")
    ds.record(denoiser, ds.noise.random(2, denoiser.shape), "run.zarr", steps=STEPS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert verify.store(tmp_path / "run.zarr", recompute=1).sound


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("name", ["missing", "empty", "file", "other"])
def test_a_folder_that_is_not_a_recording_is_reported_in_one_line(tmp_path, capsys, name, out):
    path = tmp_path / f"{name}_{out}"
    if name == "file":
        path.write_text("a file")
    elif name != "missing":
        path.mkdir()
    if name == "other":
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(SystemExit) as caught:
        command.main(["verify", "store", str(path)])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(path) in line


@pytest.mark.parametrize("out", OUTPUTS)
def test_samples_computed_again_have_the_same_bits(recorded, capsys, out):
    command.main(["verify", "store", str(recorded / out), "--recompute", "3"])
    assert capsys.readouterr().out.splitlines()[-2:] == ["3 samples computed again", "sound"]
    assert verify.store(recorded / out, recompute=100).recomputed == 6


def forged(path: Path) -> None:
    """Change one number of a store so that every checksum still holds."""
    name = "sequence/c/0/0/0/0/0"
    found = dict(completion.read(LocalStore(path), "complete/marks"))[0]
    content = bytearray((path / name).read_bytes())
    size, position = 8 * 8 * 4, 2 * (STEPS + 1) + 1  # sample 2, state 1
    index = np.frombuffer(bytes(content[-(4 * (STEPS + 1)) * 16 - 4 : -4]), "<u8").reshape(-1, 2)
    start = int(index[position, 0])
    content[start] ^= 1
    (path / name).write_bytes(content)
    sums = list(found.files[name])
    sums[position] = shard.checksum(bytes(content[start : start + size]))
    mark = completion.Mark(found.samples, {**found.files, name: sums}, found.nonfinite)
    completion.write(LocalStore(path), "complete/marks", 0, mark)


def test_a_number_that_was_never_computed_is_found_by_computing_again(copy):
    path = copy("run.zarr")
    forged(path)
    assert verify.store(path).sound
    report = verify.store(path, recompute=6)
    assert not report.sound
    (problem,) = report.problems
    assert problem.startswith("sequence, sample sample_0002, entry 1: differs by up to ")


@pytest.mark.parametrize("out", OUTPUTS)
def test_only_samples_whose_checksums_hold_are_computed_again(copy, out):
    path = copy(out)
    target = next(file for file in files(path) if file.as_posix().startswith("sequence"))
    harmed(path / target, "truncated")
    report = verify.store(path, recompute=6)
    assert report.recomputed == 2 and len(report.problems) == 1


def test_final_images_are_computed_again_from_the_folder_of_inputs(recorded, small_model, tmp_path):
    denoiser = ds.load(small_model, device="cpu")
    x = ds.noise.read(recorded / "inputs")
    ds.record(denoiser, x, tmp_path / "run", steps=STEPS, lanes=4, extract_states=False)
    with pytest.raises(ds.UserError, match="inputs"):
        verify.store(tmp_path / "run", recompute=2)
    assert verify.store(tmp_path / "run", recompute=2, inputs=recorded / "inputs").sound
    ds.noise.random(6, denoiser.shape, seed=6).write(tmp_path / "others")
    assert not verify.store(tmp_path / "run", recompute=2, inputs=tmp_path / "others").sound
    ds.noise.random(1, denoiser.shape, seed=6).write(tmp_path / "few")
    with pytest.raises(ds.UserError, match="lacks the noise of sample_000"):
        verify.store(tmp_path / "run", recompute=6, inputs=tmp_path / "few")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_noises_that_are_scaled_are_computed_again_from_the_states_that_are_stored(small_model, tmp_path):
    """Euler begins with x_T times the largest σ; in float32 dividing by σ does not restore every bit."""
    denoiser = ds.load(small_model, scheduler="eulerdiscrete", device="cpu")
    x = ds.noise.random(6, denoiser.shape)
    ds.record(denoiser, x, tmp_path / "run.zarr", steps=STEPS, lanes=4)
    report = verify.store(tmp_path / "run.zarr", recompute=6)
    assert report.sound and report.recomputed == 6
    x.write(tmp_path / "inputs")
    assert verify.store(tmp_path / "run.zarr", recompute=6, inputs=tmp_path / "inputs").sound


def test_other_weights_under_the_same_model_name_are_reported(
    recorded, make_small_unet, make_scheduler, small_model, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(small_model, folder)
    denoiser = ds.load(str(folder), device="cpu")
    ds.record(denoiser, ds.noise.read(recorded / "inputs"), tmp_path / "run.zarr", steps=2)
    make_small_unet(channels=1, seed=1).save_pretrained(folder)
    make_scheduler("ddim").save_pretrained(folder)
    with pytest.raises(ds.UserError, match="other weights"):
        verify.store(tmp_path / "run.zarr", recompute=1)


def test_the_number_of_threads_of_the_recording_is_used_again(recorded):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        report = verify.store(recorded / "run.zarr", recompute=2)
        assert report.sound and not report.notes and torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_differences_of_this_machine_are_noted_and_not_blamed_on_the_store(copy, monkeypatch):
    path = copy("run.zarr")
    monkeypatch.setattr("denoscope.recording.provenance.device_name", lambda _device: "abacus")
    report = verify.store(path, recompute=2)
    assert report.sound and len(report.notes) == 1 and "abacus" in report.notes[0]


@pytest.mark.parametrize("out", OUTPUTS)
def test_what_killed_processes_left_is_removed_on_request(tiny, tmp_path, out):
    path = tmp_path / out
    ds.record(tiny, ds.noise.random(2, tiny.shape, seed=0), path, steps=2)
    inside = next(file for file in path.rglob("*") if file.is_file() and file.parent != path).parent
    left = [path / f".{'0' * 32}.partial", inside / f".{'1' * 32}.partial"]
    for file in left:
        file.touch()
    assert "temporary" not in str(verify.store(path))
    assert "2 temporary files removed" in str(verify.store(path, clean=True))
    assert not any(file.exists() for file in left) and verify.store(path).sound
    lock = "complete/lock" if out.endswith(".zarr") else ".recording/lock"
    with LocalStore(path).lock(lock), pytest.raises(ds.UserError, match="being written by another process"):
        verify.store(path, clean=True)
