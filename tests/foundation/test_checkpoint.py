"""Long computations in a file: as far as they got, gone on with, never half a file, never another's."""

import time
from pathlib import Path

import numpy as np
import pytest
import xarray

from denoscope.foundation import checkpoint
from denoscope.foundation.errors import UserError


def fresh(count=4, **identity):
    return xarray.Dataset(
        {"value": ("cell", np.full(count, np.nan)), "done": ("cell", np.zeros(count, bool))},
        coords={"cell": [f"cell {k}" for k in range(count)], "level": ("cell", np.arange(count) / 10)},
        attrs={
            "identity": {"steps": 50, "model": {"name": "mnist", "size": (1, 28)}} | identity,
            "unit": "nat",
        },
    )


def test_a_dataset_comes_back_as_it_was(tmp_path):
    data = fresh()
    data["value"].values[1] = 2.5
    checkpoint.write(data, tmp_path / "a.npz")
    found = checkpoint.read(tmp_path / "a.npz")
    xarray.testing.assert_equal(found, data)
    assert list(found.coords) == list(data.coords) and found.attrs["unit"] == "nat"
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert plain["value"][1] == 2.5, "plain NumPy reads it"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError, MemoryError])
def test_what_was_done_is_in_the_file_however_the_block_ends(tmp_path, stop):
    out = tmp_path / "a.npz"
    with pytest.raises(stop), checkpoint.keeping(fresh(), out, resume=False, overwrite=False) as file:
        file.data["done"].values[0] = True
        file.save()
        file.data["done"].values[1] = True
        raise stop
    with checkpoint.keeping(fresh(), out, resume=True, overwrite=False) as file:
        assert file.data["done"].to_numpy().tolist() == [True, True, False, False]
        file.data["done"].values[:] = True
    assert checkpoint.read(out)["done"].all()
    with checkpoint.keeping(fresh(), out, resume=False, overwrite=True) as file:
        assert not file.data["done"].any()


@pytest.mark.parametrize("chained", [False, True])
def test_work_of_which_nothing_was_finished_leaves_no_file_and_replaces_none(tmp_path, chained):
    out = tmp_path / "folder" / "a.npz"
    with (
        pytest.raises(UserError),
        checkpoint.keeping(fresh(), out, resume=False, overwrite=False, chained=chained),
    ):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())
    checkpoint.write(fresh(), out)
    before = out.read_bytes()
    for flags in ({"resume": False, "overwrite": True}, {"resume": True, "overwrite": False}):
        with pytest.raises(UserError), checkpoint.keeping(fresh(), out, **flags, chained=chained):
            raise UserError("refused")
        assert out.read_bytes() == before


def test_of_chained_work_the_file_holds_what_was_saved(tmp_path):
    out = tmp_path / "a.npz"
    with (
        pytest.raises(KeyboardInterrupt),
        checkpoint.keeping(fresh(), out, resume=False, overwrite=False, chained=True) as file,
    ):
        file.data["done"].values[0] = True
        assert file.due
        file.save()
        file.data["done"].values[1] = True
        raise KeyboardInterrupt
    assert checkpoint.read(out)["done"].to_numpy().tolist() == [True, False, False, False]


def test_what_does_not_fit_is_refused_and_left_as_it_was(tmp_path):
    out = tmp_path / "a.npz"
    checkpoint.write(fresh(), out)
    before = out.read_bytes()
    for data, options, match in (
        (fresh(), {}, "exists; go on with it"),
        (fresh(steps=20), {"resume": True}, "since this differs: steps: 50 → 20; name another"),
        (fresh(model={"name": "x", "size": (1, 28)}), {"resume": True}, "differs: model, name: mnist → x;"),
        (fresh(), {"resume": True, "overwrite": True}, "contradict"),
    ):
        with (
            pytest.raises(UserError, match=match),
            checkpoint.keeping(data, out, **{"resume": False, "overwrite": False} | options),
        ):
            pytest.fail("the block must not run")
    assert out.read_bytes() == before
    with (
        pytest.raises(UserError, match="none was named"),
        checkpoint.keeping(fresh(), None, resume=True, overwrite=False),
    ):
        pytest.fail("the block must not run")
    out.write_bytes(before[: len(before) // 2])
    with pytest.raises(UserError, match="or damaged"):
        checkpoint.read(out)
    with (
        pytest.raises(UserError, match=r"cannot read .* or damaged; replace it \(overwrite\)"),
        checkpoint.keeping(fresh(), out, resume=True, overwrite=False),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(UserError, match="No such file"):
        checkpoint.read(tmp_path / "none.npz")


def test_what_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "a.npz", tmp_path, Path("/proc/none/a.npz")):
        with (
            pytest.raises(UserError, match=f"cannot write {place}: "),
            checkpoint.keeping(fresh(), place, resume=False, overwrite=True),
        ):
            pytest.fail("the block must not run")


def test_saving_after_every_cell_writes_seldom(tmp_path, monkeypatch):
    writes = []

    def slow(data, path, write=checkpoint.write):
        writes.append(path)
        time.sleep(0.01)
        write(data, path)

    monkeypatch.setattr(checkpoint, "write", slow)
    with checkpoint.keeping(fresh(), tmp_path / "a.npz", resume=False, overwrite=False) as file:
        for _ in range(1000):
            file.save()
    assert len(writes) == 2, "at the first call and at the end: a write takes 2 % of the time"
