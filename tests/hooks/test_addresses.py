"""What queries name, against lists written by hand and plain regular expressions."""

import re

import pytest
import torch

import denoscope as ds
from denoscope.hooks.addresses import Address, choose, parse
from denoscope.hooks.module_survey import Layer


def layer(address, kind="Conv2d"):
    return Layer(address, kind, (1,), torch.float32, 1)


LAYERS = [
    layer("conv_in"),
    layer("down_blocks.0.resnets.0", "ResnetBlock2D"),
    layer("down_blocks.0.resnets.0.conv1"),
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
def test_a_query_names_its_matches_in_the_order_of_calls(query, expected):
    assert names(query) == expected


def test_a_regular_expression_is_searched_as_python_does():
    pattern = r"s\.0\."
    assert names(f"re:{pattern}") == [one.address for one in LAYERS if re.search(pattern, one.address)]


def test_queries_follow_one_another_and_nothing_comes_twice():
    assert names("conv_out", "type:Conv2d") == ["conv_out", "conv_in", "down_blocks.0.resnets.0.conv1"]


def test_an_exclamation_mark_takes_away_what_was_chosen_before_it():
    assert names("type:Conv2d", "!**.conv1") == ["conv_in", "conv_out"]
    assert names("up_blocks.*", "up_blocks.*:in", "!up_blocks.0") == ["up_blocks.10", "up_blocks.10:in"]
    assert names("up_blocks.*", "up_blocks.*:in", "!up_blocks.0:in") == [
        "up_blocks.0",
        "up_blocks.10",
        "up_blocks.10:in",
    ]
    assert names("up_blocks.0", "!up_blocks.*", "up_blocks.0") == ["up_blocks.0"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a.b", Address("a.b")),
        ("a:in", Address("a", "in")),
        ("a:out[2]", Address("a", "out", 2)),
        ("a[0]:before", Address("a", "out", 0, True)),
        ("a.1:probs:before", Address("a.1", "probs", None, True)),
    ],
)
def test_an_address_is_written_as_it_is_read(text, address):
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize("queries", [["!conv_in"], ["conv_in", "!conv_in"], ["**", "!**"]])
def test_queries_that_leave_nothing_are_refused(queries):
    with pytest.raises(
        ds.UserError, match="leave nothing; name what stays in front of what is taken away"
    ) as caught:
        choose(queries, LAYERS)
    assert "\n" not in str(caught.value)
    assert choose([], LAYERS) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("conv_inn", "unknown layer 'conv_inn'; the nearest are conv_in, "),
        ("type:ResnetBlock", "nearest are ResnetBlock2D"),
        ("down.*.none", "unknown layer 'down.*.none'"),
        ("re:(", "no regular expression"),
        ("mid_block:probs[0]", "only :in and :out have elements"),
        ("!none", "unknown layer '!none'"),
        ("mid_block:inn", "unknown layer 'mid_block:inn'; behind a path may stand :in, :out, :diff, "),
        ("h-space:prob", "unknown layer 'h-space:prob'; behind a path may stand :in, "),
        ("**.conv1:probs", "unknown layer"),
    ],
)
def test_what_names_nothing_is_refused_in_one_line(query, message):
    with pytest.raises(ds.UserError) as caught:
        names(query)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", ":in", "a:b:in", "a[0][1]"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ds.UserError, match="is no address"):
        parse(text)


def test_a_network_without_a_bottleneck_has_no_h_space():
    with pytest.raises(ds.UserError, match="no mid_block"):
        choose(["h-space"], [layer("conv_in")])
