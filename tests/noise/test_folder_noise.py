"""Noises read from folders of other origin, and bad files."""

import math
import os
import pickle

import numpy as np
import pytest
import torch

from denoscope import UserError, noise

SHAPE = (1, 28, 28)


SETS = {
    "random": lambda: noise.random(3, (2, 4, 4), seed=1),
    "perturbed": lambda: noise.perturbed(2, (2, 4, 4), epsilon=10.0),
    "plane": lambda: noise.plane((2, 2), (2, 4, 4)),
    "sphere": lambda: noise.sphere(2, (2, 4, 4)),
}


def test_several_sets_in_one_folder_keep_their_coordinates(tmp_path):
    for make in SETS.values():
        make().write(tmp_path)
    read = noise.read(tmp_path)
    k = read.names.index("set_0042_pert_000_eps_10.0000")
    assert read.coords["epsilon"][k] == 10.0 and np.isnan(read.coords["u"][k])
    cell = read.names.index("plane_0420_100_200_x001_y000")
    assert (read.coords["u"][cell], read.coords["v"][cell]) == (1000.0, -1500.0)
    assert read.coords["base"][cell] == "" and len(read) == 12


def test_sets_of_several_epsilons_share_one_base(tmp_path):
    for epsilon in (500, 1, 0.12345, 1e-3):
        noise.perturbed(2, SHAPE, epsilon=epsilon).write(tmp_path)
    read = noise.read(tmp_path)
    assert len(read) == 1 + 4 * 2 and set(read.coords["base"].tolist()) == {"set_0042_base"}
    distance = [(read.tensor(k).double() - read.tensor(0).double()).norm().item() for k in range(len(read))]
    np.testing.assert_allclose(distance, read.coords["epsilon"], rtol=2e-3)
    assert "set_0042_pert_000_eps_0.12345" in read.names and "set_0042_pert_001_eps_0.0010" in read.names


def test_tensors_with_and_without_the_leading_axis_and_in_other_precisions_are_read(tmp_path):
    torch.save(torch.ones(1, *SHAPE), tmp_path / "a.pt")
    torch.save(torch.ones(SHAPE, dtype=torch.float16), tmp_path / "b.pt")
    assert torch.equal(noise.read(tmp_path).batch([0, 1]), torch.ones(2, *SHAPE))
    torch.save(torch.full(SHAPE, 0.1, dtype=torch.float64), tmp_path / "c.pt")
    assert noise.read(tmp_path).tensor(2).dtype == torch.float64


class Code:
    """A pickle that would make a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def bad_file(kind: str, path, mark) -> None:
    """Write the bad input of one kind at `path`."""
    x = torch.zeros(1, *SHAPE)
    if kind == "text":
        path.write_text("no tensor")
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "truncated":
        torch.save(torch.randn(1, *SHAPE), path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "pickle with code":
        path.write_bytes(pickle.dumps(Code(mark)))
    elif kind == "torch pickle with code":
        torch.save(Code(mark), path)
    elif kind == "folder":
        path.mkdir()
    else:
        nan, inf = x.clone(), x.clone()
        nan[0, 0, 3, 3], inf[0, 0, 0, 0] = math.nan, -math.inf
        values = {
            "list": [x],
            "state dict": {"x": x},
            "shape": torch.zeros(1, 1, 28, 27),
            "channels": torch.zeros(1, 3, 28, 28),
            "batch": torch.zeros(2, *SHAPE),
            "flat": torch.zeros(784),
            "NaN": nan,
            "Inf": inf,
            "integer": x.long(),
            "complex": x.to(torch.complex64),
            "sparse": x[0, 0].to_sparse(),
        }
        torch.save(values[kind], path)


KINDS = [
    *("text", "empty file", "truncated", "pickle with code", "torch pickle with code", "folder", "list"),
    *("state dict", "shape", "channels", "batch", "flat", "NaN", "Inf", "integer", "complex", "sparse"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_input_is_refused_by_the_name_of_its_file_and_never_run(tmp_path, kind):
    mark = tmp_path / "ran"
    folder = tmp_path / "inputs"
    noise.random(2, SHAPE).write(folder)
    bad_file(kind, folder / "noise_0002.pt", mark)
    with pytest.raises(UserError, match=r"noise_0002\.pt"):
        noise.read(folder, shape=SHAPE)
    assert not mark.exists()


def test_without_a_given_shape_the_first_file_sets_it(tmp_path):
    torch.save(torch.zeros(SHAPE), tmp_path / "a.pt")
    torch.save(torch.zeros(1, 14, 14), tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"b\.pt.*\[1, 14, 14\].*as the first noise has it"):
        noise.read(tmp_path)
    with pytest.raises(UserError, match=r"b\.pt.*as the model has it"):
        noise.read(tmp_path, shape=SHAPE)


def test_a_missing_or_empty_folder_is_refused_by_its_name(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("missing", "empty", "file"):
        with pytest.raises(UserError, match=name):
            noise.read(tmp_path / name)


def test_values_that_overflow_in_float32_are_refused(tmp_path):
    torch.save(torch.full(SHAPE, 1e300, dtype=torch.float64), tmp_path / "huge.pt")
    with pytest.raises(UserError, match=r"huge\.pt: holds values beyond"):
        noise.read(tmp_path)


def test_hidden_files_are_ignored(tmp_path):
    noise.random(2, SHAPE).write(tmp_path)
    (tmp_path / "._noise_0000.pt").write_bytes(b"\x00\x05\x16\x07 of macOS")
    (tmp_path / "._noise.json").write_bytes(b"\x00\x05\x16\x07")
    assert noise.read(tmp_path).names == ("noise_0000", "noise_0001")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".noise.pt").write_bytes(b"")
    with pytest.raises(UserError, match="hidden: holds no"):
        noise.read(tmp_path / "hidden")


def test_a_file_is_read_when_its_noise_is_used(tmp_path):
    noise.random(3, SHAPE).write(tmp_path)
    x = noise.read(tmp_path)
    (tmp_path / "noise_0001.pt").unlink()
    assert torch.equal(x.tensor(2), noise.random(3, SHAPE).tensor(2))
    with pytest.raises(UserError, match=r"noise_0001\.pt"):
        x.tensor(1)
    (tmp_path / "noise_0000.pt").unlink()
    assert "<img" not in x._repr_html_()
