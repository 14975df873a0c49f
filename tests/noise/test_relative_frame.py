"""Coordinates relative to a point of a plane: the same noises as absolute ones, to the last digits of small lengths."""

import dataclasses

import mpmath
import pytest
import torch

import denoscope as ds
from denoscope.noise.relative_frame import RelativeFrame

SHAPE = (1, 4, 4)
ORIGINS = [(0.0, 0.0), (1e-7, 0.0), (0.75, -1.25), (-3.0, 2.5), (5.0, 4.0)]


def plane(geometry: str):
    whole = ds.noise.plane((2, 2), SHAPE, lengths=(8, 8), geometry=geometry)
    return whole.in_precision(torch.float64)


def relative(whole, origin):
    return dataclasses.replace(whole, frame=RelativeFrame(whole.frame, *origin))


def exact(whole, u, v):
    """The noise at (u, v) in 50 digits, from the definition of the plane."""
    base, first, second = (
        [mpmath.mpf(x) for x in t.flatten().tolist()] for t in whole.frame.vectors(whole.geometry)
    )
    if whole.geometry == "flat":
        return [b + u * x + v * y for b, x, y in zip(base, first, second, strict=True)]
    radius = mpmath.sqrt(sum(b * b for b in base))
    length = mpmath.sqrt(u * u + v * v)
    angle = length / radius
    along = radius * mpmath.sin(angle) / length if length else mpmath.mpf(1)
    return [
        mpmath.cos(angle) * b + along * (u * x + v * y) for b, x, y in zip(base, first, second, strict=True)
    ]


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_the_noises_are_those_of_absolute_coordinates(geometry, origin):
    whole, points = (
        plane(geometry),
        torch.tensor([[0.0, 0.0], [0.5, -0.25], [-1.0, 2.0], [3.0, 3.0]], dtype=torch.float64),
    )
    expected = whole.at(points + torch.tensor(origin, dtype=torch.float64))
    torch.testing.assert_close(relative(whole, origin).at(points), expected, rtol=0, atol=5e-15)


@pytest.mark.parametrize("geometry", ["flat", "spherical"])
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("step", [2.0**-20, 2.0**-30, 2.0**-40])
def test_differences_of_noises_are_exact_to_their_rounding(geometry, origin, step):
    """The difference between two near noises, beside that in 50 digits; only the noises themselves are rounded."""
    whole = plane(geometry)
    near = relative(whole, origin).at([[3 * step, -5 * step], [4 * step, -5 * step]])
    with mpmath.workdps(50):
        u, v, h = mpmath.mpf(origin[0]), mpmath.mpf(origin[1]), mpmath.mpf(step)
        one, other = exact(whole, u + 3 * h, v - 5 * h), exact(whole, u + 4 * h, v - 5 * h)
        expected = [float(y - x) for x, y in zip(one, other, strict=True)]
    found = (near[1] - near[0]).flatten().tolist()
    assert (
        max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-15
    )  # two roundings of numbers up to 4


def test_the_origin_is_part_of_the_parameters_and_the_rest_is_the_frames():
    whole = plane("spherical")
    moved = relative(whole, (1.5, -0.5))
    assert (
        moved.parameters["origin"] == [1.5, -0.5]
        and moved.parameters["base_seed"] == whole.parameters["base_seed"]
    )
    assert moved.frame.circumference == pytest.approx(whole.frame.circumference, rel=1e-12)
    noises = moved.at([[0.25, 0.5]])
    torch.testing.assert_close(
        moved.frame.coordinates_of(noises, "spherical"), torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    )
