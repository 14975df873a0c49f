"""Conversion to JSON values."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from denoscope.foundation.json_values import as_json, differences


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_of_every_precision_become_lists_without_nan_and_inf(dtype):
    assert as_json(torch.tensor([[0.5, math.inf], [math.nan, -2]], dtype=dtype)) == [
        [0.5, None],
        [None, -2.0],
    ]
    assert as_json({"one": torch.tensor(1.5, dtype=dtype, requires_grad=True)}) == {"one": 1.5}


def test_containers_and_other_values_become_those_of_json():
    @dataclasses.dataclass
    class Point:
        x: np.ndarray
        name: str = "p"

    value = {
        1: (np.float32(0.5), np.int64(2)),
        "point": Point(np.array([1, 2])),
        "path": Path("a/b"),
        "none": None,
    }
    assert as_json(value) == {"1": [0.5, 2], "point": {"x": [1, 2], "name": "p"}, "path": "a/b", "none": None}
    assert json.loads(json.dumps(as_json(value))) == as_json(value)


def test_differences_end_with_hashes_of_which_eight_digits_are_shown():
    stored = {"weights_sha256": "0123456789abcdef" * 4, "steps": 2, "same": 1}
    wanted = {"weights_sha256": "f" * 64, "same": 1, "steps": 3, "k": 8}
    shown = differences(stored, wanted, lambda name: f"--{name}")
    assert shown == ["--steps: 2 → 3", "--k: None → 8", "--weights_sha256: 01234567… → ffffffff…"]
