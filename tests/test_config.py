"""The configuration classes: their defaults, and what they refuse."""

import dataclasses
from pathlib import Path

import pytest

from denoscope import config
from denoscope.config import (
    ClassifierConfig,
    DefaultConfig,
    GenerationConfig,
    InferenceConfig,
    ModelConfig,
    Settings,
    SystemConfig,
)
from denoscope.foundation.errors import UserError

CLASSES = [SystemConfig, GenerationConfig, ModelConfig, InferenceConfig, ClassifierConfig, DefaultConfig]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (SystemConfig, "device", "auto"),
        (SystemConfig, "inputs", Path("inputs")),
        (SystemConfig, "output", Path("outputs")),
        (GenerationConfig, "image_size", None),
        (GenerationConfig, "channels", None),
        (ModelConfig, "model", "mnist"),
        (ModelConfig, "scheduler", None),
        (InferenceConfig, "num_steps", 50),
        (InferenceConfig, "extract_states", True),
        (InferenceConfig, "noise", "common"),
        (ClassifierConfig, "classifier", "auto"),
        (ClassifierConfig, "classifier_weights", None),
        (DefaultConfig, "num_perturbations", 5),
        (DefaultConfig, "epsilon", 500.0),
        (DefaultConfig, "base_seed", 42),
        (DefaultConfig, "perturb_seed", 69),
        (DefaultConfig, "num_prompts_per_direction", (25, 41)),
        (DefaultConfig, "len_per_direction", None),
        (DefaultConfig, "center_coords", (0.0, 0.0)),
        (DefaultConfig, "plane_base_seed", 420),
        (DefaultConfig, "direction_seeds", (100, 200)),
    ],
)
def test_defaults(kind, field, value):
    assert getattr(kind(), field) == value


def test_the_map_of_first_and_last_convolutions_knows_the_three_documented_models():
    known = ModelConfig().first_last_layers
    assert {"mnist", "1aurent/ddpm-mnist", "google/ddpm-cifar10-32"} <= set(known)
    assert all(pair == ("conv_in", "conv_out") for pair in known.values())


def test_there_are_ten_different_colours():
    assert len(set(SystemConfig().class_colors)) == 10


@pytest.mark.parametrize("kind", CLASSES)
def test_every_option_has_a_help_text_and_a_default(kind):
    for field in dataclasses.fields(kind):
        assert field.metadata["help"].endswith(".")
        assert hasattr(kind(), field.name)


def test_settings_hold_one_instance_of_each_class():
    assert [type(value) for value in vars(Settings()).values()] == CLASSES


