"""Configurations of a model's folder: a wrong value is one line that names file, key, value and what is allowed."""

import json
import shutil

import pytest
from command_line import refuse
from tiny_models import unet

import denoscope as ds
from denoscope.models import model_folder

NETWORK = [
    ("sample_size", [8]),
    ("sample_size", 8.5),
    ("sample_size", "x"),
    ("block_out_channels", []),
    ("block_out_channels", None),
    ("block_out_channels", [8, 0]),
    ("norm_num_groups", 0),
    ("norm_num_groups", "4"),
    ("layers_per_block", 10**5),
    ("layers_per_block", -1),
    ("in_channels", 10**12),
    ("time_embedding_type", [8]),
    ("up_block_types", 8.5),
    ("up_block_types", [10**9]),
    ("act_fn", {}),
    ("attention_head_dim", 10**400),
]
SCHEDULER = [
    ("beta_start", "x"),
    ("beta_start", float("nan")),
    ("beta_end", [0.02]),
    ("beta_schedule", "steep"),
    ("beta_schedule", None),
    ("prediction_type", "noise"),
    ("prediction_type", 1),
    ("num_train_timesteps", 10**12),
    ("num_train_timesteps", 0),
    ("trained_betas", ["x"]),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    from diffusers import DDIMScheduler

    folder = tmp_path_factory.mktemp("models") / "sound"
    unet().save_pretrained(folder)
    DDIMScheduler().save_config(folder)
    return folder


@pytest.fixture
def changed(sound, tmp_path):
    """A copy of the folder in which one file is another."""

    def make(file, content):
        folder = shutil.copytree(sound, tmp_path / "model", dirs_exist_ok=True)
        (folder / file).write_text(content)
        return folder

    return make


def one_line(refused, *fragments):
    message = str(refused.value)
    assert "\n" not in message and all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize(("key", "value"), NETWORK)
def test_a_network_that_cannot_be_built_is_refused_in_one_line(sound, changed, key, value):
    config = json.loads((sound / "config.json").read_text()) | {key: value}
    folder = changed("config.json", json.dumps(config))
    for read in (ds.load, model_folder.blueprint):
        with pytest.raises(ds.UserError) as refused:
            read(folder)
        one_line(refused, "config" if read is model_folder.blueprint else str(folder))


@pytest.mark.parametrize(("key", "value"), SCHEDULER)
def test_a_scheduler_that_cannot_run_is_refused_in_one_line(sound, changed, key, value):
    config = json.loads((sound / "scheduler_config.json").read_text()) | {key: value}
    with pytest.raises(ds.UserError) as refused:
        ds.load(changed("scheduler_config.json", json.dumps(config)))
    one_line(refused)


def test_a_refusal_names_the_file_the_key_and_what_is_allowed(sound, changed):
    config = json.loads((sound / "config.json").read_text()) | {"layers_per_block": 10**5}
    with pytest.raises(ds.UserError) as refused:
        ds.load(changed("config.json", json.dumps(config)))
    one_line(refused, "config.json", "layers_per_block", "100000", "256")


@pytest.mark.parametrize("file", ["config.json", "scheduler_config.json"])
@pytest.mark.parametrize("content", ["", "[", "[]", "null", "[" * 100_000, '{"_class_name": "\\ud800"}'])
def test_what_is_not_a_configuration_is_refused_in_one_line(changed, file, content):
    with pytest.raises(ds.UserError) as refused:
        ds.load(changed(file, content))
    one_line(refused, file)


def test_a_sound_folder_is_loaded(sound):
    assert ds.load(sound).shape == (3, 8, 8)


NAMED = [
    ("config.json", "block_out_channels", None, "array"),
    ("config.json", "attention_head_dim", 0, "int >= 1"),
    ("config.json", "attn_norm_num_groups", -1, "int >= 1"),
    ("config.json", "time_embedding_type", "zzz", "positional, fourier, learned"),
    ("config.json", "time_embedding_type", None, "positional, fourier, learned"),
    ("config.json", "resnet_time_scale_shift", "zzz", "default, scale_shift, ada_group, spatial"),
    ("config.json", "downsample_type", "zzz", "conv, resnet"),
    ("config.json", "class_embed_type", 1, "timestep, identity, projection, simple_projection, null"),
    ("config.json", "num_class_embeds", 1.5, "int"),
    ("config.json", "norm_eps", "zzz", "float"),
    ("config.json", "dropout", 1.5, "float <= 1.0"),
    ("config.json", "add_attention", "false", "true or false"),
    ("config.json", "flip_sin_to_cos", [], "true or false"),
    ("scheduler_config.json", "prediction_type", "zz", "epsilon, sample, original_sample, v_prediction"),
    ("scheduler_config.json", "timestep_spacing", "zz", "leading, linspace, trailing"),
    ("scheduler_config.json", "clip_sample", "false", "true or false"),
    ("scheduler_config.json", "set_alpha_to_one", {}, "true or false"),
    ("scheduler_config.json", "clip_sample_range", None, "float"),
    ("scheduler_config.json", "trained_betas", [], "length >= 1"),
]
"""Entries with a value and what is allowed instead."""
BUILT_FROM = [
    ("config.json", "act_fn", "zzz", "silu"),
    ("config.json", "act_fn", 0, "silu"),
    ("config.json", "in_channels", None, "3"),
    ("config.json", "layers_per_block", [], "2"),
    ("config.json", "down_block_types", None, "DownBlock2D"),
    ("scheduler_config.json", "beta_schedule", "zzz", "linear"),
    ("scheduler_config.json", "beta_end", None, "0.02"),
]
"""Entries for which no list states what is allowed, with a value and a part of what diffusers takes or says."""


def refusal(changed, sound, file, key, value):
    config = json.loads((sound / file).read_text()) | {key: value}
    with pytest.raises(ds.UserError) as refused:
        ds.load(changed(file, json.dumps(config)))
    return refused


@pytest.mark.parametrize(("file", "key", "value", "allowed"), NAMED)
def test_a_refusal_names_the_file_the_entry_its_value_and_what_is_allowed(
    sound, changed, file, key, value, allowed
):
    one_line(refusal(changed, sound, file, key, value), f"{file} has {key} {value!r}; allowed: ", allowed)


@pytest.mark.parametrize(("file", "key", "value", "said"), BUILT_FROM)
def test_an_entry_from_which_diffusers_cannot_build_is_found(sound, changed, file, key, value, said):
    one_line(refusal(changed, sound, file, key, value), file, f"{key} is {value!r}, by default ", said)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prediction_type", None),
        ("timestep_spacing", None),
        ("steps_offset", 10**6),
        ("trained_betas", [0.1]),
    ],
)
def test_an_entry_with_which_a_scheduler_cannot_step_is_named(sound, changed, key, value):
    import torch

    config = json.loads((sound / "scheduler_config.json").read_text()) | {key: value}
    denoiser = ds.load(changed("scheduler_config.json", json.dumps(config)), device="cpu")
    with pytest.raises(ds.UserError) as refused:
        ds.sample(denoiser, torch.zeros(1, *denoiser.shape), steps=2)
    one_line(refused, "steps is 2", f"its {key} is {value!r}, by default ")


