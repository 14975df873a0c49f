"""Values as JSON has them, whatever held them."""

import math

import pytest
import torch

from denoscope.foundation.json_values import plain


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_tensors_of_every_precision_are_lists_without_what_is_not_finite(dtype):
    assert plain(torch.tensor([[0.5, math.inf], [math.nan, -2]], dtype=dtype)) == [[0.5, None], [None, -2.0]]
    assert plain({"one": torch.tensor(1.5, dtype=dtype, requires_grad=True)}) == {"one": 1.5}
