"""Attributes and texts that every file format takes."""

import json

import numpy as np

from denoscope.storage.attributes import variable_texts, writable


def test_texts_and_numbers_stay_and_all_else_is_json_text():
    attributes = {"a": "text", "b": 3, "c": 2.5, "d": {"e": [1, {"f": None}]}, "g": [], "h": None, "i": True}
    found = writable(attributes)
    assert {name: found[name] for name in "abc"} == {"a": "text", "b": 3, "c": 2.5}
    assert {name: json.loads(found[name]) for name in "dghi"} == {name: attributes[name] for name in "dghi"}
    assert attributes["d"] == {"e": [1, {"f": None}]}


def test_texts_have_a_variable_length_and_numbers_stay():
    texts = variable_texts(np.array(["a", "größe"]))
    assert texts.dtype.kind in "TO" and texts.tolist() == ["a", "größe"]
    numbers = np.arange(3)
    assert variable_texts(numbers) is numbers
