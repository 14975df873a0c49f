"""Every damage of every file that describes a recording is named, or the right numbers are read; nothing else happens.

`make test-slow` goes through all bits, truncations, deletions and swaps, and prints how they ended.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import damaged_files as corpus
import numpy as np
import pytest
from command_line import check_refusal

import denoscope as ds
from denoscope import cli
from denoscope.recording.opening import set_attribute

SAMPLED = 50


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict[str, corpus.Files]:
    folder = tmp_path_factory.mktemp("corpus")
    return {out: corpus.record(folder, out) for out in corpus.OUTPUTS}


@pytest.fixture(params=corpus.OUTPUTS)
def files(request, recorded) -> corpus.Files:
    return recorded[request.param]


def endings(files: corpus.Files, damages) -> Counter[str]:
    sound, found = corpus.read(corpus.store_of(files)), Counter()
    for damage in damages:
        try:
            found[corpus.outcome(damage.applied(files), sound)] += 1
        except BaseException as error:
            raise AssertionError(f"{damage.what}: {type(error).__name__}: {error}") from error
    assert not found["in several lines"]
    return found


def test_a_sample_of_the_corpus_is_named_or_reads_right(files):
    keys = corpus.describing(files)
    every = [
        *corpus.flips(files, keys),
        *corpus.truncations(files, keys),
        *corpus.deletions(keys),
        *corpus.swaps(keys),
    ]
    chosen = np.random.default_rng(16).choice(len(every), SAMPLED, replace=False)
    found = endings(files, [every[k] for k in chosen])
    assert found["damaged"] > 0.9 * SAMPLED, found


def flags_of(keys: list[str]) -> list[str]:
    """The files that say to plain readers what the marks say."""
    return [key for key in keys if key.startswith(("complete/c/", "nonfinite/c/"))]


def test_each_file_is_missed_or_harmless(files):
    keys = corpus.describing(files)
    found = endings(files, corpus.deletions(keys))
    # Without layout.json a recording reads as those that never had one.
    assert found["right"] == 1 + len(flags_of(keys)), found
    # Without a mark, its samples are unfinished.
    marks = [key for key in keys if key.endswith(("/0.json", "/1.json"))]
    assert found["unfinished"] == len(marks) == 2, found


@pytest.mark.parametrize("out", [pytest.param("run.zarr", marks=pytest.mark.slow), "run_pt"])
def test_each_exchange_of_two_files_is_seen_or_harmless(recorded, out):
    files = recorded[out]
    keys = corpus.describing(files)
    found = endings(files, corpus.swaps(keys))
    same = [
        (a, b)
        for k, a in enumerate(keys)
        for b in keys[:k]
        if files[a] == files[b] or {a, b} <= {*flags_of(keys)}
    ]
    assert found["right"] == len(same) and not found["unfinished"], found


@pytest.mark.slow
def test_the_whole_corpus_is_named_or_reads_right(files):
    keys = corpus.describing(files)
    for kind in (corpus.flips, corpus.truncations):
        found = endings(files, kind(files, keys))
        print(f"{kind.__name__}: {sum(found.values()):,} damages of {len(keys)} files: {dict(found)}")
        assert found["damaged"] + found["refused"] > 0.95 * sum(found.values())


def key_changed(old: bytes, new: bytes):
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


GROUP_CHANGED = key_changed(b'"consolidated_metadata"', b'"consolidated_metadatb"')
"""Without this key the recording counts as one that has not begun, and a resume starts from the first sample."""
NAMED = {
    "run.zarr": [
        ("epsilon/c/0", lambda data: data[:12] + bytes([data[12] ^ 1 << 4]) + data[13:]),
        ("sample/c/0", None),
        ("step/c/0", None),
        ("timestep/c/0", lambda data: data[::-1]),
        ("zarr.json", key_changed(b'"lanes": 2', b'"lanes": 0')),
        ("zarr.json", key_changed(b'"format_version": 1', b'"format_version": 3')),
        ("zarr.json", key_changed(b'"format_version": 1', b'"format_version": 0')),
        ("zarr.json", key_changed(b'"format_version"', b'"format_versiom"')),
        ("zarr.json", key_changed(b'"fingerprint"', b'"fingerprimt"')),
        ("zarr.json", key_changed(b'"model"', b'"mndel"')),
        ("zarr.json", GROUP_CHANGED),
        ("zarr.json", lambda _: b"[" * 100_000),
        ("zarr.json", lambda data: data[:-1]),
        ("zarr.json", lambda _: b"[]"),
        ("complete/marks/layout.json", lambda _: b"[]"),
        ("complete/marks/0.json", lambda _: b"[" * 100_000),
    ],
    "run_pt": [
        ("recording.json", key_changed(b'"format_version": 1', b'"format_version": 9')),
        ("recording.json", key_changed(b'"samples"', b'"sample3"')),
        ("recording.json", key_changed(b'"set_0001_base"', b'"set_0001_basd"')),
        ("recording.json", key_changed(b'"dtype": "float32"', b'"dtype": "gloat32"')),
        ("recording.json", key_changed(b'"inner_dims"', b'"inner_dim3"')),
        ("recording.json", key_changed(b'"config"', b'"confif"')),
        ("recording.json", lambda _: b"[" * 100_000),
        (".recording/layout.json", lambda _: b"[]"),
        (".recording/1.json", lambda _: b"null"),
    ],
}
DAMAGES = [(out, key, change) for out, entries in NAMED.items() for key, change in entries]


def damage(files: corpus.Files, path: Path, key: str, change) -> None:
    """Write a recording with one of its files changed, or without it."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    if change is None:
        (path / key).unlink()
    else:
        (path / key).write_bytes(change(files[key]))


