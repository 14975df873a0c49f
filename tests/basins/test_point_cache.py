"""Points whose labels are known: shared between maps of one plane, and never wrong, however the file is damaged."""

import os
import random
import sqlite3

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import denoscope as ds
from denoscope.basins import point_cache
from denoscope.basins.labelling import parse_labelling
from denoscope.basins.point_cache import PointCache
from denoscope.foundation.threads import threads_set_to
from denoscope.models import bundled

DIGITS_CNN = bundled.ROOT / "digits-cnn" / "digits_cnn.safetensors"


def mapped(bars, count, **options):
    """A map of count × count cells, and the number of noises that it denoised."""
    plane = ds.noise.plane((count, count), bars.shape, lengths=(16.0, 16.0), endpoint=False)
    before = bars.network.rows
    found = ds.basins.map(bars, plane, steps=2, lanes=4, batch_size=64, **options)
    return found, bars.network.rows - before


def same(found, other):
    """Whether two maps are identical but for the work that they took."""
    return found.assign_attrs(network_rows=0).identical(other.assign_attrs(network_rows=0))


def test_finer_and_shifted_maps_take_shared_points_from_the_cache(bars, tmp_path):
    cache = tmp_path / "points.db"
    _, first = mapped(bars, 4, cache=cache)
    again, none = mapped(bars, 4, cache=cache)
    fine, rest = mapped(bars, 8, cache=cache)
    assert (first, none, rest) == (16, 0, 64 - 16)
    assert again.attrs["network_rows"] == 0 and fine.attrs["network_rows"] == rest
    fresh, every = mapped(bars, 8)
    assert every == 64 and same(fine, fresh)
    assert again["label"].equals(fine["label"][::2, ::2]) and len(np.unique(fine["label"])) == 2
    adaptive, computed = mapped(bars, 24, cache=cache, method="adaptive", audit=0)
    alone, alone_computed = mapped(bars, 24, method="adaptive", audit=0)
    assert same(adaptive, alone), "what the cache holds does not decide what is filled"
    assert 0 < computed < alone_computed
    assert adaptive.attrs["network_rows"] == computed and alone.attrs["network_rows"] == alone_computed
    assert alone_computed > alone["computed"].sum(), "calls that are not full count whole"
    part = ds.noise.plane((4, 4), bars.shape, lengths=(8.0, 8.0), center=(2.0, -4.0), endpoint=False)
    before = bars.network.rows
    found = ds.basins.map(bars, part, steps=2, lanes=4, cache=cache)
    assert bars.network.rows - before == 0, "every cell is one of the map of 8 × 8"
    assert set(found["v"].values) <= set(fine["v"].values)


@pytest.mark.parametrize(
    "changed", [{"lanes": 8}, {"steps": 1}, {"reject": True}, {"geometry": "spherical"}, {"base_seed": 3}]
)
def test_whatever_decides_a_label_keeps_points_apart(bars, tmp_path, changed):
    cache, options = tmp_path / "points.db", {"steps": 2, "lanes": 4, "cache": tmp_path / "points.db"}
    place = {name: changed[name] for name in changed if name in ("geometry", "base_seed")}
    planes = [
        ds.noise.plane((4, 4), bars.shape, lengths=(16.0, 16.0), endpoint=False, **part)
        for part in ({}, place)
    ]
    ds.basins.map(bars, planes[0], **options)
    rest = {name: value for name, value in changed.items() if name not in place}
    cached = ds.basins.map(bars, planes[1], **options | rest)
    assert same(cached, ds.basins.map(bars, planes[1], **options | rest | {"cache": None}))
    with sqlite3.connect(cache) as connection:
        counts = connection.execute("SELECT count(*) FROM points GROUP BY labelling").fetchall()
    connection.close()
    assert counts == [(16,), (16,)]


