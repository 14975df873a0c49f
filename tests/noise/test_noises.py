"""Initial noises against plain torch and their geometry recomputed in float64."""

import json
import math
import os
import pickle

import numpy as np
import pytest
import torch

from denoscope import UserError, noise
from denoscope.foundation import tensor_files

SHAPE = (1, 28, 28)


def norm(tensor: torch.Tensor) -> float:
    return tensor.double().norm().item()


def test_sample_k_is_the_same_whatever_the_number_of_samples():
    few, many = noise.random(3, SHAPE, seed=9), noise.random(12, SHAPE, seed=9)
    assert few.names == many.names[:3] == ("noise_0000", "noise_0001", "noise_0002")
    assert torch.equal(few.batch(range(3)), many.batch(range(3)))
    assert not torch.equal(many.tensor(0), many.tensor(1))
    assert not torch.equal(few.tensor(0), noise.random(3, SHAPE, seed=10).tensor(0))


def test_a_random_noise_is_the_plain_draw_of_its_seed_coordinate():
    x = noise.random(5, (3, 4, 6), seed=42)
    for k, seed in enumerate(x.coords["seed"].tolist()):
        plain = torch.randn((3, 4, 6), generator=torch.Generator().manual_seed(seed))
        assert torch.equal(x.tensor(k), plain) and plain.dtype == torch.float32


def test_random_noises_are_standard_normal_and_independent():
    x = noise.random(400, (1, 8, 8)).batch(range(400)).double().flatten(1)
    assert x.mean().abs() < 4 / math.sqrt(x.numel())
    assert (x.var() - 1).abs() < 4 * math.sqrt(2 / x.numel())
    neighbours = (x[:-1] * x[1:]).mean()
    assert neighbours.abs() < 4 / math.sqrt(x.numel())


def test_a_set_is_indexed_like_a_sequence():
    x = noise.random(6, SHAPE)
    assert len(x) == 6 and x.tensor(-1).shape == SHAPE and x.batch([4, 2]).shape == (2, *SHAPE)
    assert torch.equal(x.tensor(-1), x.tensor(5)) and torch.equal(x.batch([4, 2])[1], x.tensor(2))
    with pytest.raises(IndexError):
        x.tensor(6)
    part = x.subset([4, 2])
    assert part.names == ("noise_0004", "noise_0002") and torch.equal(part.tensor(1), x.tensor(2))
    assert part.coords["seed"].tolist() == x.coords["seed"][[4, 2]].tolist()


@pytest.mark.parametrize(
    ("epsilon", "tolerance"), [(1e-2, 1e-3), (1.0, 1e-5), (500.0, 1e-6), (1234.5, 1e-6), (1e4, 1e-6)]
)
def test_each_perturbation_has_norm_epsilon_in_a_direction_of_its_own(epsilon, tolerance):
    x = noise.perturbed(4, SHAPE, epsilon=epsilon, base_seed=42, perturb_seed=69)
    steps = [x.tensor(k).double() - x.tensor(0).double() for k in range(1, 5)]
    for step in steps:
        assert step.norm().item() == pytest.approx(epsilon, rel=tolerance)
    cosines = torch.stack([step.flatten() / step.norm() for step in steps])
    cosines = (cosines @ cosines.T - torch.eye(4)).abs()
    assert cosines.max() < 6 / math.sqrt(math.prod(SHAPE))
    assert x.tensor(1).dtype == torch.float32


def test_perturbation_k_is_the_same_whatever_their_number_and_its_direction_whatever_epsilon():
    few, many = noise.perturbed(2, SHAPE, epsilon=10), noise.perturbed(7, SHAPE, epsilon=10)
    assert torch.equal(few.batch(range(3)), many.batch(range(3)))
    far = noise.perturbed(2, SHAPE, epsilon=1000)
    near, wide = (s.tensor(1).double() - s.tensor(0).double() for s in (few, far))
    torch.testing.assert_close(wide / 1000, near / 10, rtol=0, atol=1e-6)


def test_a_perturbation_that_float32_cannot_hold_is_refused():
    with pytest.raises(UserError, match=r"epsilon is 1e-09"):
        noise.perturbed(1, SHAPE, epsilon=1e-9)


def test_perturbed_names_and_coordinates_are_as_documented():
    x = noise.perturbed(2, SHAPE, epsilon=500, base_seed=42)
    assert x.names == ("set_0042_base", "set_0042_pert_000_eps_500.0000", "set_0042_pert_001_eps_500.0000")
    assert x.coords["base"].tolist() == ["set_0042_base"] * 3
    assert x.coords["epsilon"].tolist() == [0.0, 500.0, 500.0]


