"""Whichever operation on files fails: the former result reads as before or the new one is whole, and the same command
again gives the bytes of an unbroken run."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from failing_operations import failing
from small_plans import plan_of, write

from denoscope import noise
from denoscope.figures import images
from denoscope.foundation import checkpoint
from denoscope.foundation.checkpoint import Checkpoint
from denoscope.foundation.errors import UserError
from denoscope.foundation.writing.atomic_files import sync
from denoscope.recording import export
from denoscope.storage import formats, replacement
from denoscope.storage.stores.local import LocalStore
from denoscope.storage.watching import start

HIDDEN = re.compile(
    r"(^|/)\.[^/]*\.(lock|start|partial|staged|unfinished|replacement)(/|$)|\.committed|(^|/)\.replacement/"
)


@dataclass(frozen=True)
class Scenario:
    """Work in a folder that holds what `prepare` has made. `again` is what the user does after a failure, `sound` whether
    what is there reads as before, or is whole. `unbroken` makes in an empty folder what the work ends with, if the work
    continues something."""

    prepare: Callable[[Path], object]
    work: Callable[[Path], object]
    again: Callable[[Path], object]
    sound: Callable[[Path], bool]
    unbroken: Callable[[Path], object] | None = None


def place(folder: Path, format: str) -> Path:
    return folder / ("run.zarr" if format == "zarr" else "run")


def recorded(folder: Path, format: str, existing: str = "refuse", groups=None, **fingerprint: object) -> None:
    path = place(folder, format)
    with start.announced(path):
        write(formats.store_of(path, format), plan_of(format, **fingerprint), existing, groups)


def resumed(folder: Path, format: str) -> None:
    """Continue a recording, or begin one if no file says what was begun."""
    try:
        recorded(folder, format, "resume")
    except UserError as error:
        if "replace" not in str(error):
            raise
        recorded(folder, format, "overwrite")


def holds_right_values(folder: Path, format: str, *schedulers: str, least: int = 0) -> bool:
    """Whether a recording of one of these schedulers has at least this many finished samples, all with right values."""
    path = place(folder, format)
    if least == 0 and not formats.stored_format(LocalStore(path)):
        return True
    try:
        data = formats.open_dataset(LocalStore(path))
    except UserError as error:
        return least == 0 and "is empty" in str(error)
    complete = data["complete"].values
    right = formats.open_dataset(LocalStore(REFERENCE[format]))
    same = all(
        np.array_equal(data[name].values[complete], right[name].values[complete], equal_nan=True)
        for name in ("sequence", "conv_in")
    )
    return same and complete.sum() >= least and data.attrs["fingerprint"]["scheduler"] in schedulers


REFERENCE: dict[str, Path] = {}
EXPORTED: dict[str, dict[str, bytes]] = {}


@pytest.fixture(scope="module", autouse=True)
def _reference(tmp_path_factory):
    """An uninterrupted recording in each format, and an uninterrupted export in each."""
    for name in ("zarr", "pt"):
        folder = tmp_path_factory.mktemp("reference")
        recorded(folder, name)
        REFERENCE[name] = place(folder, name)
    for name in export.FORMATS:
        folder = tmp_path_factory.mktemp("exported")
        exported(folder, name)
        EXPORTED[name] = files(folder)


def recordings(format: str) -> dict[str, Scenario]:
    new = {"scheduler": "new"}
    return {
        f"record {format}": Scenario(
            Path.exists,
            lambda folder: recorded(folder, format),
            lambda folder: resumed(folder, format),
            lambda folder: holds_right_values(folder, format, "DDIMScheduler"),
        ),
        f"resume {format}": Scenario(
            lambda folder: recorded(folder, format, groups=[0, 2]),
            lambda folder: recorded(folder, format, "resume"),
            lambda folder: recorded(folder, format, "resume"),
            lambda folder: holds_right_values(folder, format, "DDIMScheduler", least=3),
            unbroken=lambda folder: recorded(folder, format),
        ),
        f"overwrite {format}": Scenario(
            lambda folder: recorded(folder, format),
            lambda folder: recorded(folder, format, "overwrite", **new),
            lambda folder: recorded(folder, format, "overwrite", **new),
            lambda folder: holds_right_values(folder, format, "DDIMScheduler", "new", least=5),
        ),
    }


def exported(folder: Path, format: str) -> None:
    export.write(formats.open_dataset(LocalStore(REFERENCE["zarr"])), folder / "out", format)


def exports(format: str) -> Scenario:
    def sound(folder: Path) -> bool:
        """Every file that has its name has all of its bytes."""
        found = {name: content for name, content in files(folder).items() if name.endswith(f".{format}")}
        return found.items() <= EXPORTED[format].items()

    def again(folder: Path) -> None:
        if files(folder) != EXPORTED[format]:  # a finished recording is not replaced
            exported(folder, format)

    return Scenario(Path.exists, lambda f: exported(f, format), again, sound)


def measured(folder: Path, level: float, cells: int = 4, **flags: bool) -> None:
    """Up to `cells` pieces of a measure of four, saved after each."""
    fresh = xarray.Dataset({"value": ("cell", np.zeros(4))}, attrs={"identity": {"level": level}})
    with Checkpoint(folder / "a.npz", **flags).open(fresh) as work:
        for cell in np.flatnonzero(work.data["value"].values == 0)[:cells]:
            work.data["value"].values[cell] = level
            work.save()
            work.write()


CHECKPOINT = Scenario(
    lambda folder: measured(folder, 1.0),
    lambda folder: measured(folder, 2.0, overwrite=True),
    lambda folder: measured(folder, 2.0, overwrite=True),
    lambda folder: checkpoint.read(folder / "a.npz")["value"].values.tolist() in ([1.0] * 4, [2.0] * 4),
)


RESUMED_CHECKPOINT = Scenario(
    lambda folder: measured(folder, 2.0, cells=2),
    lambda folder: measured(folder, 2.0, resume=True),
    lambda folder: measured(folder, 2.0, resume=True),
    lambda folder: (
        checkpoint.read(folder / "a.npz")["value"].values.tolist()
        in [[2.0] * done + [0.0] * (4 - done) for done in (2, 3, 4)]
    ),
    unbroken=lambda folder: measured(folder, 2.0),
)


def drawn(folder: Path, value: float) -> None:
    images.save_png(torch.full((1, 4, 4), value), folder / "a.png", scale=1)


def shade(folder: Path) -> int:
    from PIL import Image

    with Image.open(folder / "a.png") as picture:
        return picture.convert("L").getpixel((0, 0))


IMAGE = Scenario(
    lambda folder: drawn(folder, -1.0),
    lambda folder: drawn(folder, 1.0),
    lambda folder: drawn(folder, 1.0),
    lambda folder: shade(folder) in (0, 255),
)


SETS = {seed: noise.random(5 - seed, (1, 2, 2), seed=seed) for seed in (1, 2)}
"""Two sets of noises, of which the second has fewer files."""


def is_one_set_or_unfinished(folder: Path) -> bool:
    """Whether the files and their manifest are those of one set, or reading says that they are not."""
    try:
        found = noise.read(folder / "inputs")
    except UserError as error:
        return "is unfinished: noise.json" in str(error)
    return any(
        found.names == wanted.names
        and found.coords["seed"].tolist() == wanted.coords["seed"].tolist()
        and torch.equal(found.batch(range(len(wanted))), wanted.batch(range(len(wanted))))
        for wanted in SETS.values()
    )


NOISES = Scenario(
    lambda folder: SETS[1].write(folder / "inputs"),
    lambda folder: SETS[2].write(folder / "inputs"),
    lambda folder: SETS[2].write(folder / "inputs"),
    is_one_set_or_unfinished,
)
SCENARIOS = {
    **recordings("zarr"),
    **recordings("pt"),
    "export npz": exports("npz"),
    "export pt": exports("pt"),
    "export safetensors": exports("safetensors"),
    "checkpoint": CHECKPOINT,
    "resume checkpoint": RESUMED_CHECKPOINT,
    "image": IMAGE,
    "noises": NOISES,
}
EVERY = {
    "record zarr": 190,
    "resume zarr": 140,
    "overwrite zarr": 560,
    "record pt": 140,
    "resume pt": 67,
    "overwrite pt": 190,
    "export npz": 15,
    "export pt": 120,
    "export safetensors": 15,
    "checkpoint": 11,
    "resume checkpoint": 7,
    "image": 3,
    "noises": 13,
}
"""By default one in so many operations fails."""


def exchanged(folder: Path) -> None:
    for name in ("one", "other"):
        (folder / name).mkdir()
    replacement._exchange(folder / "one", folder / "other")


@pytest.mark.parametrize(
    ("kinds", "operate"),
    [
        (["open", "write"], lambda folder: (folder / "a").write_text("ä")),
        (["open", "write"], lambda folder: (folder / "a").write_bytes(b"a")),
        (["os.open"], lambda folder: (folder / "a").touch()),
        (["os.open", "os.fsync"], sync),
        (["os.mkdir", "os.mkdir", "renameat2"], exchanged),
    ],
)
def test_each_operation_fails_in_turn(kinds, operate, tmp_path):
    for number, kind in enumerate(kinds, 1):
        (folder := tmp_path / str(number)).mkdir()
        with failing(folder, number) as operations, pytest.raises(OSError, match="Input/output error"):
            operate(folder)
        assert operations.failed == kind
    (folder := tmp_path / "sound").mkdir()
    with failing(folder, len(kinds) + 1) as operations:
        operate(folder)
    assert not operations.failed and sorted(operations.kinds.elements()) == sorted(kinds)


def test_reading_and_listing_fail_in_turn_and_give_the_content_otherwise(tmp_path):
    (tmp_path / "a").write_text("äb")
    for read in (Path.read_text, Path.read_bytes):
        failed, number = [], 1
        while True:
            with failing(tmp_path, number) as operations, suppress(OSError):
                content = read(tmp_path / "a")
            if not operations.failed:
                break
            failed.append(operations.failed)
            number += 1
        assert {"open", "read"} <= set(failed) and content in ("äb", "äb".encode())
    for list_ in (
        lambda folder: os.listdir(folder),
        lambda folder: list(os.scandir(folder)),
        lambda folder: list(folder.iterdir()),
    ):
        with failing(tmp_path, 1), pytest.raises(OSError, match="Input/output error"):
            list_(tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_whichever_operation_fails_the_result_is_the_former_or_the_new_one(name, all_of_them, tmp_path):
    scenario, every = SCENARIOS[name], 1 if all_of_them else EVERY[name]
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    scenario.prepare(unbroken)
    scenario.work(unbroken)
    wanted, failed, number = files(unbroken), Counter(), every
    assert not [hidden for hidden in wanted if HIDDEN.search(hidden)]
    if scenario.unbroken:
        (at_once := tmp_path / "at_once").mkdir()
        scenario.unbroken(at_once)
        assert files(at_once) == wanted
    (prepared := tmp_path / "prepared").mkdir()
    scenario.prepare(prepared)
    while True:
        folder = tmp_path / str(number)
        shutil.copytree(prepared, folder)
        with failing(folder, number) as operations:
            message = refusal(scenario, folder)
        if not operations.failed:
            break
        assert "\n" not in message
        assert scenario.sound(folder), f"operation {number}, {operations.failed}"
        scenario.again(folder)
        assert files(folder) == wanted, f"operation {number}, {operations.failed}"
        failed[operations.failed] += 1
        shutil.rmtree(folder)
        number += every
    print(f"{name}: {failed.total()} operations failed: {dict(failed)}")
    assert failed.total() >= 2


def refusal(scenario: Scenario, folder: Path) -> str:
    """The message that refuses the work; empty if it succeeds in spite of the failure."""
    try:
        scenario.work(folder)
    except (UserError, OSError) as error:
        return str(error)
    return ""
