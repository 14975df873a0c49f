"""A disk that becomes full while a recording is written, and one that is too small from the start."""

import functools
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from outputs import OUTPUTS, SAMPLED_OUTPUTS
from ten_samples import FIRST_CALL
from torch import nn

import denoscope as ds
from denoscope.storage import space
from denoscope.storage.stores.local import LocalStore

COUNT, STEPS, LANES = 24, 6, 4
LAYERS = ("conv_in", "down_blocks.0.resnets.0", "up_blocks.0.resnets.0")


@pytest.fixture(scope="module")
def arguments(small_model, tmp_path_factory):
    """A recording of about 1 MB."""
    inputs = tmp_path_factory.mktemp("inputs")
    ds.noise.random(COUNT, (1, 8, 8), seed=3).write(inputs)
    line = f"record --model {small_model} --inputs {inputs} --device cpu --lanes {LANES} --batch_size {LANES}"
    return [*line.split(), "--num_steps", STEPS, "--layers", *LAYERS]


@pytest.fixture(scope="module")
def unbroken(arguments, recorder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    for out in OUTPUTS:
        assert recorder.run(*arguments, "--output", folder / out).code == 0
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of some KiB, if the user may."""
    mounted = []

    def mount(kib: int) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "denoscope-test", str(folder)]
        done = (
            subprocess.run(command, capture_output=True, text=True, check=False)
            if os.geteuid() == 0
            else None
        )
        if done is None or done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip() if done else 'not root'}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def one_line(output: str) -> str:
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in output
    return line


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_finished_samples_survive_a_full_disk_and_a_resume_with_room_adds_the_rest(
    arguments, unbroken, recorder, contents, small_disk, out
):
    disk = small_disk(2048)
    whole = contents(unbroken / out)
    path, filler = disk / out, disk / "filler"
    call = FIRST_CALL + 2 * STEPS  # two of six groups are finished before it
    running = recorder.start(*arguments, "--output", path, holds_at=[call])
    running.until(f"call {call}\n")
    filler.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 200 * 1024))
    running.release()
    assert running.wait() == 2
    line = one_line(running.output)
    assert out in line and "No space left on device" in line and "--resume" in line
    finished = ds.open(path).dataset["complete"].values
    assert 8 <= finished.sum() < COUNT and not list(disk.rglob("*.partial"))
    for name in ("sequence", *LAYERS):
        found, right = (ds.open(folder / out).dataset[name].values for folder in (disk, unbroken))
        assert np.array_equal(found[finished], right[finished])
    still = recorder.run(*arguments, "--output", path, "--resume")
    assert still.code == 2 and "the recording needs" in one_line(still.output)
    assert ds.open(path).dataset["complete"].values.tolist() == finished.tolist()
    filler.unlink()
    assert recorder.run(*arguments, "--output", path, "--resume").code == 0
    assert contents(path) == whole


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize(
    "free", [8, *(pytest.param(kib, marks=pytest.mark.slow) for kib in (0, 4, 20, 40, 60, 90, 150))]
)
def test_a_full_disk_is_reported_in_one_line_wherever_it_becomes_full(
    arguments, recorder, small_disk, out, free
):
    """The disk is full at the first folder of a group, in the middle of a shard, of a mark, …"""
    disk = small_disk(4096)
    running = recorder.start(*arguments, "--output", disk / out, holds_at=[FIRST_CALL])
    running.until(f"call {FIRST_CALL}\n")
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(0, room - free * 1024)))
    running.release()
    assert running.wait() == 2
    assert "No space left" in one_line(running.output)
    assert not list(disk.rglob("*.partial"))
    (disk / "filler").unlink()
    assert recorder.run(*arguments, "--output", disk / out, "--resume").code == 0
    assert ds.open(disk / out).dataset["complete"].values.all()


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_plan_that_cannot_fit_is_refused_before_anything_is_touched(arguments, recorder, small_disk, out):
    disk = small_disk(700)
    before = sorted(disk.rglob("*"))
    done = recorder.run(*arguments, "--output", disk / out)
    assert done.code == 2 and "the recording needs" in one_line(done.output)
    assert sorted(disk.rglob("*")) == before


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_former_recording_survives_a_replacement_that_cannot_fit(
    arguments, unbroken, recorder, contents, small_disk, out
):
    disk = small_disk(4000)
    shutil.copytree(unbroken / out, disk / out)
    before = contents(disk / out)
    done = recorder.run(*arguments, "--output", disk / out, "--overwrite", "--num_steps", "100")
    assert done.code == 2 and "the recording needs" in one_line(done.output)
    assert contents(disk / out) == before
    again = recorder.run(*arguments, "--output", disk / out, "--overwrite")
    assert again.code == 0, "there is room for both"
    assert contents(disk / out) == before
    filler = disk / "filler"
    filler.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 500 * 1024))
    done = recorder.run(*arguments, "--output", disk / out, "--overwrite")
    assert done.code == 2 and "the recording needs" in one_line(done.output), (
        "the former one still takes room"
    )
    assert contents(disk / out) == before


def test_needed_room_is_counted_in_whole_blocks_and_free_room_as_the_system_does(tmp_path):
    block = os.statvfs(tmp_path).f_frsize
    assert space.footprint(LocalStore(tmp_path), [1, block, block + 1, 0]) == 4 * block
    assert space.footprint(LocalStore(tmp_path / "not" / "there"), [1]) == block
    available = int(subprocess.check_output(["df", "-B1", "--output=avail", tmp_path], text=True).split()[1])
    assert space.free_bytes(LocalStore(tmp_path)) == pytest.approx(available, rel=0.01)


@pytest.fixture(scope="module")
def planned(arguments, recorder, tmp_path_factory):
    """The bytes that the plan of a recording states, made once for each output."""
    folder = tmp_path_factory.mktemp("planned")
    return functools.cache(
        lambda out: planned_bytes(recorder.run(*arguments, "--output", folder / out, "--dry_run").output)
    )


@pytest.mark.parametrize("out", SAMPLED_OUTPUTS)
def test_a_recording_fits_into_the_room_that_its_plan_states(arguments, recorder, planned, small_disk, out):
    done = recorder.run(*arguments, "--output", small_disk(math.ceil(planned(out) / 1024)) / out)
    assert done.code == 0, done.output


@pytest.mark.parametrize("out", OUTPUTS)
def test_the_figure_of_the_plan_is_close_to_what_the_recording_occupies(planned, unbroken, out):
    used = int(subprocess.check_output(["du", "-sB1", unbroken / out], text=True).split()[0])
    assert used == pytest.approx(planned(out), rel=0.1)


def planned_bytes(output: str) -> float:
    """The bytes on disk that a plan states, rounded up."""
    (line,) = [line for line in output.splitlines() if "on disk in total" in line]
    number, unit = line.split()[:2]
    return (float(number) + 0.05) * {"KiB": 2**10, "MiB": 2**20}[unit]


class Deep(nn.Module):
    """A thousand layers that change nothing."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Identity() for _ in range(1000))

    def forward(self, x, _timestep):
        for part in self.parts:
            x = part(x)
        return x * 0.5


def test_a_thousand_layers_and_terabytes_are_refused_with_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr("denoscope.storage.space.free_bytes", lambda _: 2**40)
    denoiser = ds.load(Deep(), scheduler="ddim", shape=(3, 32, 32), device="cpu")
    x = ds.noise.random(200, denoiser.shape)
    with pytest.raises(
        ds.UserError, match=r"run.zarr: the recording needs 2\.\d TiB, but only 1\.0 TiB"
    ) as caught:
        ds.record(denoiser, x, tmp_path / "run.zarr", steps=1000, layers=["parts.*"], batch_size=40, lanes=40)
    figure = float(re.search(r"needs ([\d.]+) TiB", str(caught.value))[1])
    assert figure == pytest.approx(1000 * 3 * 32 * 32 * 4 * 1000 * 200 / 2**40, rel=0.03)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
