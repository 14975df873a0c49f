"""Configurations of a model's folder: a wrong value is one line that names file, key, value and what is allowed."""

import json
import shutil

import pytest
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
