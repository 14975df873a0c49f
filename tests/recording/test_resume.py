"""Resumed recordings: finished samples are checked and skipped, and the bytes are those of an unbroken run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from outputs import OUTPUTS, SAMPLED_OUTPUTS

import denoscope as ds
from denoscope.foundation.checksum import checksum_of_json
from denoscope.storage.zarr import layout

COUNT, LANES, STEPS = 10, 4, 3


@pytest.fixture(scope="module")
def small(make_small_unet, make_scheduler):
    """A denoiser of [2, 8, 8] with DDIM that takes half the time of `tiny`."""
    return ds.load(make_small_unet(), scheduler=make_scheduler("ddim"), device="cpu")


@pytest.fixture
def x(small):
    return ds.noise.random(COUNT, small.shape, seed=5)


@pytest.fixture
def record(small, x, tmp_path):
    def run(out, *, denoiser=small, inputs=x, progress=None, **options):
        chosen = {"steps": STEPS, "lanes": LANES, "batch_size": 4, "layers": ["conv_in"], **options}
        return ds.record(denoiser, inputs, tmp_path / out, progress=progress, **chosen)

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of what `make` records to the output, which is made once a module for the same output and key."""
    kept = {}

    def copied(make, to: Path, *key) -> Path:
        key = (to.name, repr(key))
        if key not in kept:
            make()
            kept[key] = shutil.copytree(to, tmp_path_factory.mktemp("made") / to.name, symlinks=True)
        else:
            shutil.copytree(kept[key], to, symlinks=True)
        return to

    return copied


@pytest.fixture
def whole(record, made, tmp_path):
    """An unbroken recording."""
    return lambda out, **options: made(lambda: record(out, **options), tmp_path / out, "whole", options)


@pytest.fixture
def broken(record, made, small, dies_at, tmp_path):
    """A recording whose model raises in the given call; two flights of three are then unfinished."""

    def run(out, call=STEPS + 2, *, denoiser=small, **options):
        def begin():
            denoiser.layers()
            dies_at(denoiser.network, call)
            with pytest.raises(RuntimeError, match="on purpose"):
                record(out, denoiser=denoiser, **options)

        return made(begin, tmp_path / out, "broken", call, options)

    return run


@pytest.fixture
def calls(small):
    """Counts the network's calls from now on."""
    small.layers()
    counted = []
    handle = small.network.register_forward_pre_hook(lambda *_: counted.append(1))
    yield counted
    handle.remove()


@pytest.mark.parametrize(
    ("out", "call"),
    [("run.zarr", 1), ("run.zarr", STEPS + 2), ("run.zarr", 3 * STEPS), ("run", STEPS + 2)]
    + [
        pytest.param(out, call, marks=pytest.mark.slow)
        for out, calls in (
            ("run.zarr", (2, STEPS + 1, 2 * STEPS + 1)),
            ("run", (1, 2, STEPS + 1, 2 * STEPS + 1, 3 * STEPS)),
        )
        for call in calls
    ],
)
def test_an_exception_then_a_resume_gives_the_bytes_of_an_unbroken_run(
    record, whole, broken, contents, out, call
):
    path = broken(f"broken/{out}", call)
    record(f"broken/{out}", resume=True)
    assert contents(path) == contents(whole(f"whole/{out}"))


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize(
    "options",
    [
        {"reduce": "norm", "codec": "zstd", "every": (0, 2)},
        {"state_dtype": "float16", "flatten": True, "layers": None},
        {"extract_states": False},
    ],
)
def test_a_resume_gives_the_same_bytes_whatever_is_stored_of_states(
    record, broken, contents, tmp_path, out, options
):
    record(f"whole/{out}", **options)
    path = broken(f"broken/{out}", 5, **options)
    record(f"broken/{out}", resume=True, **options)
    assert contents(path) == contents(tmp_path / "whole" / out)


def test_a_resume_gives_the_same_bytes_with_several_shards_a_group(
    record, broken, contents, tmp_path, monkeypatch
):
    monkeypatch.setattr(layout, "SHARD_BYTES", 4500)  # two states x_t of four samples, or one of conv_in
    record("whole.zarr")
    assert len(list((tmp_path / "whole.zarr" / "sequence" / "c" / "0").iterdir())) == 2
    assert len(list((tmp_path / "whole.zarr" / "conv_in" / "c" / "0").iterdir())) == STEPS
    broken("broken.zarr", 6)
    record("broken.zarr", resume=True)
    assert contents(tmp_path / "broken.zarr") == contents(tmp_path / "whole.zarr")


@pytest.mark.parametrize("kind", ["common", "independent"])
def test_a_resume_gives_the_same_bytes_with_a_stochastic_scheduler(
    record, broken, tiny_ddpm, contents, tmp_path, kind
):
    options = {"denoiser": tiny_ddpm, "noise": kind}
    record("whole.zarr", **options)
    broken("broken.zarr", 5, **options)
    record("broken.zarr", resume=True, **options)
    assert contents(tmp_path / "broken.zarr") == contents(tmp_path / "whole.zarr")


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
@pytest.mark.parametrize("batch_size", [1, 100, pytest.param(8, marks=pytest.mark.slow)])
def test_a_resume_may_have_another_batch_size(record, whole, broken, contents, out, batch_size):
    path = broken(f"broken/{out}")
    record(f"broken/{out}", resume=True, batch_size=batch_size)
    assert contents(path) == contents(whole(f"whole/{out}"))


