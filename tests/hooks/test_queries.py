"""The addresses that queries match, against lists written by hand and plain regular expressions."""

import re

import pytest
import torch

import denoscope as ds
from denoscope.hooks.module_survey import Layer
from denoscope.hooks.queries import as_queries, choose


def layer(address, kind="Conv2d", classes=()):
    return Layer(address, kind, (1,), torch.float32, 1, classes=classes)


LAYERS = [
    layer("conv_in"),
    layer("down_blocks.0.resnets.0", "ResnetBlock2D"),
    layer("down_blocks.0.resnets.0.conv1", "MPConv", ("MPConv", "Conv2d", "_ConvNd")),
    layer("down_blocks.1.resnets.0", "ResnetBlock2D"),
    layer("down_blocks.1.attentions.0", "Attention"),
    layer("mid_block", "UNetMidBlock2D"),
    layer("mid_block.attentions.0", "Attention"),
    layer("up_blocks.0", "UpBlock2D"),
    layer("up_blocks.10", "UpBlock2D"),
    layer("conv_out"),
]


def names(*queries):
    return [str(address) for address in choose(queries, LAYERS)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("mid_block", ["mid_block"]),
        ("down_blocks.*.resnets.0", ["down_blocks.0.resnets.0", "down_blocks.1.resnets.0"]),
        ("up_blocks.*", ["up_blocks.0", "up_blocks.10"]),
        ("**.conv1", ["down_blocks.0.resnets.0.conv1"]),
        (r"re:up_blocks\.\d+$", ["up_blocks.0", "up_blocks.10"]),
        (r"re:blocks\.[0]$", ["up_blocks.0"]),
        (r"re:blocks\.[0]$:out[1]", ["up_blocks.0[1]"]),
        ("type:ResnetBlock2D", ["down_blocks.0.resnets.0", "down_blocks.1.resnets.0"]),
        ("type:Conv2d", ["conv_in", "down_blocks.0.resnets.0.conv1", "conv_out"]),
        ("type:MPConv", ["down_blocks.0.resnets.0.conv1"]),
        ("type:Up*:in", ["up_blocks.0:in", "up_blocks.10:in"]),
        ("first", ["conv_in"]),
        ("last", ["conv_out"]),
        ("h-space", ["mid_block"]),
        ("h-space:diff", ["mid_block:diff"]),
        ("mid_block:out", ["mid_block"]),
        ("mid_block[0]", ["mid_block[0]"]),
        ("mid_block:in[1]:before", ["mid_block:in[1]:before"]),
        ("mid_block.attentions.0:q", ["mid_block.attentions.0:q"]),
        ("**:probs", ["down_blocks.1.attentions.0:probs", "mid_block.attentions.0:probs"]),
    ],
)
def test_a_query_matches_addresses_in_the_order_of_calls(query, expected):
    assert names(query) == expected


def test_a_regular_expression_is_searched_as_python_does():
    pattern = r"s\.0\."
    assert names(f"re:{pattern}") == [one.address for one in LAYERS if re.search(pattern, one.address)]


def test_matches_come_query_by_query_and_once_each():
    assert names("conv_out", "type:Conv2d") == ["conv_out", "conv_in", "down_blocks.0.resnets.0.conv1"]


def test_an_exclamation_mark_removes_matches_of_the_queries_before_it():
    assert names("type:Conv2d", "!**.conv1") == ["conv_in", "conv_out"]
    assert names("up_blocks.*", "up_blocks.*:in", "!up_blocks.0") == ["up_blocks.10", "up_blocks.10:in"]
    assert names("up_blocks.*", "up_blocks.*:in", "!up_blocks.0:in") == [
        "up_blocks.0",
        "up_blocks.10",
        "up_blocks.10:in",
    ]
    assert names("up_blocks.0", "!up_blocks.*", "up_blocks.0") == ["up_blocks.0"]


def test_a_module_whose_name_ends_like_a_suffix_is_found():
    layers = [layer("blocks.c[0]"), layer("blocks.c")]
    found = choose(["blocks.c[0]", "blocks.c[0]:in", "blocks.c[0][1]", "blocks.c[1]"], layers)
    assert [(one.path, one.what, one.index) for one in found] == [
        ("blocks.c[0]", "out", None),
        ("blocks.c[0]", "in", None),
        ("blocks.c[0]", "out", 1),
        ("blocks.c", "out", 1),
    ]


@pytest.mark.parametrize("queries", [["!conv_in"], ["conv_in", "!conv_in"], ["**", "!**"]])
def test_queries_without_a_match_left_are_an_error(queries):
    with pytest.raises(ds.UserError, match="leaves no layer") as caught:
        choose(queries, LAYERS)
    assert " ".join(queries) in str(caught.value) and "\n" not in str(caught.value)
    assert choose([], LAYERS) == []


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("conv_inn", ["'conv_inn'", "nearest are conv_in"]),
        ("type:ResnetBlock", ["nearest are ResnetBlock2D"]),
        ("down.*.none", ["'down.*.none'"]),
        ("re:(", ["'re:('", "not a regular expression"]),
        ("mid_block:probs[0]", ["only :in and :out have elements"]),
        ("!none", ["'!none'"]),
        ("mid_block:inn", ["'mid_block:inn'", ":in, :out, :diff"]),
        ("h-space:prob", ["'h-space:prob'", ":in, :out, :diff"]),
        ("**.conv1:probs", ["unknown layer"]),
    ],
)
def test_a_query_that_matches_nothing_is_an_error_of_one_line(query, parts):
    with pytest.raises(ds.UserError) as caught:
        names(query)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_another_name_of_a_shared_module_names_the_one_that_is_listed():
    with pytest.raises(ds.UserError, match=r"'tied'.*name 'conv_in'"):
        choose(["tied"], LAYERS, {"tied": "conv_in"})


def test_a_network_without_a_bottleneck_has_no_h_space():
    with pytest.raises(ds.UserError, match="h-space is the mid_block"):
        choose(["h-space"], [layer("conv_in")])


def test_one_query_may_be_a_text():
    assert as_queries("mid_block") == ("mid_block",)
    assert as_queries(["a", "b"]) == ("a", "b") and as_queries(()) == ()


@pytest.mark.parametrize("wrong", [5, None, [1], [["a"]]])
def test_layers_that_are_not_texts_are_an_error(wrong):
    with pytest.raises(ds.UserError, match="layers is ") as caught:
        as_queries(wrong)
    assert repr(wrong) in str(caught.value)
