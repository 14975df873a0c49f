"""Queries, keys, values and weights against attention written out, and against PyTorch's kernel."""

import math

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import nn
from torch.nn import functional

import denoscope as ds
from denoscope.hooks.addresses import parse
from denoscope.hooks.attention import attention_weights
from denoscope.hooks.visitors import visiting


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Attend(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, q, k, v):
        return functional.scaled_dot_product_attention(q, k, v, **self.options)


class Holder(nn.Module):
    """A network with one attention module that is visited and one that is not."""

    def __init__(self, **options):
        super().__init__()
        self.visited, self.other = Attend(**options), Attend()

    def forward(self, q, k, v):
        self.other(q, q, q)
        return self.visited(q, k, v)


OPTIONS = [
    {},
    {"scale": 0.3},
    {"is_causal": True},
    {"attn_mask": draw(5, 7, seed=9) > -0.5},
    {"attn_mask": draw(5, 7, seed=9)},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_weights_times_values_equal_pytorchs_result(options):
    q, k, v = draw(2, 3, 5, 4, seed=1), draw(2, 3, 7, 4, seed=2), draw(2, 3, 7, 6, seed=3)
    weights = attention_weights(q, k, **options)
    assert weights.shape == (2, 3, 5, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5, dtype=torch.float64))
    torch.testing.assert_close(weights @ v, functional.scaled_dot_product_attention(q, k, v, **options))


def test_heads_that_share_keys_repeat_them():
    q, k, v = draw(1, 4, 5, 4), draw(1, 2, 5, 4, seed=1), draw(1, 2, 5, 4, seed=2)
    expected = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(attention_weights(q, k, enable_gqa=True) @ v.repeat_interleave(2, 1), expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_visitors_see_the_parts_and_change_no_bit(options):
    q, k, v = draw(2, 3, 5, 4, seed=1), draw(2, 3, 7, 4, seed=2), draw(2, 3, 7, 4, seed=3)
    network, seen = Holder(**options), {}
    visits = [
        (parse(f"visited:{part}"), lambda value, part=part: seen.__setitem__(part, value.clone()))
        for part in ("q", "k", "v", "probs")
    ]
    plain = network(q, k, v)
    with visiting(network, visits):
        output = network(q, k, v)
    assert torch.equal(output, plain)
    assert all(torch.equal(seen[name], value) for name, value in {"q": q, "k": k, "v": v}.items())
    torch.testing.assert_close(seen["probs"], attention_weights(q, k, **options))


def test_changed_weights_and_values_enter_the_result():
    q, k, v = draw(2, 3, 5, 4, seed=1), draw(2, 3, 7, 4, seed=2), draw(2, 3, 7, 4, seed=3)
    uniform = [(parse("visited:probs"), lambda value: torch.full_like(value, 1 / 7))]
    network = Holder()
    with visiting(network, uniform):
        torch.testing.assert_close(network(q, k, v), v.mean(-2, keepdim=True).expand(2, 3, 5, 4))
    with visiting(network, [(parse("visited:v"), lambda value: 2 * value)]):
        doubled = network(q, k, v)
    assert torch.equal(doubled, network(q, k, 2 * v))


def test_weights_of_half_precision_are_computed_in_single():
    q, k = draw(1, 1, 4, 8, dtype=torch.float32), draw(1, 1, 4, 8, seed=1, dtype=torch.float32)
    half = attention_weights(q.half(), k.half())
    assert half.dtype == torch.float16
    exact = (q.half().double() @ k.half().double().mT / math.sqrt(8)).softmax(-1)
    torch.testing.assert_close(half.double(), exact, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_parts_of_a_diffusers_attention_equal_its_projections(mnist):
    x, t = draw(2, 1, 28, 28, dtype=torch.float32), torch.tensor(500)
    path = "mid_block.attentions.0"
    module, seen, came_in = mnist.network.get_submodule(path), {}, []
    handle = module.group_norm.register_forward_hook(lambda _m, _a, output: came_in.append(output.clone()))
    visits = [
        (parse(f"{path}:{part}"), lambda v, part=part: seen.__setitem__(part, v.clone()))
        for part in ("q", "k", "probs")
    ]
    with visiting(mnist.network, visits):
        mnist.network(x, t)
    handle.remove()
    tokens = came_in[0] if came_in[0].ndim == 3 and came_in[0].shape[-1] == 96 else came_in[0].mT
    queries, keys = (
        projection(tokens).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        for projection in (module.to_q, module.to_k)
    )
    torch.testing.assert_close(seen["q"], queries)
    weights = (queries @ keys.mT / math.sqrt(queries.shape[-1])).softmax(-1)
    torch.testing.assert_close(seen["probs"], weights, rtol=1e-4, atol=1e-6)


class Mixed(nn.Module):
    """diffusers' attention between PyTorch layers, which use fused kernels of their own unless hooks prevent it."""

    def __init__(self):
        super().__init__()
        self.begin, self.end = nn.Conv2d(1, 16, 1), nn.Conv2d(16, 1, 1)
        self.before, self.after = (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(2))
        self.attention = Attention(16, heads=2, dim_head=8)

    def forward(self, x, _t):
        tokens = self.before(self.begin(x).flatten(2).transpose(1, 2))
        tokens = self.after(self.attention(tokens))
        return self.end(tokens.transpose(1, 2).reshape(-1, 16, 8, 8))


@pytest.mark.parametrize("what", ["probs", "q", "k", "v"])
def test_reading_one_attention_changes_no_bit_elsewhere(make_scheduler, what):
    torch.manual_seed(0)
    denoiser = ds.load(Mixed(), scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")
    x = ds.noise.random(3, (1, 8, 8))
    plain = ds.sample(denoiser, x, steps=3)
    rec = ds.record(denoiser, x, steps=3, layers=[f"attention:{what}"])
    np.testing.assert_array_equal(rec.final, plain)
    half = [ds.Intervention("attention:probs", "scale", 0.5)]
    changed = ds.sample(denoiser, x, steps=3, interventions=half)
    assert not torch.equal(changed, plain)
    assert torch.equal(ds.sample(denoiser, x, steps=3), plain), "no mode stays active"


def test_a_failing_attention_leaves_no_mode_active(make_scheduler):
    denoiser = ds.load(Mixed(), scheduler=make_scheduler("ddim"), shape=(1, 8, 8), device="cpu")
    x = ds.noise.random(1, (1, 8, 8))

    def fail(_state, _call):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        ds.sample(denoiser, x, steps=1, interventions=[ds.Intervention("attention:q", fail)])
    assert not torch.overrides._get_current_function_mode_stack()
