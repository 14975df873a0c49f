"""Figures of matplotlib inside of a page."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_page import pixels_of

from denoscope.figures.reports import result_figure
from denoscope.figures.reports.result_figure import inline


@pytest.fixture
def figure():
    return drawn()


def drawn():
    figure = Figure(figsize=(3.5, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy([1, 10, 100], label="<base & $x_T$>")
    left.set(xlabel="state $k$", ylabel="separation (L2)", title="growth")
    left.legend()
    right.imshow(np.arange(12).reshape(3, 4))
    right.set(xlabel="u")
    return figure


def test_texts_stay_texts_and_ids_are_unique_in_the_page(figure):
    first, second = (ElementTree.fromstring(inline(figure, anchor).svg) for anchor in ("one", "two"))
    texts = {"".join(text.itertext()) for text in first.iter("text")}
    assert {"growth", "separation (L2)"} <= texts
    ids = [
        [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        for root in (first, second)
    ]
    assert ids[0] and not set(ids[0]) & set(ids[1]) and len(set(ids[0])) == len(ids[0])
    for element in first.iter():
        assert "{" not in element.tag and element.tag not in ("metadata", "style")
        for name, value in element.attrib.items():
            assert ":" not in name
            if name == "href":
                assert value.startswith("data:image/png") or value.removeprefix("#") in ids[0]
            if "url(" in value:
                assert value.partition("url(#")[2].partition(")")[0] in ids[0]
    assert first.tag == "svg" and first.attrib["viewBox"] and "width" not in first.attrib


def test_the_description_names_panels_axes_and_curves(figure):
    description = inline(figure, "one").description
    assert description == ("2 panels. growth; separation (L2) (logarithmic) against state k; <base & x_T>. u")
    root = ElementTree.fromstring(inline(figure, "one").svg)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] == description


def test_the_same_figure_gives_the_same_text():
    assert inline(drawn(), "one") == inline(drawn(), "one")


def test_a_large_figure_becomes_a_picture(figure, monkeypatch):
    monkeypatch.setattr(result_figure, "LARGEST_SVG", 1000)
    made = inline(figure, "one")
    assert not made.svg and made.width == 504
    assert pixels_of(made.url).shape[1] > 500
