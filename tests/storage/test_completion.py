"""Completion marks: they are valid only while they match their own checksum."""

import json
import os

import google_crc32c
import pytest

from denoscope.storage import completion
from denoscope.storage.completion import Mark
from denoscope.storage.stores.local import LocalStore

MARK = Mark(["a", "b"], {"conv_in/c/0/0": [1, None, 4294967295]}, {"b": [2, 3]})


def test_a_mark_reads_as_it_was_written(tmp_path):
    completion.write(LocalStore(tmp_path), "marks", 3, MARK)
    assert dict(completion.read(LocalStore(tmp_path), "marks")) == {3: MARK}
    assert [path.name for path in (tmp_path / "marks").iterdir()] == ["3.json"]


def test_a_mark_is_put_after_everything_before_it_is_on_the_disk(tmp_path, monkeypatch):
    """Otherwise a power cut could keep a mark and lose what it says is finished."""
    synced, states = LocalStore.flush, []

    def flush(store):
        synced(store)
        states.append((sorted(store.list()), set(store._unflushed)))

    monkeypatch.setattr(LocalStore, "flush", flush)
    store = LocalStore(tmp_path)
    store.put("conv_in/c/0/0", b"states")
    completion.write(store, "marks", 3, MARK)
    assert states == [(["conv_in/c/0/0"], set())]


def test_a_mark_is_on_the_disk_when_the_next_one_is_put(tmp_path, monkeypatch):
    """As docs/stored_format.md and docs/reproducibility.md say: a power cut may lose the last mark, and no other."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
    )
    store = LocalStore(tmp_path)
    for group in (0, 1):
        store.put(f"states_{group}", b"states")
        completion.write(store, "marks", group, MARK)
        assert f"states_{group}" in synced and ("0.json" in synced) == (group == 1) and "1.json" not in synced


def test_marks_come_in_the_order_of_their_groups(tmp_path):
    for group in (10, 2, 0):
        completion.write(LocalStore(tmp_path), "marks", group, MARK)
    assert list(dict(completion.read(LocalStore(tmp_path), "marks"))) == [0, 2, 10]


def test_a_mark_is_plain_json_with_the_crc_32c_of_the_rest(tmp_path):
    completion.write(LocalStore(tmp_path), "marks", 0, MARK)
    content = json.loads((tmp_path / "marks" / "0.json").read_text())
    assert content["samples"] == ["a", "b"] and content["nonfinite"] == {"b": [2, 3]}
    own = content.pop("checksum")
    assert own == google_crc32c.value(json.dumps(content, sort_keys=True).encode())


def test_equal_groups_give_equal_bytes(tmp_path):
    completion.write(LocalStore(tmp_path), "one", 0, MARK)
    turned = Mark(MARK.samples, dict(reversed(MARK.files.items())), MARK.nonfinite)
    completion.write(LocalStore(tmp_path), "two", 0, turned)
    assert (tmp_path / "one" / "0.json").read_bytes() == (tmp_path / "two" / "0.json").read_bytes()


def test_a_mark_with_any_flipped_bit_is_damaged_or_has_the_same_meaning(tmp_path):
    completion.write(LocalStore(tmp_path), "marks", 7, MARK)
    path = tmp_path / "marks" / "7.json"
    sound = path.read_bytes()
    for place in range(len(sound)):
        for bit in range(8):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << bit]) + sound[place + 1 :])
            if dict(completion.read(LocalStore(tmp_path), "marks")):
                # Only white space can change undetected.
                assert dict(completion.read(LocalStore(tmp_path), "marks")) == {7: MARK}
            else:
                assert dict(completion.read_all(LocalStore(tmp_path), "marks")) == {7: None}


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"checksum": 0}', "3"])
def test_other_content_is_a_damaged_mark(tmp_path, content):
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "0.json").write_text(content)
    assert dict(completion.read(LocalStore(tmp_path), "marks")) == {}
    assert dict(completion.read_all(LocalStore(tmp_path), "marks")) == {0: None}


@pytest.mark.parametrize("length", [0, 1, 50, -1])
def test_a_truncated_mark_is_damaged(tmp_path, length):
    completion.write(LocalStore(tmp_path), "marks", 0, MARK)
    whole = (tmp_path / "marks" / "0.json").read_bytes()
    (tmp_path / "marks" / "0.json").write_bytes(whole[:length])
    assert dict(completion.read(LocalStore(tmp_path), "marks")) == {}
    assert dict(completion.read_all(LocalStore(tmp_path), "marks")) == {0: None}


def test_a_mark_under_another_groups_name_is_damaged(tmp_path):
    completion.write(LocalStore(tmp_path), "marks", 0, MARK)
    (tmp_path / "marks" / "0.json").rename(tmp_path / "marks" / "1.json")
    assert dict(completion.read(LocalStore(tmp_path), "marks")) == {}
    assert dict(completion.read_all(LocalStore(tmp_path), "marks")) == {1: None}


def test_other_files_are_not_marks(tmp_path):
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "layout.json").write_text("{}")
    (tmp_path / "marks" / "lock").touch()
    for folder in ("marks", "none"):
        assert dict(completion.read_all(LocalStore(tmp_path), folder)) == {}