class Noted:
    """A progress that collects its reports."""

    def begin(self, plan, out, finished):  # noqa: ARG002
        self.finished = finished

    def skipped(self, layer, step): ...
    def advance(self, samples): ...
    def unit_done(self, samples, seconds): ...
    def compiled(self, compilation, calls): ...

    def end(self, nonfinite):
        self.nonfinite = dict(nonfinite)


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_resume_computes_only_what_is_unfinished_and_its_progress_starts_with_the_rest(
    record, broken, calls, out
):
    broken(out)
    before, noted = len(calls), Noted()
    record(out, resume=True, progress=noted)
    assert len(calls) - before == 1 + 2 * STEPS, "a probe; one flight of three was finished"
    assert noted.finished == 4
    record(out, resume=True)
    assert len(calls) - before == 2 + 2 * STEPS, "another probe; all were"


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_resume_of_nothing_starts_a_recording_with_the_same_bytes(record, whole, contents, out):
    assert contents(record(f"other/{out}", resume=True).path) == contents(whole(f"whole/{out}"))


def damages(path: Path) -> list[Path]:
    """All files of a recording that belong to the layout or to finished groups."""
    return sorted(found for found in path.rglob("*") if found.is_file() and found.name != "lock")


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
@pytest.mark.parametrize("harm", ["flipped", "truncated", "gone"])
@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_resume_repairs_any_damaged_file_except_the_one_that_describes_the_recording(
    record, whole, contents, tmp_path, out, harm, stride
):
    source = whole(f"whole/{out}")
    sound = contents(source)
    repaired = []
    files = damages(source)
    roots = [file for file in files if file.parent == source]  # zarr.json, recording.json
    for file in [*roots, *files[::stride]]:
        path = tmp_path / harm / out
        if path.exists():
            shutil.rmtree(path)
        shutil.copytree(source, path)
        damage(path / file.relative_to(source), harm)
        if file in roots:
            with pytest.raises(ds.UserError, match=out):
                record(f"{harm}/{out}", resume=True)
            continue
        record(f"{harm}/{out}", resume=True)
        assert contents(path) == sound, file
        repaired.append(file)
    assert roots and len(repaired) > (10 if stride == 1 else 1)


def damage(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


OTHER = [
    ({"steps": 4}, r"num_steps: 3 → 4"),
    ({"layers": ["conv_out"]}, r"layers: \['conv_in'\] → \['conv_out'\]"),
    ({"lanes": 8}, "lanes: 4 → 8"),
    ({"flatten": True}, "flatten: False → True"),
    ({"noise": "independent"}, "noise: common → independent"),
    ({"noise_seed": 1}, "noise_seed: 42 → 1"),
    ({"state_dtype": "float16"}, "state_dtype: auto → float16"),
    ({"steps": 4, "lanes": 8}, "num_steps: 3 → 4; lanes: 4 → 8"),
]


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_other_work_is_refused_with_a_list_of_what_differs(record, broken, contents, tmp_path, out):
    broken(out)
    before = contents(tmp_path / out)
    for options, listed in OTHER:
        with pytest.raises(ds.UserError, match=listed) as caught:
            record(out, resume=True, **options)
        assert "\n" not in str(caught.value) and "overwrite=True" in str(caught.value)
        assert contents(tmp_path / out) == before


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_other_models_schedulers_inputs_and_threads_are_refused(
    record, broken, x, make_small_unet, make_scheduler, contents, tmp_path, out
):
    broken(out)
    before = contents(tmp_path / out)
    other = ds.load(make_small_unet(seed=1), scheduler=make_scheduler("ddim"), device="cpu")
    clipped = ds.load(make_small_unet(), scheduler=make_scheduler("ddim", beta_end=0.01), device="cpu")
    for options, listed in (
        ({"denoiser": other}, "weights_sha256"),
        ({"denoiser": clipped}, "scheduler_config"),
        ({"inputs": x.subset(range(9))}, "inputs"),
        ({"inputs": x.subset(range(COUNT)[::-1])}, "their order"),
        ({"inputs": ds.noise.random(COUNT, (2, 8, 8), seed=6)}, "inputs"),
    ):
        with pytest.raises(ds.UserError, match=listed):
            record(out, resume=True, **options)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(ds.UserError, match=f"threads: {threads} → {threads + 1}"):
            record(out, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path / out) == before


def test_the_same_layers_in_other_folders_are_refused(record, broken, tmp_path, contents):
    broken("run", layers=None)
    before = contents(tmp_path / "run")
    with pytest.raises(ds.UserError, match="folders of layers"):
        record("run", layers=["conv_in", "conv_out"], resume=True)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("out", OUTPUTS)
def test_an_unfinished_recording_without_a_flag_is_refused(record, broken, contents, tmp_path, out):
    broken(out, call=1)
    before = contents(tmp_path / out)
    for options in ({}, {"inputs": ds.noise.perturbed(3, (2, 8, 8))}, {"extract_states": False}):
        with pytest.raises(ds.UserError, match=r"resume=True.*overwrite=True"):
            record(out, **options)
    with pytest.raises(ds.UserError, match="contradict"):
        record(out, resume=True, overwrite=True)
    assert contents(tmp_path / out) == before


def test_a_folder_whose_manifest_is_gone_is_refused(record, broken, tmp_path):
    broken("run")
    (tmp_path / "run" / "recording.json").unlink()
    with pytest.raises(ds.UserError, match=r"recording\.json is missing"):
        record("run", resume=True)
    record("run", overwrite=True)


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_recording_of_a_newer_format_is_left_alone(record, whole, contents, out):
    path = whole(out)
    root, key = ("zarr.json", "attributes") if out == "run.zarr" else ("recording.json", "attrs")
    content = json.loads((path / root).read_text())
    content[key]["format_version"] = 2
    (path / root).write_text(json.dumps(content))
    (checksums,) = path.rglob("layout.json")
    covered = json.loads(checksums.read_text())
    covered["attributes"]["format_version"] = checksum_of_json(2)
    del covered["checksum"]
    checksums.write_text(json.dumps(covered | {"checksum": checksum_of_json(covered)}))
    before = contents(path)
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ds.UserError, match="format version 2; this denoscope reads versions up to 1"):
            record(out, **options)
    with pytest.raises(ds.UserError, match="format version 2"):
        ds.open(path)
    assert contents(path) == before


