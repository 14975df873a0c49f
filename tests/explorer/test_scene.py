"""Scenes and their fields in an address."""

import random

import pytest

from denoscope.explorer.scene import Scene
from denoscope.foundation.errors import UserError


def test_a_scene_is_restored_from_its_fields():
    draw = random.Random(0)
    for _ in range(200):
        scene = Scene(
            model=draw.choice(["digits", "a b/ü&=#", "mnist"]),
            scheduler=draw.choice(["", "ddim", "dpm++ 2m"]),
            clip_sample=draw.choice([None, True, False]),
            steps=draw.randint(1, 1000),
            base_seed=draw.randrange(2**63),
            direction_seeds=(draw.randrange(2**62), 2**62 + draw.randrange(2**62)),
            geometry=draw.choice(["flat", "spherical"]),
            length=draw.choice(["", "18", "0.5", "123456.000000000001"]),
            dtype=draw.choice(["auto", "float32", "float64"]),
            lanes=draw.choice([1, 8, 64, 256]),
            noise_seed=draw.randrange(2**63),
            reject=draw.choice([True, False]),
            image_level=draw.choice(["0.3", "1", "0.25"]),
            **draw.choice(
                [
                    {},
                    {"labels": (draw.randrange(99),)},
                    {"labels": (0,), "guidance_scale": 1 + 9 * draw.random()},
                ]
            ),
            **draw.choice([{}, {"image": "A-_z"}, {"through": (draw.randrange(99), 2**62, 100)}]),
        )
        fields = scene.fields
        assert all(isinstance(value, str) for value in fields.values())
        assert Scene.of_fields(fields) == scene


def test_defaults_are_left_out_of_the_fields():
    assert Scene("digits").fields == {"model": "digits"}


@pytest.mark.parametrize(
    ("field", "text", "allowed"),
    [
        ("steps", "0", "1 to 1000"),
        ("steps", "1e3", "an integer"),
        ("steps", "9" * 30, "an integer"),
        ("steps", "١", "an integer"),
        ("base_seed", "-1", "0 to"),
        ("direction_seeds", "5,5", "different"),
        ("direction_seeds", "5", "different"),
        ("direction_seeds", "5,6,7", "different"),
        ("geometry", "hyperbolic", "flat, spherical"),
        ("length", "0", "above 0"),
        ("length", "-3", "above 0"),
        ("length", "inf", "above 0"),
        ("length", "1e9", "above 0"),
        ("length", "9" * 100, "above 0"),
        ("length", "١٨", "above 0"),
        ("length", "0.٥", "above 0"),
        ("dtype", "float16", "float32"),
        ("lanes", "7", "multiple of 4"),
        ("lanes", "100000", "up to 256"),
        ("reject", "yes", "0 or 1"),
        ("clip_sample", "False", "0 or 1"),
        ("image", "A", "base64url"),
        ("image", "ABCDE", "base64url"),
        ("image", "a+b/", "base64url"),
        ("image", "é" * 8, "base64url"),
        ("image", "A" * 6000, "4,096 bytes"),
        ("image_level", "0", "above 0"),
        ("image_level", "0.0", "above 0"),
        ("image_level", "1.5", "up to 1"),
        ("image_level", "nan", "up to 1"),
        ("image_level", "0.٣", "up to 1"),
        ("through", "5,5,6", "different"),
        ("through", "5,6", "three different"),
        ("through", "5,6,7,8", "three"),
        ("through", "-1,6,7", "0 to"),
        ("through", "a,b,c", "three integers"),
        ("through", ",", "three integers"),
        ("labels", "-1", "one class"),
        ("labels", "1,2", "an integer, the class"),
        ("labels", "three", "an integer, the class"),
        ("guidance_scale", "0.5", "1 to 1000"),
        ("guidance_scale", "1e9", "1 to 1000"),
        ("guidance_scale", "nan", "1 to 1000"),
        ("guidance_scale", "2", "without labels"),
        ("model", "", "a name"),
        ("model", "x" * 1000, "a name"),
        ("colour", "red", "fields are"),
    ],
)
def test_an_invalid_field_is_refused_by_name(field, text, allowed):
    with pytest.raises(UserError) as caught:
        Scene.of_fields({"model": "digits", field: text})
    message = str(caught.value)
    assert field in message and allowed in message and len(message) < 1500


def test_a_scene_needs_a_model():
    with pytest.raises(UserError, match="model is missing"):
        Scene.of_fields({"steps": "3"})
