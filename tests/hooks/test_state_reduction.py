"""Reduced states against NumPy on whole arrays, and the statistics of random projections."""

import math

import numpy as np
import pytest
import torch

from denoscope.foundation import random_streams
from denoscope.foundation.errors import UserError
from denoscope.hooks.state_reduction import Selection

IMAGE, TOKENS, VECTOR = (6, 5, 7), (9, 4), (11,)
INNERS = [IMAGE, TOKENS, VECTOR]


def select(**options):
    everything = {"channels": None, "height": None, "width": None}
    return Selection(**(everything | {"reduce": "none", "flatten": False, "seed": 0} | options))


def states(n, inner, *, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *inner, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("inner", [*INNERS, (), (2, 3, 4, 5)])
def test_a_whole_state_is_not_copied(inner):
    state = states(3, inner)
    assert select().apply(state) is state
    assert select().shape(inner) == inner


def test_slices_are_views():
    state = states(3, IMAGE)
    assert select(channels="1:4", width="::2").apply(state).data_ptr() == state[:, 1:].data_ptr()
    assert select(flatten=True).apply(state).data_ptr() == state.data_ptr()


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("0:3", [0, 1, 2]),
        ("::2", [0, 2, 4]),
        (":", [0, 1, 2, 3, 4, 5]),
        ("-2:", [4, 5]),
        (" 1 : 5 : 3 ", [1, 4]),
        ("4:100", [4, 5]),
        ("5", [5]),
        ("-1", [5]),
        ("3,0,-1", [3, 0, 5]),
        (" 2, 2", [2, 2]),
    ],
)
def test_texts_choose_as_in_numpy(text, indices):
    state = states(2, IMAGE)
    chosen = select(channels=text)
    np.testing.assert_array_equal(chosen.apply(state), state.numpy()[:, indices])
    assert chosen.shape(IMAGE) == (len(indices), 5, 7)


def test_each_option_chooses_from_its_own_axis():
    image, tokens, vector = (states(2, inner) for inner in INNERS)
    all_three = select(channels="1", height="1:3", width="6,0")
    np.testing.assert_array_equal(
        all_three.apply(image), image.numpy()[:, 1:2, 1:3][..., [6, 0]], err_msg="image"
    )
    assert all_three.shape(IMAGE) == (1, 2, 2)
    np.testing.assert_array_equal(select(channels="1,3").apply(tokens), tokens.numpy()[:, :, [1, 3]])
    np.testing.assert_array_equal(select(channels="::5").apply(vector), vector.numpy()[:, ::5])