def test_a_configuration_is_refused_before_its_weights_are_read(sound, changed):
    config = json.loads((sound / "config.json").read_text()) | {"act_fn": "zzz"}
    folder = changed("config.json", json.dumps(config))
    for weights in folder.glob("*.safetensors"):
        weights.write_bytes(b"")
    with pytest.raises(ds.UserError) as refused:
        ds.load(folder)
    one_line(refused, "config.json", "act_fn is 'zzz', by default 'silu'")


def test_flags_of_old_configurations_may_be_numbers_or_null(sound, changed):
    config = json.loads((sound / "scheduler_config.json").read_text())
    folder = changed("scheduler_config.json", json.dumps(config | {"clip_sample": 0, "thresholding": None}))
    assert not ds.load(folder).scheduler.config["clip_sample"]


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "block_out_channels", None),
        ("config.json", "act_fn", "zzz"),
        ("scheduler_config.json", "prediction_type", "zz"),
    ],
)
def test_the_command_ends_with_one_line_and_code_2(
    sound, changed, capsys, tmp_path, monkeypatch, file, key, value
):
    monkeypatch.chdir(tmp_path)
    ds.noise.random(1, (3, 8, 8)).write("inputs")
    config = json.loads((sound / file).read_text()) | {key: value}
    refuse(capsys, f"record --model {changed(file, json.dumps(config))}", file, key, repr(value))
