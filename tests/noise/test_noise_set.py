"""Noises as values: indexing, equality, pickling, size and representation."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from denoscope import UserError, noise

SHAPE = (1, 28, 28)


def test_a_set_is_indexed_like_a_sequence():
    x = noise.random(6, SHAPE)
    assert len(x) == 6 and x.tensor(-1).shape == SHAPE and x.batch([4, 2]).shape == (2, *SHAPE)
    assert torch.equal(x.tensor(-1), x.tensor(5)) and torch.equal(x.batch([4, 2])[1], x.tensor(2))
    for take in (x.tensor, x.__getitem__, x.names.__getitem__, lambda index: x.batch([0, index])):
        for kind in (IndexError, UserError):
            with pytest.raises(kind, match=r"^an index is 6; allowed: 0 to 5, or -6 to -1 from the end$"):
                take(6)
    part = x.subset([4, 2])
    assert part.names == ("noise_0004", "noise_0002") and torch.equal(part.tensor(1), x.tensor(2))
    assert part.coords["seed"].tolist() == x.coords["seed"][[4, 2]].tolist()


@pytest.mark.parametrize("indices", [[True, False], np.array([True, False]), [0, np.bool_(1)]])
def test_a_mask_is_not_a_list_of_indices(indices):
    x = noise.random(2, SHAPE)
    for take in (x.batch, x.subset):
        with pytest.raises(UserError, match=r"True.*integers.*np\.flatnonzero"):
            take(indices)
    with pytest.raises(UserError, match=r"True.*integers"):
        x.tensor(True)


def test_a_batch_of_no_noises_is_empty():
    x = noise.random(2, SHAPE)
    assert x.batch([]).shape == (0, *SHAPE) and len(x.subset([])) == 0


def test_names_are_a_sequence():
    x = noise.random(5, SHAPE)
    names = ["noise_0000", "noise_0001", "noise_0002", "noise_0003", "noise_0004"]
    assert x.names == names and list(x.names) == names and x.names != names[:4] and x.names != "noise_0000"
    assert x.names[-1] == "noise_0004" and x.names[1:3] == ("noise_0001", "noise_0002")
    assert x.names.index("noise_0003") == 3 and "noise_0005" not in x.names
    assert np.array(x.names).tolist() == names
    assert repr(x.names) == "noise_0000, noise_0001, …, noise_0004"
    assert repr(x.subset([3, 1]).names) == "noise_0003, noise_0001"


def made(folder: Path) -> dict[str, noise.NoiseSet]:
    """Small noises of every kind."""
    shape = (2, 3, 4)
    directions = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    noise.plane((2, 3), shape).write(folder)
    return {
        "random": noise.random(3, shape, seed=5),
        "perturbed": noise.perturbed(2, shape, epsilon=2.5),
        "simplex": noise.perturbed(2, shape, epsilon=2.5, directions="simplex"),
        "directions": noise.perturbed(2, shape, epsilon=2.5, directions=directions),
        "plane": noise.plane((2, 3), shape, lengths=(2.0, 4.0)),
        "sphere": noise.sphere(3, shape),
        "folder": noise.read(folder),
        "array": noise.as_noises(directions, shape=shape),
        "subset": noise.plane((2, 3), shape).subset([4, 1]),
    }


KINDS = [
    "random", "perturbed", "simplex", "directions", "plane", "sphere", "folder", "array", "subset",
]  # fmt: skip
IN_ANOTHER_PROCESS = """
import pickle, sys
noises = pickle.load(sys.stdin.buffer)
pickle.dump({
    kind: (
        x.batch(range(len(x))).numpy(), x.tensor(1).numpy(), list(x.names), x.coords, x.parameters, x.stem, x.shape
    )
    for kind, x in noises.items()
}, sys.stdout.buffer)
"""


@pytest.mark.slow
def test_noises_are_the_same_in_another_process(tmp_path):
    noises = made(tmp_path)
    assert list(noises) == KINDS
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=pickle.dumps(noises),
        capture_output=True,
        check=True,
    )
    for kind, (batch, second, names, coords, parameters, stem, shape) in pickle.loads(done.stdout).items():
        x = noises[kind]
        np.testing.assert_array_equal(batch, x.batch(range(len(x))))
        np.testing.assert_array_equal(second, x.tensor(1))
        assert x.names == names and x.parameters == parameters and (x.stem, x.shape) == (stem, shape)
        assert x.coords.keys() == coords.keys()
        for name in coords:
            np.testing.assert_array_equal(coords[name], x.coords[name])


@pytest.mark.parametrize("kind", KINDS)
def test_noises_are_equal_if_they_are_made_alike(tmp_path, kind):
    one, two = made(tmp_path)[kind], pickle.loads(pickle.dumps(made(tmp_path)[kind]))
    assert one == two
    assert all(one != other for name, other in made(tmp_path).items() if name != kind)
    assert one != "noises"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@pytest.mark.parametrize("kind", KINDS)
def test_noises_are_frozen(tmp_path, kind):
    x = made(tmp_path)[kind]
    before = x.tensor(0)
    x.tensor(0)[:] = 7
    x.batch([0])[:] = 7
    assert torch.equal(x.tensor(0), before)
    with pytest.raises(AttributeError):
        x.shape = (1, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_noises_are_shown_in_one_line_and_as_a_small_table(tmp_path, kind):
    x = made(tmp_path)[kind]
    assert repr(x).startswith(f"<{type(x).__name__}: {len(x)} × [2, 3, 4]")
    assert "\n" not in repr(x) and len(repr(x)) < 300
    page = x._repr_html_()
    root = ElementTree.fromstring(page.replace('pixelated">', 'pixelated"/>'))
    rows = {row[0].text: row[1].text for row in root.iter("tr")}
    assert rows["shape"] == "[2, 3, 4]" and rows["names"].startswith(x.names[0]) and len(page) < 3000
    assert "<img" in page


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
        (lambda: noise.plane((2, True), SHAPE), r"counts is \(2, True\): the number along v is True"),
        (lambda: noise.plane((2, 2), SHAPE, lengths=60), "lengths is 60; allowed: two numbers"),
        (
            lambda: noise.plane((2, 2), SHAPE, lengths=("wide", 2)),
            "the number along u is 'wide'; allowed: a number above 0",
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


def test_a_set_is_iterated_and_indexed_like_a_sequence():
    x = noise.random(4, (1, 2, 3), seed=3)
    assert all(torch.equal(a, x.tensor(k)) for k, a in enumerate(x)) and len(list(x)) == 4
    assert torch.equal(x[-1], x.tensor(3)) and torch.equal(torch.stack(list(x[1:3])), x.batch([1, 2]))
    assert list(x[::2].names) == [x.names[0], x.names[2]]
    with pytest.raises(IndexError):
        x[4]
    for wrong in ([0, 1], "0", 1.0, None):
        with pytest.raises(UserError, match=r"an index is .*; allowed: an integer"):
            x[wrong]