@pytest.mark.parametrize(
    ("inner", "reduce", "axes", "dims"),
    [
        (IMAGE, "spatial_mean", (2, 3), ("channel",)),
        (TOKENS, "spatial_mean", (1,), ("feature",)),
        (IMAGE, "channel_mean", (1,), ("height", "width")),
        (TOKENS, "channel_mean", (2,), ("token",)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_means(inner, reduce, axes, dims, dtype):
    state = states(3, inner, dtype=dtype)
    truth = state.double().numpy().mean(axes)
    found = select(reduce=reduce).apply(state)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-15 if dtype == torch.float64 else 1e-7)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert select(reduce=reduce).dims(inner) == dims
    assert select(reduce=reduce).shape(inner) == found.shape[1:]


@pytest.mark.parametrize("inner", INNERS)
def test_the_norm_is_one_number(inner):
    state, chosen = states(4, inner, dtype=torch.float64), select(reduce="norm")
    truth = np.sqrt((state.numpy() ** 2).reshape(4, -1).sum(1))
    np.testing.assert_allclose(chosen.apply(state), truth, rtol=1e-14)
    assert chosen.shape(inner) == chosen.dims(inner) == ()
    assert select(reduce="norm", flatten=True).apply(state).shape == (4,)


def test_half_precision_neither_overflows_nor_stalls():
    large = torch.full((1, 1, 64, 64), 60000.0, dtype=torch.float16)
    assert select(reduce="spatial_mean").apply(large).item() == large[0, 0, 0, 0].item()
    assert select(reduce="norm").apply(large).item() == 64 * large[0, 0, 0, 0].item()
    ones = torch.ones(1, 8192, 1, dtype=torch.bfloat16)
    assert select(reduce="spatial_mean").apply(ones).item() == 1


def test_the_part_is_taken_before_the_reduction():
    state = states(3, IMAGE)
    part = state.numpy()[:, 1::2, :, 2:4]
    for reduce, truth in (
        ("spatial_mean", part.mean((2, 3))),
        ("channel_mean", part.mean(1)),
        ("norm", np.sqrt((part**2).sum((1, 2, 3)))),
    ):
        chosen = select(channels="1::2", width="2:4", reduce=reduce)
        np.testing.assert_allclose(chosen.apply(state), truth, rtol=1e-5, atol=1e-7)
        assert chosen.shape(IMAGE) == truth.shape[1:]


@pytest.mark.parametrize("inner", INNERS)
def test_axes_are_named_and_flattened(inner):
    names = {IMAGE: ("channel", "height", "width"), TOKENS: ("token", "feature"), VECTOR: ("feature",)}
    assert select().dims(inner) == names[inner]
    flat = select(flatten=True)
    assert flat.dims(inner) == ("feature",) and flat.shape(inner) == (math.prod(inner),)
    state = states(2, inner)
    np.testing.assert_array_equal(flat.apply(state), state.numpy().reshape(2, -1))
    assert select(flatten=True, reduce="project:3").dims(inner) == ("projection",)


def test_flattening_after_a_reduction():
    state = states(2, IMAGE)
    flat = select(reduce="channel_mean", flatten=True)
    assert flat.dims(IMAGE) == ("feature",) and flat.shape(IMAGE) == (35,)
    np.testing.assert_allclose(flat.apply(state), state.numpy().mean(1).reshape(2, -1), rtol=1e-5, atol=1e-7)
    assert select(reduce="spatial_mean", flatten=True).dims(IMAGE) == ("channel",)


def matrix_by_hand(size, k, seed):
    rows = [
        torch.randn(size, generator=random_streams.generator(f"projection of {size}", seed, row))
        for row in range(k)
    ]
    return torch.stack(rows).double().numpy() / math.sqrt(k)


@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_projection_multiplies_by_the_documented_matrix(inner, dtype):
    state, chosen = states(3, inner, dtype=dtype), select(reduce="project:5", seed=7)
    matrix = matrix_by_hand(math.prod(inner), 5, seed=7)
    truth = np.einsum("ks,ns->nk", matrix, state.double().numpy().reshape(3, -1))
    found = chosen.apply(state)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert chosen.shape(inner) == (5,)
    assert not torch.equal(found, select(reduce="project:5", seed=8).apply(state))


def test_a_projection_depends_on_the_size_alone_and_its_first_dimensions_not_on_k():
    state = states(2, IMAGE, dtype=torch.float64)
    few, many = (select(reduce=f"project:{k}").apply(state) for k in (4, 16))
    torch.testing.assert_close(few, 2 * many[:, :4], rtol=1e-6, atol=0)
    flat = select(reduce="project:4").apply(state.flatten(1))
    assert torch.equal(flat, few)


def test_projected_distances_scatter_as_stated():
    k, pairs = 32, 1500
    chosen = select(reduce=f"project:{k}")
    state = states(2 * pairs, (40, 30), seed=1)
    one, two = chosen.apply(state).chunk(2)
    before = (state[:pairs] - state[pairs:]).flatten(1).square().sum(1)
    ratio = (one - two).square().sum(1) / before
    # The pairs share one matrix; in 1,200 dimensions their directions are nearly independent.
    assert ratio.mean().item() == pytest.approx(1, abs=4 * math.sqrt(2 / (k * 1200)) + 0.02)
    assert ratio.std().item() == pytest.approx(math.sqrt(2 / k), rel=0.1)


def test_a_squared_distance_over_many_seeds_has_its_expectation():
    k, draws = 8, 600
    state = states(1, (20,))
    ratio = (
        torch.stack(
            [select(reduce=f"project:{k}", seed=seed).apply(state).square().sum() for seed in range(draws)]
        )
        / state.square().sum()
    )
    deviation = math.sqrt(2 / k)  # of a chi-squared variable with k degrees of freedom, over k
    assert ratio.mean().item() == pytest.approx(1, abs=4 * deviation / math.sqrt(draws))
    assert ratio.std().item() == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize("reduce", ["spatial_mean", "channel_mean", "norm", "project:1", "project:7"])
@pytest.mark.parametrize("inner", [(5, 3, 3), (16, 8, 8), (7, 37)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_bits_of_a_row_depend_on_neither_place_nor_neighbours_nor_number(reduce, inner, dtype):
    chosen = select(reduce=reduce)
    row = states(1, inner, dtype=dtype)
    truth = chosen.apply(row)[0]
    for rows in range(1, 17):
        for place in range(rows):
            batch = states(rows, inner, dtype=dtype, seed=rows)
            batch[place] = row[0]
            assert torch.equal(chosen.apply(batch)[place], truth), (rows, place)


def test_a_row_does_not_depend_on_its_neighbours_infinities():
    state = states(3, IMAGE)
    broken = state.clone()
    broken[1] = math.inf
    for reduce in ("spatial_mean", "norm", "project:4"):
        chosen = select(reduce=reduce)
        assert torch.equal(chosen.apply(broken)[[0, 2]], chosen.apply(state)[[0, 2]])


def test_the_memory_layout_changes_no_bit():
    state = states(4, IMAGE)
    other = state.to(memory_format=torch.channels_last)
    for options in ({"reduce": "spatial_mean"}, {"reduce": "project:4"}, {"flatten": True}, {"width": "1,2"}):
        chosen = select(**options)
        assert torch.equal(chosen.apply(state), chosen.apply(other))


def test_the_matrix_is_drawn_once():
    chosen = select(reduce="project:4")
    chosen.apply(states(2, IMAGE))
    (first,) = chosen._matrices.values()
    chosen.apply(states(3, IMAGE))
    (second,) = chosen._matrices.values()
    assert first is second
    chosen.apply(states(3, TOKENS))
    assert len(chosen._matrices) == 2


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    one = select(reduce="project:4").apply(states(2, IMAGE))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(select(reduce="project:4").apply(states(2, IMAGE)), one)


@pytest.mark.parametrize(
    "text", ["", "a", "1:2:3:4", "::0", "::-1", "1.5", "1,", ",1", "0:8,3", "- 1", "1;2"]
)
@pytest.mark.parametrize("option", ["channels", "height", "width"])
def test_a_wrong_text_is_an_error_with_what_is_allowed(option, text):
    with pytest.raises(UserError, match=rf"{option} is .*allowed: a slice such as 0:8"):
        select(**{option: text})


@pytest.mark.parametrize(
    "reduce", ["", "mean", "project", "project:", "project:0", "project:-3", "project:2.5", "Norm", "norm\n"]
)
def test_an_unknown_reduction_is_an_error_with_what_is_allowed(reduce):
    with pytest.raises(UserError, match=r"allowed: none, spatial_mean, channel_mean, norm, or project:K"):
        select(reduce=reduce)


@pytest.mark.parametrize(
    ("inner", "options", "part"),
    [
        (IMAGE, {"channels": "6"}, "channels is '6', which does not fit its 6 channels"),
        (IMAGE, {"channels": "0,-7"}, "does not fit its 6 channels"),
        (IMAGE, {"height": "5:"}, "does not fit its 5 heights; allowed"),
        (IMAGE, {"width": "3:3"}, "at least one of 0 to 6"),
        (TOKENS, {"channels": "4"}, "does not fit its 4 features"),
        (TOKENS, {"height": "0"}, "no axis for height"),
        (VECTOR, {"width": "0"}, "no axis for width"),
        ((2, 3, 4, 5), {"channels": "0"}, "no axis for channels"),
        (VECTOR, {"reduce": "spatial_mean"}, "reduce='spatial_mean' takes states [channel, height, width]"),
        (VECTOR, {"reduce": "channel_mean"}, "choose none, norm or project:K"),
        ((2, 3, 4, 5), {"reduce": "channel_mean"}, "reduce='channel_mean' takes states"),
        ((64, 64, 64), {"reduce": "project:2000"}, "would take 2.0 GiB; allowed: K up to 1024"),
        ((2**20, 32, 32), {"reduce": "project:1"}, "would take 4.0 GiB; choose fewer channels"),
    ],
)
def test_a_selection_that_does_not_fit_a_layer_is_an_error_that_names_it(inner, options, part):
    chosen = select(**options)
    for method in (chosen.shape, chosen.dims):
        with pytest.raises(UserError) as caught:
            method(inner, "mid_block")
        assert "layer 'mid_block' has states of shape" in str(caught.value) and part in str(caught.value)
        assert "\n" not in str(caught.value)
    if math.prod(inner) < 10**7:
        with pytest.raises(UserError, match="states of shape"):
            chosen.apply(torch.zeros(1, 1).expand(1, math.prod(inner)).reshape(1, *inner))


def test_the_memory_of_a_projection_is_known_in_advance():
    assert select(reduce="project:1024").shape((64, 64, 64)) == (1024,)
    assert select(reduce="project:1024").matrix_bytes((64, 64, 64)) == 2**30
    assert select(reduce="project:10", channels="0").matrix_bytes(IMAGE) == 4 * 10 * 35
    assert select(reduce="norm").matrix_bytes(IMAGE) == 0
    chosen = select(reduce="project:10")
    chosen.apply(states(1, IMAGE))
    (matrix,) = chosen._matrices.values()
    assert matrix.nbytes == chosen.matrix_bytes(IMAGE)


def test_selections_are_equal_if_their_options_are():
    one, other = select(reduce="project:4"), select(reduce="project:4")
    one.apply(states(1, IMAGE))
    assert one == other and hash(one) == hash(other) and "_matrices" not in repr(one)
