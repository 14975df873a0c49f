"""HTML for notebooks: well-formed, escaped, and with pictures that show the values."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from denoscope.foundation.html_repr import sparkline, table, thumbnail


def pixels(image: str) -> np.ndarray:
    data = re.search(r'src="data:image/png;base64,([^"]*)"', image)
    assert data
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))


def test_a_table_lists_names_and_values_and_escapes_them():
    root = ElementTree.fromstring(table("A <b>", {"x & y": "<script>", "layers": ["a", "b"], "n": 3}))
    assert root.find("strong").text == "A <b>"
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    assert rows == [["x & y", "<script>"], ["layers", "a, b"], ["n", "3"]]


def test_a_table_shows_its_picture():
    picture = sparkline([1, 2])
    assert picture in table("title", {}, picture=picture)


def test_a_thumbnail_has_the_greys_of_its_values():
    assert pixels(thumbnail([[0.0, 5.0], [10.0, np.nan]])).tolist() == [[0, 128], [255, 128]]
    assert pixels(thumbnail(np.full((2, 3), 7))).tolist() == [[128] * 3] * 2
    assert pixels(thumbnail([[-1e308, 1e308]])).tolist() == [[0, 255]]


def test_a_large_array_makes_a_small_thumbnail():
    image = thumbnail(np.random.default_rng(0).normal(size=(1000, 500)))
    assert pixels(image).shape == (125, 63) and len(image) < 20_000


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((1, 2, 3)), np.zeros((0, 3))])
def test_a_thumbnail_needs_two_axes(array):
    with pytest.raises(ValueError, match=re.escape(f"array2d has shape {list(array.shape)}")):
        thumbnail(array)


def lines(svg: str) -> list[list[list[float]]]:
    root = ElementTree.fromstring(svg)
    return [[[float(x) for x in point.split(",")] for point in line.get("points").split()] for line in root]


def test_a_sparkline_runs_through_its_values():
    assert lines(sparkline([0, 10, 5])) == [[[1, 31], [80, 1], [159, 16]]]


def test_a_sparkline_is_interrupted_where_values_are_missing():
    first, second = lines(sparkline([1, 2, np.nan, 3, np.inf]))
    assert (len(first), len(second)) == (2, 1)


@pytest.mark.parametrize("values", [[], [4.0], [np.nan, np.nan], [2, 2, 2]])
def test_a_sparkline_of_degenerate_series_is_well_formed(values):
    assert sum(len(line) for line in lines(sparkline(values))) == np.isfinite(values).sum()


def test_a_long_series_makes_a_small_sparkline():
    assert len(sparkline(np.arange(100_000))) < 10_000