@pytest.mark.parametrize(("out", "key", "change"), DAMAGES)
def test_commands_and_functions_name_the_damage_in_one_line(recorded, tmp_path, capsys, out, key, change):
    path = tmp_path / out
    damage(recorded[out], path, key, change)
    with pytest.raises(ds.UserError, match="is damaged") as refused:
        ds.open(path)
    assert key in str(refused.value) and "\n" not in str(refused.value)
    for line in ("dynamics divergence {}", "patch {} {} --output map.npz", "verify precision --path {}"):
        with pytest.raises(SystemExit) as ended:
            cli.main([word.format(path) for word in line.split()])
        printed = capsys.readouterr()
        assert ended.value.code == 2 and not printed.out, line
        check_refusal(printed.err, "is damaged", key)
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "store", str(path)])
    printed = capsys.readouterr()
    # The last line says what the error of `ds.open` says to do.
    advice = str(refused.value).rpartition("; ")[2]
    assert advice in (printed.out + printed.err).replace("--resume", "resume=True").splitlines()[-1]
    assert (ended.value.code, key in printed.out) == (1, True) or check_refusal(printed.err, key)


@pytest.mark.parametrize(("out", "key", "change"), DAMAGES)
def test_the_advice_of_the_error_works(recorded, tmp_path, out, key, change):
    """A resume repairs everything but the file that says what was recorded, of which a copy must be put back."""
    damage(recorded[out], tmp_path / out, key, change)
    with pytest.raises(ds.UserError, match="is damaged") as refused:
        ds.open(tmp_path / out)
    describes = key in ("zarr.json", "recording.json")
    assert ("resume it" in str(refused.value)) is not describes
    if not describes:
        corpus.record(tmp_path, out, resume=True)
    else:
        assert f"put back a copy of {key}, or record to another output" in str(refused.value)
        corpus.record(tmp_path, f"other_{out}")
        (tmp_path / out / key).write_bytes(recorded[out][key])
    repaired = corpus.read_files(tmp_path / out)
    assert corpus.outcome(repaired, corpus.read(corpus.store_of(recorded[out]))) == "right"


UNREADABLE = [entry for entry in DAMAGES if "/" not in entry[1] and entry[2] is not GROUP_CHANGED]


@pytest.mark.parametrize(("out", "key", "change"), UNREADABLE)
def test_a_resume_names_the_damaged_description(recorded, tmp_path, out, key, change):
    damage(recorded[out], tmp_path / out, key, change)
    with pytest.raises(ds.UserError, match=rf"{key} ") as refused:
        corpus.record(tmp_path, out, resume=True)
    assert "another output" in str(refused.value) and "None →" not in str(refused.value)


def test_an_attribute_that_was_added_later_is_covered_too(recorded, tmp_path):
    for out, files in recorded.items():
        path = tmp_path / out
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        for value in ({"per_state_l2": [0.0, 0.25, 0.5]}, {"per_state_l2": [0.0, 0.125, 0.5]}):
            set_attribute(path, "noise_floor", value)
            assert ds.open(path).attrs["noise_floor"] == value
        (root,) = [path / name for name in ("zarr.json", "recording.json") if (path / name).exists()]
        root.write_bytes(root.read_bytes().replace(b"0.125", b"0.025"))
        with pytest.raises(ds.UserError, match=r"is damaged: .* in noise_floor"):
            ds.open(path)