@pytest.mark.parametrize("flag", [{}, {"resume": True}, {"overwrite": True}])
def test_no_tensor_files_go_into_a_store_and_no_store_into_their_folder(
    record, whole, contents, tmp_path, flag
):
    whole("run.zarr")
    whole("other.zarr", output_format="pt")
    before = contents(tmp_path / "run.zarr"), contents(tmp_path / "other.zarr")
    with pytest.raises(ds.UserError, match="is a Zarr store"):
        record("run.zarr", output_format="pt", **flag)
    with pytest.raises(ds.UserError, match="is not a recording"):
        record("other.zarr", **flag)
    assert (contents(tmp_path / "run.zarr"), contents(tmp_path / "other.zarr")) == before


@pytest.mark.parametrize("name", ["complete", "sequence", "conv_in", "conv_in/c", ".recording", "sequences"])
@pytest.mark.parametrize("flag", [{}, {"resume": True}, {"overwrite": True}])
def test_a_link_out_of_the_output_is_refused(record, broken, tmp_path, name, flag):
    out = "run" if name in (".recording", "sequences") else "run.zarr"
    broken(out)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / out / name, elsewhere)
    (tmp_path / out / name).symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    with pytest.raises(ds.UserError, match="leads out of" if flag else "leads out of|already holds"):
        record(out, **flag)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


def test_a_link_to_where_nothing_is_yet_is_refused_too(record, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sequences").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recording.zarr").symlink_to(tmp_path / "elsewhere")
    for out, options in (("run", {}), ("out", {"output_format": "zarr"})):
        with pytest.raises(ds.UserError, match="leads out of"):
            record(out, **options)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["recording.json", ".recording/lock", "sequences/sample_0000_sequence.pt"])
@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_a_file_that_is_a_link_out_of_the_output_is_refused(record, broken, tmp_path, name, flag):
    broken("run")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(tmp_path / "run" / name, elsewhere)
    (tmp_path / "run" / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(ds.UserError, match="leads out of"):
        record("run", **{flag: True})
    assert elsewhere.read_bytes() == before and (tmp_path / "run" / name).is_symlink()


def test_a_sample_whose_name_leads_out_is_refused(record, x, tmp_path):
    named = ds.noise.ArrayNoise(x.batch([0]), ("../../evil",))
    with pytest.raises(ds.UserError, match="leads out of"):
        record("a/b/run", inputs=named)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", OUTPUTS)
def test_samples_that_became_nan_before_the_resume_are_reported_at_its_end(record, x, out, small, dies_at):
    class Poisoned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_in = torch.nn.Conv2d(2, 2, 1)

        def forward(self, x, timestep):  # noqa: ARG002
            # The second sample, identified by its first value.
            wrong = x[:, :1, :1, :1] == mark
            return torch.where(wrong, torch.nan, self.conv_in(x))

    mark = x.tensor(1)[0, 0, 0].clone()
    denoiser = ds.load(Poisoned(), scheduler=small.scheduler, shape=(2, 8, 8), device="cpu")
    denoiser.layers()
    dies_at(denoiser.network, STEPS + 2)
    with pytest.raises(RuntimeError, match="on purpose"):
        record(out, denoiser=denoiser)
    noted = Noted()
    record(out, denoiser=denoiser, resume=True, progress=noted)
    assert noted.nonfinite == {"sample_0001": 0}