@pytest.mark.parametrize("seeds", [(100, 200), (1, 2), (7, 0)])
@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 4), (1, 1, 2)])
def test_the_directions_of_a_plane_are_orthonormal(shape, seeds):
    first, second = noise.plane((1, 1), shape, direction_seeds=seeds).directions
    assert first.dtype == second.dtype == torch.float64 and first.shape == second.shape == shape
    products = [(first * first).sum(), (second * second).sum(), (first * second).sum()]
    np.testing.assert_allclose(products, [1, 1, 0], rtol=0, atol=1e-12)


def test_the_cells_of_a_plane_are_base_plus_u_d1_plus_v_d2():
    x = noise.plane((3, 4), SHAPE, lengths=(200.0, 600.0), center=(10.0, -20.0))
    first, second = noise.plane((1, 1), SHAPE).directions
    u, v = (torch.from_numpy(x.coords[axis]) for axis in "uv")
    assert u.tolist() == [-90.0] * 4 + [10.0] * 4 + [110.0] * 4
    assert v.tolist() == [-320.0, -120.0, 80.0, 280.0] * 3
    cells = x.batch(range(12)).double()
    offsets = cells - cells[0]
    expected = (u - u[0]).view(-1, 1, 1, 1) * first + (v - v[0]).view(-1, 1, 1, 1) * second
    torch.testing.assert_close(offsets, expected, rtol=0, atol=1e-5)
    assert norm(cells[4] - cells[0]) == pytest.approx(100, rel=1e-6)
    assert norm(cells[1] - cells[0]) == pytest.approx(200, rel=1e-6)
    assert ((cells[4] - cells[0]) * (cells[1] - cells[0])).sum().abs() < 1e-6 * 100 * 200


def test_the_middle_of_a_centred_plane_is_the_base_of_its_seed():
    one, two = (noise.plane((3, 3), SHAPE, base_seed=seed) for seed in (420, 421))
    assert torch.equal(one.tensor(4), noise.perturbed(1, SHAPE, base_seed=420).tensor(0))
    assert not torch.equal(one.tensor(4), two.tensor(4))


def test_a_plane_of_one_cell_is_its_centre():
    x = noise.plane((1, 1), SHAPE, center=(3.0, 4.0))
    assert x.coords["u"].tolist() == [3.0] and x.coords["v"].tolist() == [4.0]
    base = noise.plane((1, 1), SHAPE).tensor(0)
    assert norm(x.tensor(0).double() - base.double()) == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize(("center", "finest"), [((0.0, 0.0), 1e-5), ((1e6, 0.0), 0.2)])
def test_a_plane_finer_than_float32_is_refused_with_the_least_length_that_works(center, finest):
    """Least: where rounding moves cells by a tenth of their distance, as measured on the cells themselves."""
    for lengths in ((1e-30, 1e-30), (1e-30, 60.0), (60.0, finest)):
        axis = "u" if lengths[0] < 1 else "v"
        with pytest.raises(UserError, match=rf"lengths is .* cells along {axis} .* float32") as refused:
            noise.plane((5, 5), SHAPE, lengths=lengths, center=center)
    least = float(str(refused.value).partition("allowed: about ")[2].split()[0])
    x = noise.plane((5, 5), SHAPE, lengths=(60.0, 1.05 * least), center=center)
    _, second = noise.plane((1, 1), SHAPE).directions
    off = x.tensor(1).double() - x.tensor(0).double() - 1.05 * least / 4 * second
    assert 0.08 < norm(off) / (1.05 * least / 4) < 0.12
    noise.plane((1, 5), SHAPE, lengths=(1e-30, 60.0))  # one cell has no neighbour


