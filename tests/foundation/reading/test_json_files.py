"""JSON from elsewhere: every fault is one line that names the file, the key, the value and what is allowed."""

import json
import os
from dataclasses import dataclass
from typing import Any

import pytest

from denoscope.foundation.errors import UserError
from denoscope.foundation.reading import json_files
from denoscope.foundation.reading.json_files import DEPTH, MalformedError


@dataclass(frozen=True)
class Inner:
    sizes: list[int]


@dataclass(frozen=True)
class Outer:
    names: list[str]
    table: dict[str, Inner]
    pair: tuple[str, int] = ("", 0)


GOOD = {"names": ["a"], "table": {"x": {"sizes": [1, 2]}}}


def test_content_of_the_schema_is_returned_as_its_type_and_further_keys_are_ignored():
    found = json_files.parse(json.dumps(GOOD | {"new": [1]}).encode(), Outer, "f.json")
    assert found == Outer(["a"], {"x": Inner([1, 2])})


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        ([], ("f.json", "[]", "object")),
        ({"names": []}, ("f.json", "table")),
        (GOOD | {"names": [3]}, ("f.json", "names[0]", "3", "str")),
        (GOOD | {"names": {"a": 1}}, ("f.json", "names", "{'a': 1}", "array")),
        (GOOD | {"table": {"x": {"sizes": [True]}}}, ("f.json", "sizes[0]", "bool", "int")),
        (GOOD | {"table": {"x": {}}}, ("f.json", "table", "sizes")),
        (GOOD | {"pair": ["a", 1.5]}, ("f.json", "pair[1]", "1.5", "int")),
        (GOOD | {"pair": ["a"]}, ("f.json", "pair", "['a']", "length 2")),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(content, fragments):
    with pytest.raises(MalformedError) as refused:
        json_files.parse(json.dumps(content).encode(), Outer, "f.json")
    message = str(refused.value)
    assert "\n" not in message and all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"names": ["a"',
        b"\xff\xfe",
        b'{"names": [], "table": {}, "pair": ["", ' + b"9" * 5000 + b"]}",
        b"\xef\xbb\xbf{}x",
        b"nul",
    ],
)
def test_what_is_not_json_is_refused_in_one_line(data):
    with pytest.raises(MalformedError, match=r"^f\.json is not JSON: [^\n]+$"):
        json_files.parse(data, Outer, "f.json")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("levels", [DEPTH + 1, 900, 100_000])
def test_deep_nesting_is_refused(opening, levels):
    closing = "]" if opening == "[" else "}"
    data = (opening * levels + "1" + closing * levels).encode()
    with pytest.raises(MalformedError, match=rf"f\.json is nested too deeply.*{DEPTH}"):
        json_files.parse(data, Any, "f.json")


def test_nesting_up_to_the_bound_is_read():
    found = json_files.parse(b"[" * DEPTH + b"]" * DEPTH, Any, "f.json")
    depth = 0
    while isinstance(found, list):
        found, depth = (found[0] if found else None), depth + 1
    assert depth == DEPTH


def test_sizes_and_counts_are_bounded(monkeypatch):
    monkeypatch.setattr(json_files, "VALUES", 10)
    json_files.parse(b"[1,2,3,4,5,6,7,8,9]", list[int], "f.json")
    with pytest.raises(MalformedError, match=r"f\.json.*10 values"):
        json_files.parse(b"[1,2,3,4,5,6,7,8,9,10,11]", list[int], "f.json")
    monkeypatch.setattr(json_files, "BYTES", 10)
    with pytest.raises(MalformedError, match=r"f\.json.*11 B"):
        json_files.parse(b"[1,2,3,4,5]", list[int], "f.json")


def test_a_file_is_read_and_named(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps(GOOD))
    assert json_files.read(path, Outer) == Outer(["a"], {"x": Inner([1, 2])})
    path.write_text("[")
    with pytest.raises(UserError, match=str(path)):
        json_files.read(path, Outer)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("pipe", "loop", "zeros", "missing", "", "n" * 300, "a\0b", "file/below"):
        (tmp_path / "file").touch()
        with pytest.raises(MalformedError, match="cannot read") as refused:
            json_files.read(tmp_path / name, dict)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 100, "]{" * 100, 'a"[', "\\", "\\\\" + "[" * 100])
def test_brackets_within_texts_are_not_nested(text):
    content = {text: [text]}
    assert json_files.parse(json.dumps(content).encode(), dict[str, list[str]], "f.json") == content