@pytest.mark.parametrize(
    ("kind", "field", "value", "allowed"),
    [
        (SystemConfig, "device", "tpu", "cuda:N"),
        (SystemConfig, "device", "cuda:x", "cuda:N"),
        (SystemConfig, "device", None, "cuda:N"),
        (SystemConfig, "seed", -1, "at least 0"),
        (SystemConfig, "threads", 0, "1 to 1024"),
        (SystemConfig, "threads", 1025, "1 to 1024"),
        (SystemConfig, "seed", 1.5, "an integer"),
        (SystemConfig, "seed", True, "an integer"),
        (SystemConfig, "inputs", 3, "a path"),
        (SystemConfig, "output", "", "a path"),
        (SystemConfig, "class_colors", ("#000000",) * 9, "ten colours"),
        (SystemConfig, "class_colors", ("red",) * 10, "#rrggbb"),
        (SystemConfig, "class_colors", (3,) * 10, "#rrggbb"),
        (GenerationConfig, "num_samples", 0, "at least 1"),
        (GenerationConfig, "num_samples", "10", "an integer"),
        (GenerationConfig, "image_size", 0, "at least 1"),
        (GenerationConfig, "channels", 1.0, "an integer"),
        (ModelConfig, "model", 5, "a string"),
        (ModelConfig, "scheduler", 5, "a string"),
        (ModelConfig, "first_last_layers", {"a": ("conv_in",)}, "first and last"),
        (ModelConfig, "first_last_layers", {"a": 3}, "first and last"),
        (ModelConfig, "first_last_layers", {"a": "ab"}, "first and last"),
        (ModelConfig, "first_last_layers", {"a": (1, 2)}, "first and last"),
        (ModelConfig, "first_last_layers", [("a", ("b", "c"))], "first and last"),
        (InferenceConfig, "batch_size", 0, "at least 1"),
        (InferenceConfig, "batch_size", "2", "an integer"),
        (InferenceConfig, "num_steps", 0, "at least 1"),
        (InferenceConfig, "lanes", 0, "multiple of 4"),
        (InferenceConfig, "lanes", 6, "multiple of 4"),
        (InferenceConfig, "every", (0,), "at least 1"),
        (InferenceConfig, "every", (), "at least 1"),
        (InferenceConfig, "every", (3, 3), "different"),
        (InferenceConfig, "codec", "lz4", "none, zstd"),
        (InferenceConfig, "state_dtype", "int8", "float16"),
        (InferenceConfig, "extract_states", 1, "True or False"),
        (InferenceConfig, "flatten", "yes", "True or False"),
        (InferenceConfig, "layers", "conv_in", "a list of strings"),
        (InferenceConfig, "layers", (1,), "list"),
        (InferenceConfig, "noise", "shared", "common, independent"),
        (InferenceConfig, "output_format", "hdf5", "auto, pt, zarr"),
        (ClassifierConfig, "classifier", "alexnet", "auto, lenet, digits-cnn"),
        (ClassifierConfig, "classifier_weights", 3, "a path"),
        (DefaultConfig, "epsilon", 0.0, "above 0"),
        (DefaultConfig, "epsilon", float("nan"), "above 0"),
        (DefaultConfig, "epsilon", float("inf"), "above 0"),
        (DefaultConfig, "base_seed", -3, "at least 0"),
        (DefaultConfig, "num_perturbations", 0, "at least 1"),
        (DefaultConfig, "num_prompts_per_direction", (5, 0), "at least 1"),
        (DefaultConfig, "num_prompts_per_direction", (5,), "at least 1"),
        (DefaultConfig, "num_prompts_per_direction", (5, 2.5), "at least 1"),
        (DefaultConfig, "num_prompts_per_direction", 5, "at least 1"),
        (DefaultConfig, "len_per_direction", (5.0, -1.0), "above 0"),
        (DefaultConfig, "len_per_direction", (float("inf"), 1.0), "above 0"),
        (DefaultConfig, "center_coords", (0.0, float("nan")), "two finite numbers"),
        (DefaultConfig, "direction_seeds", (7, 7), "two different"),
        (DefaultConfig, "direction_seeds", (7, -7), "two different"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_itself_and_what_is_allowed(kind, field, value, allowed):
    with pytest.raises(UserError) as caught:
        kind(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__}.{field} is {value!r}; allowed: ")
    assert allowed in message.partition("allowed: ")[2]
    assert "\n" not in message


def test_an_unknown_field_is_refused_with_the_known_ones():
    with pytest.raises(
        UserError, match=r"GenerationConfig has no field 'samples'; its fields are num_samples, "
    ):
        GenerationConfig(samples=3)


@pytest.mark.parametrize(("field", "value"), [("reject", True), ("classifier", "lenet")])
def test_what_is_for_bundled_weights_is_refused_beside_other_weights(field, value):
    with pytest.raises(UserError, match=rf"{field}=.*classifier_weights is own\.pt"):
        ClassifierConfig(classifier_weights=Path("own.pt"), **{field: value})


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (SystemConfig, "inputs"),
        (SystemConfig, "output"),
        (ClassifierConfig, "tensors"),
        (ClassifierConfig, "classifier_weights"),
        (DefaultConfig, "image_output_dir"),
        (DefaultConfig, "compare_folder"),
    ],
)
def test_a_path_may_be_a_text(kind, field):
    assert getattr(kind(**{field: "some/where"}), field) == Path("some/where")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:3"])
def test_devices_are_named_as_in_pytorch(device):
    assert SystemConfig(device=device).device == device


def test_whole_numbers_stand_for_lengths_and_lists_for_pairs():
    pair = DefaultConfig(len_per_direction=[10, 20], center_coords=(1, -2), epsilon=3)
    assert list(pair.len_per_direction) == [10, 20] and pair.epsilon == 3


def test_instances_cannot_be_changed_and_share_no_map():
    with pytest.raises(dataclasses.FrozenInstanceError):
        InferenceConfig().batch_size = 0
    one = ModelConfig()
    one.first_last_layers["mine"] = ("a", "b")
    assert "mine" not in ModelConfig().first_last_layers
    assert "mine" not in Settings().model.first_last_layers


def test_a_replaced_value_is_checked_again():
    with pytest.raises(UserError, match=r"InferenceConfig\.batch_size is 0"):
        dataclasses.replace(InferenceConfig(), batch_size=0)


def test_the_root_config_makes_one_instance_of_each_class():
    import runpy

    made = runpy.run_path(str(Path(__file__).parents[1] / "config.py"))
    assert made["SETTINGS"] == Settings()
    for name, kind in zip(vars(Settings()), CLASSES, strict=True):
        assert type(made[name]) is kind is getattr(config, kind.__name__)
        assert getattr(made["SETTINGS"], name) is made[name]