def test_plane_files_and_their_json_are_as_documented(tmp_path):
    x = noise.plane((2, 3), SHAPE, lengths=(2.0, 4.0), center=(1.0, 0.0), base_seed=420)
    written = x.write(tmp_path)
    stems = [f"plane_0420_100_200_x{i:03d}_y{j:03d}" for i in range(2) for j in range(3)]
    assert [path.name for path in written] == [f"{stem}.pt" for stem in stems]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(path.name for path in written), "plane_0420_100_200.json"]
    )
    content = json.loads((tmp_path / "plane_0420_100_200.json").read_text())
    assert (
        content["counts"] == [2, 3] and content["lengths"] == [2.0, 4.0] and content["center"] == [1.0, 0.0]
    )
    assert content["base_seed"] == 420 and content["direction_seeds"] == [100, 200]
    assert content["shape"] == list(SHAPE)
    assert content["samples"][0] == {"name": stems[0], "u": 0.0, "v": -2.0}
    assert content["samples"][5] == {"name": stems[5], "u": 2.0, "v": 2.0}
    first = torch.load(written[0], weights_only=True)
    assert first.shape == (1, *SHAPE) and first.dtype == torch.float32


def test_noises_on_a_sphere_have_one_norm():
    x = noise.sphere(4, SHAPE)
    assert [norm(x.tensor(k)) for k in range(4)] == pytest.approx([28.0] * 4, rel=1e-6)
    assert norm(noise.sphere(1, SHAPE, radius=3.0).tensor(0)) == pytest.approx(3.0, rel=1e-6)


SETS = {
    "random": lambda: noise.random(3, (2, 4, 4), seed=1),
    "perturbed": lambda: noise.perturbed(2, (2, 4, 4), epsilon=10.0),
    "plane": lambda: noise.plane((2, 2), (2, 4, 4)),
    "sphere": lambda: noise.sphere(2, (2, 4, 4)),
}


@pytest.mark.parametrize("kind", SETS)
def test_what_is_written_is_read(tmp_path, kind):
    x = SETS[kind]()
    x.write(tmp_path)
    read = noise.read(tmp_path, shape=(2, 4, 4))
    assert read.names == tuple(sorted(x.names)) and read.shape == x.shape
    order = [read.names.index(name) for name in x.names]
    assert torch.equal(read.batch(order), x.batch(range(len(x))))
    assert read.coords.keys() == x.coords.keys()
    for name in x.coords:
        assert read.coords[name][order].tolist() == x.coords[name].tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: noise.random(np.int64(2), SHAPE, seed=np.int64(3)),
        lambda: noise.perturbed(1, SHAPE, epsilon=np.float32(3), base_seed=np.int64(1)),
        lambda: noise.plane(np.array([2, 2]), SHAPE, lengths=np.array([1.0, 2.0]), center=np.zeros(2)),
    ],
)
def test_numbers_of_numpy_are_numbers(tmp_path, make):
    x = make()
    x.write(tmp_path)
    assert noise.read(tmp_path).names == x.names and len(list(tmp_path.glob("*.json"))) == 1


def test_several_sets_in_one_folder_keep_their_own_coordinates(tmp_path):
    for make in SETS.values():
        make().write(tmp_path)
    read = noise.read(tmp_path)
    k = read.names.index("set_0042_pert_000_eps_10.0000")
    assert read.coords["epsilon"][k] == 10.0 and np.isnan(read.coords["u"][k])
    cell = read.names.index("plane_0420_100_200_x001_y000")
    assert (read.coords["u"][cell], read.coords["v"][cell]) == (1000.0, -1500.0)
    assert read.coords["base"][cell] == "" and len(read) == 12


def test_a_set_that_takes_the_place_of_another_leaves_no_stale_file(tmp_path):
    noise.random(5, SHAPE).write(tmp_path)
    torch.save(torch.zeros(SHAPE), tmp_path / "mine.pt")
    noise.random(2, SHAPE).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "noise_0000.pt",
        "noise_0001.pt",
        "mine.pt",
        "noise.json",
    }


def test_a_json_cannot_make_a_file_outside_its_folder_vanish(tmp_path):
    inputs, other = tmp_path / "inputs", tmp_path / "precious.pt"
    inputs.mkdir()
    other.write_text("keep me")
    content = {
        "format": "denoscope noise 1",
        "samples": [{"name": "../precious"}, {"name": str(tmp_path / "precious")}],
    }
    (inputs / "noise.json").write_text(json.dumps(content))
    noise.random(1, SHAPE).write(inputs)
    assert other.exists()


@pytest.mark.parametrize(
    "content",
    ['{"format": "denoscope noise 1"}', '{"format": "denoscope noise 1", "samples": [{}]}', "[1]", "{"],
)
def test_a_damaged_json_beside_the_noises_does_not_end_in_a_traceback(tmp_path, content):
    noise.random(2, SHAPE).write(tmp_path)
    (tmp_path / "noise.json").write_text(content)
    try:
        assert len(noise.read(tmp_path)) == 2
        noise.random(1, SHAPE).write(tmp_path)
    except UserError as error:
        message = str(error)
        assert "noise.json" in message


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