@pytest.fixture(scope="module")
def variants(make_unet, make_scheduler, tmp_path_factory):
    """(denoiser, options) by what differs from "none"; threads are set by the test."""
    folder = tmp_path_factory.mktemp("classifiers")
    weights = load_file(DIGITS_CNN)
    save_file(weights, folder / "own.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1e-3}, folder / "other.safetensors")

    def load(seed=0, **changed):
        network = make_unet(channels=1, seed=seed, num_class_embeds=3)
        return ds.load(network, device="cpu", **{"scheduler": make_scheduler("ddim")} | changed)

    def of_class(label):
        return ds.Condition({"class_labels": torch.tensor([label])})

    base, first = load(), {"condition": of_class(0)}
    return {
        "none": (base, first),
        "weights of the model": (load(seed=1), first),
        "scheduler": (load(scheduler="euler"), first),
        "configuration of the scheduler": (load(scheduler=make_scheduler("ddim", beta_end=0.03)), first),
        "dtype": (load(dtype="float64"), first),
        "steps": (base, first | {"steps": 3}),
        "condition": (base, {"condition": of_class(1)}),
        "guidance": (
            base,
            {"condition": ds.Condition(of_class(0).inputs, unconditional=of_class(2).inputs, scale=2.0)},
        ),
        "fast": (base, first | {"fast": True}),
        "lanes": (base, first | {"lanes": 8}),
        "noise_seed": (base, first | {"noise_seed": 1}),
        "threads": (base, first),
        "reject": (base, first | {"reject": True}),
        "weights of the classifier": (base, first | {"classifier": folder / "other.safetensors"}),
    }


def test_models_classifiers_and_whatever_decides_bits_share_a_file_and_no_point(variants, tmp_path):
    """Each finds the file without points of its own, however many the others left, and later its own alone."""
    path = tmp_path / "points.db"
    plane = ds.noise.plane((2, 2), (1, 8, 8), lengths=(8.0, 8.0))

    def visit(name, number, visit_again):
        denoiser, options = variants[name]
        given = {"steps": 2, "classifier": "auto", "reject": False, "lanes": 4, "noise_seed": 0} | options
        with threads_set_to(2 if name == "threads" else 1):
            labelling, _ = parse_labelling(denoiser, plane, **given)
            origin, nothing = labelling.origin(plane.parameters), labelling.nothing
        with point_cache.opened(path, plane, origin, nothing) as points:
            known = points.on_grid(plane.u, plane.v)
            if visit_again:
                assert (known.index >= 0).all() and (known.answers["label"] == number).all(), name
            else:
                assert (known.index < 0).all(), f"points of another are taken where {name} differs"
                answers = {key: np.full(4, number, values.dtype) for key, values in nothing.items()}
                points.add(plane.coords["u"], plane.coords["v"], answers)

    for visit_again in (False, True):
        for number, name in enumerate(variants):
            visit(name, number, visit_again)


def test_what_was_computed_before_a_stop_is_in_the_cache(bars, tmp_path):
    def stop(_map):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(bars, 12, cache=tmp_path / "points.db", callback=stop)
    assert mapped(bars, 12, cache=tmp_path / "points.db")[1] == 144 - 64


def test_a_damaged_cache_is_named_or_gives_the_right_labels(bars, tmp_path):
    cache, damaged = tmp_path / "points.db", tmp_path / "damaged.db"
    truth, _ = mapped(bars, 4, cache=cache)
    content, drawn = cache.read_bytes(), random.Random(0)
    right, named = 0, []
    for _ in range(60):
        bits = bytearray(content)
        bits[drawn.randrange(len(bits))] ^= 1 << drawn.randrange(8)
        damaged.write_bytes(bits)
        try:
            found, _ = mapped(bars, 4, cache=damaged)
        except ds.UserError as error:
            named.append(str(error))
        else:
            right += same(found, truth)
    assert right + len(named) == 60 and right and named
    assert all(str(damaged) in line and "\n" not in line for line in named)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(84), None])
def test_other_files_are_refused_and_left_as_they_are(bars, tmp_path, content):
    path = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE mine (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(ds.UserError, match=r"cache .*other\.db cannot be used: .*; name another file"):
        mapped(bars, 4, cache=path)
    assert path.read_bytes() == before


def test_invalid_caches_are_refused(bars, tmp_path):
    plane = ds.noise.plane((2, 2), bars.shape, lengths=(16.0, 16.0))
    plane.write(tmp_path / "noises")
    read = ds.noise.read(tmp_path / "noises")
    for noises, options, line in (
        (plane, {"cache": 3}, "cache is 3; allowed: a path"),
        (plane, {"cache": tmp_path}, "cache .* cannot be used"),
        (plane, {"cache": "points\0.db"}, "cache"),
        (plane, {"cache": tmp_path / "none" / "points.db"}, "cache .* cannot be used"),
        (read, {"cache": tmp_path / "points.db"}, "cache needs a plane that noise.plane"),
        (
            plane,
            {"cache": "points.db", "classifier": lambda images: [0] * len(images)},
            "cache needs a classifier",
        ),
        (plane, {"callback": "print"}, "callback is 'print'; allowed: a function"),
    ):
        with pytest.raises(ds.UserError, match=line):
            ds.basins.map(bars, noises, steps=2, **options)


@pytest.mark.parametrize("link", ["none", "symbolic", "hard"])
def test_a_cache_that_is_the_file_of_the_checkpoint_is_refused_before_anything_is_computed(
    bars, tmp_path, monkeypatch, link
):
    monkeypatch.chdir(tmp_path)
    cache, options = "c.npz" if link == "none" else "points.db", {}
    if link != "none":
        mapped(bars, 4, cache=cache)
        (os.symlink if link == "symbolic" else os.link)(cache, "c.npz")
        options = {"overwrite": True}
    before = bars.network.rows
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    line = rf"^cache is {cache}, the same file as checkpoint .*c\.npz; name another path$"
    with pytest.raises(ds.UserError, match=line):
        mapped(bars, 4, cache=cache, checkpoint=ds.Checkpoint(tmp_path / "c.npz", **options))
    assert bars.network.rows == before
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_points_are_the_same_only_if_they_are_equal_to_the_bit(tmp_path):
    nothing = {"label": np.zeros(0, np.int64), "margin": np.zeros(0, np.float32)}
    with sqlite3.connect(tmp_path / "points.db") as connection:
        from denoscope.basins.point_cache import TABLES

        connection.executescript(TABLES)
        cache = PointCache(connection, {"model": 1}, nothing)
        u = np.array([0.1, 0.1 + 2**-55 * 8, 0.3])
        cache.add(u, np.zeros(3), {"label": np.array([1, 2, 3]), "margin": np.float32([0.1, 0.2, np.nan])})
        known = cache.on_grid(np.array([0.1, 0.2, 0.3]), np.array([-1.0, 0.0]))
    connection.close()
    assert (known.index >= 0).tolist() == [[False] * 3, [True, False, True]]
    assert known.answers["label"][known.index[1, [0, 2]]].tolist() == [1, 3]
    np.testing.assert_array_equal(known.answers["margin"][known.index[1, [0, 2]]], np.float32([0.1, np.nan]))


def test_a_negative_zero_is_the_point_zero(bars, tmp_path):
    plane = ds.noise.plane((1, 1), bars.shape, lengths=(1.0, 1.0), center=(-0.0, -0.0))
    options = {"steps": 2, "lanes": 4, "cache": tmp_path / "points.db"}
    first = ds.basins.map(bars, plane, **options)
    before = bars.network.rows
    assert same(ds.basins.map(bars, plane, **options), first) and bars.network.rows == before
