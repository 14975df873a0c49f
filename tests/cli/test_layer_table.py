"""`denoscope layers`: what plain PyTorch says of a network, without its weights."""

import math

import pytest
import tiny_models
import torch

import denoscope as ds
from denoscope.cli import layer_table
from denoscope.cli.command import main


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A folder that holds a configuration of a Stable-Diffusion-like network and no weights."""
    folder = tmp_path_factory.mktemp("bare")
    tiny_models.conditional_unet().save_config(folder / "unet")
    assert not list(folder.rglob("*.safetensors"))
    return folder


def test_shapes_calls_and_sizes_are_those_of_plain_hooks(mnist):
    found = {layer.address: layer for layer in layer_table.find("mnist", ["type:Conv2d", "mid_block:in"])}
    seen = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, output, name=name: seen.setdefault(name, output))
        for name, module in mnist.network.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        mnist.network(torch.zeros(2, 1, 28, 28), torch.tensor(0))
    for handle in handles:
        handle.remove()
    assert list(found) == [*seen, "mid_block:in"]
    for name, output in seen.items():
        assert found[name].shape == tuple(output.shape[1:]) and found[name].calls == 1
        assert found[name].bytes == 4 * math.prod(output.shape[1:])


def test_no_weights_are_needed(bare, capsys):
    main(["layers", str(bare), "**.attn2:probs", "h-space"])
    told = capsys.readouterr().out.splitlines()
    assert told[0].split()[:4] == ["layer", "class", "shape", "dtype"]
    assert told[1].split()[0].endswith("attn2:probs") and "mid_block " in told[-2]
    assert told[-1].startswith(f"{len(told) - 2} layers, ")


def test_the_choice_among_several_outputs_is_told(capsys):
    main(["layers", "mnist", "down_blocks.0"])
    assert "[32, 14, 14] (first of 2)" in capsys.readouterr().out


def test_all_layers_are_listed_unless_queries_name_some(capsys, mnist):
    main(["layers", "mnist"])
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[1:-1]] == [layer.address for layer in mnist.layers()]


def test_what_is_recorded_is_what_is_listed(mnist, tmp_path):
    queries = ["h-space", "mid_block:diff", "mid_block.attentions.0:probs"]
    rec = ds.record(mnist, ds.noise.random(1, mnist.shape), tmp_path / "run.zarr", steps=1, layers=queries)
    for layer in layer_table.find("mnist", queries):
        assert rec.states[layer.address].shape == (1, 1, *layer.shape)
        assert rec.states[layer.address].nbytes == layer.bytes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist", "conv_inn"], "nearest are conv_in"),
        (["mnist", "type:Resnet"], "nearest are ResnetBlock2D"),
        (["mnist", "conv_in:probs"], "computes no attention"),
        (["mnist", "mid_block:probs[1]"], "only :in and :out have elements"),
        (["mnist", "down_blocks.0[7]"], "2 elements"),
    ],
)
def test_what_is_not_there_ends_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["layers", *arguments])
    told = capsys.readouterr().err
    assert stop.value.code == 2 and message in told and told.count("\n") == 1