def test_without_a_known_shape_the_first_file_sets_it(tmp_path):
    torch.save(torch.zeros(SHAPE), tmp_path / "a.pt")
    torch.save(torch.zeros(1, 14, 14), tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"b\.pt.*\[1, 14, 14\]"):
        noise.read(tmp_path)


def test_a_missing_or_empty_folder_is_refused_by_its_name(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("missing", "empty", "file"):
        with pytest.raises(UserError, match=name):
            noise.read(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: noise.random(0, SHAPE), "num_samples is 0"),
        (lambda: noise.random(2.5, SHAPE), "num_samples is 2"),
        (lambda: noise.random(2, (28, 28)), "shape"),
        (lambda: noise.random(2, (1, 0, 28)), "shape"),
        (lambda: noise.perturbed(0, SHAPE), "num_perturbations is 0"),
        (lambda: noise.perturbed(1, SHAPE, epsilon=0.0), "epsilon is 0"),
        (lambda: noise.perturbed(1, SHAPE, epsilon=-1.0), "epsilon is -1"),
        (lambda: noise.perturbed(1, SHAPE, epsilon=math.nan), "epsilon is nan"),
        (lambda: noise.perturbed(1, SHAPE, epsilon=1e41), "epsilon is 1e"),
        (lambda: noise.plane((0, 2), SHAPE), "counts"),
        (lambda: noise.plane((2,), SHAPE), "counts"),
        (lambda: noise.plane(2, SHAPE), "counts is 2; allowed: two numbers"),
        (lambda: noise.plane((2, True), SHAPE), "counts is True"),
        (lambda: noise.plane((2, 2), SHAPE, lengths=60), "lengths is 60; allowed: two numbers"),
        (
            lambda: noise.plane((2, 2), SHAPE, lengths=("wide", 2)),
            "lengths is 'wide'; allowed: a number above 0",
        ),
        (lambda: noise.plane((2, 2), SHAPE, direction_seeds=5), "direction_seeds is 5"),
        (lambda: noise.plane((2, 2), 28), "shape is 28"),
        (lambda: noise.perturbed(1, SHAPE, epsilon="1"), "epsilon is '1'; allowed: a number above 0"),
        (lambda: noise.random(1, SHAPE, seed=1.5), "seed is 1.5"),
        (lambda: noise.plane((2, 2), SHAPE, center=(0.0,)), "center"),
        (lambda: noise.plane((2, 2), SHAPE, lengths=(0.0, 1.0)), "lengths"),
        (lambda: noise.plane((2, 2), SHAPE, lengths=(1.0, math.nan)), "lengths"),
        (lambda: noise.plane((2, 2), SHAPE, lengths=(1.0, math.inf)), "lengths"),
        (lambda: noise.plane((2, 2), SHAPE, center=(1e42, 0.0)), "center"),
        (lambda: noise.plane((2, 2), SHAPE, center=(math.nan, 0.0)), "center"),
        (lambda: noise.plane((2, 2), SHAPE, direction_seeds=(5, 5)), "direction_seeds"),
        (lambda: noise.plane((2, 2), (1, 1, 1)), "shape"),
        (lambda: noise.sphere(0, SHAPE), "num_samples is 0"),
        (lambda: noise.sphere(2, SHAPE, radius=-1.0), "radius is -1"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        noise.random(1, SHAPE).write(tmp_path / "file" / "inputs")


def test_sets_of_several_epsilons_around_one_base_lie_beside_each_other(tmp_path):
    for epsilon in (500, 1, 0.12345, 1e-3):
        noise.perturbed(2, SHAPE, epsilon=epsilon).write(tmp_path)
    read = noise.read(tmp_path)
    assert len(read) == 1 + 4 * 2 and set(read.coords["base"].tolist()) == {"set_0042_base"}
    distance = [(read.tensor(k).double() - read.tensor(0).double()).norm().item() for k in range(len(read))]
    np.testing.assert_allclose(distance, read.coords["epsilon"], rtol=2e-3)
    assert "set_0042_pert_000_eps_0.12345" in read.names and "set_0042_pert_001_eps_0.0010" in read.names


def test_small_epsilons_have_names_of_their_own_and_all_hold_their_distance_or_none_is_made():
    names = {noise.perturbed(1, SHAPE, epsilon=epsilon).names[1] for epsilon in (4e-5, 4.5e-5, 5e-5)}
    assert len(names) == 3
    x = noise.perturbed(20, SHAPE, epsilon=3e-5)
    for k in range(1, 21):
        assert (x.tensor(k).double() - x.tensor(0).double()).norm().item() == pytest.approx(3e-5, rel=1e-3)
    with pytest.raises(UserError, match="allowed: about 3e-05"):
        noise.perturbed(20, SHAPE, epsilon=1e-5)
    with pytest.raises(UserError, match=r"epsilon is .*at most 1e"):
        noise.perturbed(1, SHAPE, epsilon=1e300)


def test_a_write_that_breaks_off_leaves_the_earlier_set_as_it_was(tmp_path, monkeypatch):
    noise.random(5, SHAPE, seed=1).write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save, written = tensor_files.save, []

    def full(tensor, path):
        written.append(path)
        if len(written) > 3:
            raise UserError(f"cannot write {path}: No space left on device")
        save(tensor, path)

    monkeypatch.setattr(tensor_files, "save", full)
    with pytest.raises(UserError, match="No space left"):
        noise.random(7, SHAPE, seed=2).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_values_that_float32_cannot_step_are_refused(tmp_path):
    torch.save(torch.full(SHAPE, 1e300, dtype=torch.float64), tmp_path / "huge.pt")
    with pytest.raises(UserError, match=r"huge\.pt: holds values beyond"):
        noise.read(tmp_path)


SMALL = (1, 2, 3)


def offsets(x):
    """What each perturbation adds to the base, over epsilon, in float64 of the float32 tensors as stored."""
    base = x.tensor(0).double()
    return torch.stack(
        [(x.tensor(k).double() - base).flatten() / x.coords["epsilon"][k] for k in range(1, len(x))]
    )


@pytest.mark.parametrize("count", [2, 4, 7])
def test_a_simplex_has_equal_angles_and_no_mean(count):
    x = noise.perturbed(count, SMALL, epsilon=0.5, directions="simplex")
    found = offsets(x)
    expected = torch.eye(count).double() * count / (count - 1) - 1 / (count - 1)
    torch.testing.assert_close(found @ found.T, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(0), torch.zeros(6).double(), atol=1e-5, rtol=0)
    again, other = (
        noise.perturbed(count, SMALL, epsilon=0.5, directions="simplex", perturb_seed=s) for s in (69, 70)
    )
    assert torch.equal(x.tensor(1), again.tensor(1)) and not torch.equal(x.tensor(1), other.tensor(1))
    assert x.names[1] == "set_0042_simplex_000_eps_0.5000" and x.coords["base"][1] == "set_0042_base"


def test_given_directions_are_gone_along(tmp_path):
    rows = torch.randn(3, *SMALL, generator=torch.Generator().manual_seed(0))
    torch.save(rows, tmp_path / "rows.pt")
    units = rows.double().flatten(1) / rows.double().flatten(1).norm(dim=1, keepdim=True)
    for given in (rows, tmp_path / "rows.pt", str(tmp_path / "rows.pt")):
        x = noise.perturbed(2, SMALL, epsilon=0.25, directions=given)
        torch.testing.assert_close(offsets(x), units[:2], atol=1e-5, rtol=0)
        assert len(x.parameters["directions_sha256"]) == 64 and x.names[2] == "set_0042_along_001_eps_0.2500"


@pytest.mark.parametrize(
    ("count", "given", "told"),
    [
        (8, "simplex", "num_perturbations is 8; allowed: 2 to 7"),
        (1, "simplex", "num_perturbations is 1; allowed: 2 to 7"),
        (
            3,
            torch.ones(2, *SMALL),
            r"directions is .*; allowed: random, simplex, or .* \[3 or more, 1, 2, 3\]",
        ),
        (1, torch.ones(1, 1, 3, 2), r"directions is a torch.float32 tensor \[1, 1, 3, 2\]"),
        (1, torch.zeros(1, *SMALL), "directions is zero, NaN or Inf in row 0"),
        (1, torch.full((1, *SMALL), math.nan), "directions is zero, NaN or Inf in row 0"),
        (1, "nowhere.pt", "nowhere.pt"),
    ],
)
def test_directions_that_do_not_fit_are_refused(count, given, told):
    with pytest.raises(UserError, match=told):
        noise.perturbed(count, SMALL, epsilon=0.5, directions=given)
