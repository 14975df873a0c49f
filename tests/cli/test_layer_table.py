"""`denoscope layers`: the table agrees with plain PyTorch, and needs no weights."""

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


def test_shapes_calls_and_sizes_are_those_of_plain_hooks(digits):
    listed = {layer.address: layer for layer in layer_table.find("digits", ["type:Conv2d", "mid_block:in"])}
    outputs = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, output, name=name: outputs.setdefault(name, output))
        for name, module in digits.network.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        digits.network(torch.zeros(2, 1, 8, 8), torch.tensor(0))
    for handle in handles:
        handle.remove()
    assert list(listed) == [*outputs, "mid_block:in"]
    for name, output in outputs.items():
        assert listed[name].shape == tuple(output.shape[1:]) and listed[name].calls == 1
        assert listed[name].bytes == 4 * math.prod(output.shape[1:])


def test_no_weights_are_needed(bare, capsys):
    main(["layers", str(bare), "**.attn2:probs", "h-space"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["layer", "class", "shape", "dtype"]
    assert lines[1].split()[0].endswith("attn2:probs") and "mid_block " in lines[-2]
    assert lines[-1].startswith(f"{len(lines) - 2} layers, ")


def test_all_layers_are_listed_unless_queries_name_some_and_several_outputs_are_marked(capsys, digits):
    main(["layers", "digits"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [layer.address for layer in digits.layers()]
    (line,) = (line for line in lines if line.startswith("down_blocks.0 "))
    assert "[16, 4, 4] (first of 2)" in line


def test_recorded_states_have_the_listed_shapes_and_sizes(digits, tmp_path):
    queries = ["h-space", "mid_block:diff", "mid_block.attentions.0:probs"]
    rec = ds.record(digits, ds.noise.random(1, digits.shape), tmp_path / "run.zarr", steps=1, layers=queries)
    for layer in layer_table.find("digits", queries):
        assert rec.states[layer.address].shape == (1, 1, *layer.shape)
        assert rec.states[layer.address].nbytes == layer.bytes
