"""A report, read by a strict parser of XML, and what is in it."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True)
class Table:
    """A table by its caption: its headers, and the cells of each row, of which the first names it."""

    caption: str
    headers: list[str]
    rows: list[list[ElementTree.Element]]

    def column(self, name: str) -> list[str]:
        """The texts of a column."""
        return [text_of(row[self.headers.index(name)]) for row in self.rows]

    def digits(self, name: str) -> list[list[float]]:
        """All digits of the numbers in each cell of a column."""
        at = self.headers.index(name)
        return [[float(found.attrib["value"]) for found in row[at].iter("data")] for row in self.rows]


@dataclass(frozen=True)
class ReportPage:
    """A page of a report."""

    root: ElementTree.Element

    @classmethod
    def read(cls, path: str | Path) -> ReportPage:
        return cls(ElementTree.fromstring(Path(path).read_text().removeprefix("<!DOCTYPE html>\n")))

    def all(self, *names: str) -> list[ElementTree.Element]:
        """The elements of these names in the order of the page."""
        return [element for element in self.root.iter() if element.tag in names]

    def section(self, title: str) -> ReportPage:
        """The section with this title, by the heading that names it."""
        for section in self.all("section"):
            named = section.attrib["aria-labelledby"]
            heading = next(each for each in section.iter() if each.attrib.get("id") == named)
            if text_of(heading) == title:
                return ReportPage(section)
        raise AssertionError(f"no section {title!r}")

    @property
    def titles(self) -> list[str]:
        return [text_of(heading) for heading in self.all("h2")]

    @property
    def text(self) -> str:
        return text_of(self.root)

    def tables(self) -> list[Table]:
        return [
            Table(
                text_of(table.find("caption")),
                [text_of(header) for header in table.iterfind("thead/tr/th")],
                [list(row) for row in table.iterfind("tbody/tr")],
            )
            for table in self.all("table")
        ]

    def table(self, start: str) -> Table:
        """The only table whose caption starts so."""
        (found,) = [table for table in self.tables() if table.caption.startswith(start)]
        return found

    def facts(self) -> dict[str, str]:
        """The texts of all tables without headers, by the name of the row."""
        rows = [row for table in self.tables() if not table.headers for row in table.rows]
        return {text_of(name): text_of(text) for name, text in rows}

    def pictures(self) -> list[np.ndarray]:
        """The pixels of all pictures."""
        return [pixels_of(picture.attrib["src"]) for picture in self.all("img")]

    def notices(self) -> list[str]:
        """The lines at the top."""
        if "Read this first" not in self.titles:
            return []
        return [text_of(line) for line in self.section("Read this first").all("li")]


def text_of(element: ElementTree.Element | None) -> str:
    """The text in an element, with single spaces."""
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def pixels_of(url: str) -> np.ndarray:
    kind, _, data = url.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def faults(page: ReportPage) -> list[str]:
    """What a reader by ear, by keyboard or without a network would stumble over."""
    return [*_of_ids(page), *_of_headings(page), *_of_names(page), *_of_tables(page), *_of_safety(page)]


def _of_ids(page: ReportPage) -> Iterator[str]:
    ids = [element.attrib["id"] for element in page.root.iter() if "id" in element.attrib]
    yield from {f"id {one} twice" for one in ids if ids.count(one) > 1}
    for element in page.root.iter():
        for name in ("aria-labelledby", "aria-describedby"):
            if element.attrib.get(name, ids[0]) not in ids:
                yield f"{name} leads nowhere"
        target = element.attrib.get("href", f"#{ids[0]}")
        is_pixels = element.tag == "image" and target.startswith("data:image/png;")
        if not is_pixels and target.removeprefix("#") not in ids:
            yield f"link to {target}"


def _of_headings(page: ReportPage) -> Iterator[str]:
    levels = [HEADINGS.index(heading.tag) for heading in page.all(*HEADINGS)]
    if levels[0] != 0 or levels.count(0) != 1:
        yield "no single first heading"
    yield from (
        f"heading {after} after {before}"
        for before, after in itertools.pairwise(levels)
        if after > before + 1
    )
    yield from ("empty heading" for heading in page.all(*HEADINGS) if not text_of(heading))


def _of_names(page: ReportPage) -> Iterator[str]:
    if page.root.attrib.get("lang") != "en" or not text_of(page.root.find("head/title")):
        yield "no language or title"
    yield from (
        f"{landmark} missing"
        for landmark in ("header", "nav", "main", "footer")
        if len(page.all(landmark)) != 1
    )
    yield from (
        "picture without a text" for picture in page.all("img") if not picture.attrib.get("alt", "").strip()
    )
    for drawing in page.all("svg"):
        if drawing.attrib.get("role") != "img" or not drawing.attrib.get("aria-label", "").strip():
            yield "drawing without a text"
    for element in page.root.iter():
        if "tabindex" in element.attrib and not element.attrib.get("aria-label", "").strip():
            yield "stop of the keyboard without a name"


def _of_tables(page: ReportPage) -> Iterator[str]:
    for table in page.all("table"):
        if not text_of(table.find("caption")):
            yield "table without a caption"
        if any(header.attrib.get("scope") not in ("row", "col") for header in table.iter("th")):
            yield "header without a scope"
        widths = {len(row) for row in table.iter("tr")}
        if len(widths) != 1 or any(row[0].tag != "th" for row in table.iter("tr")):
            yield f"table of uneven rows, or rows without headers: {text_of(table.find('caption'))}"


def _of_safety(page: ReportPage) -> Iterator[str]:
    forbidden = {"script", "iframe", "object", "embed", "form", "link", "base", "foreignObject", "animate"}
    for element in page.root.iter():
        if element.tag in forbidden:
            yield f"element {element.tag}"
        for name, value in element.attrib.items():
            outside = re.search(r"(?i)\b(https?|ftp|file|javascript):|^//", value)
            in_text = name in ("aria-label", "alt", "value", "content")
            if (
                name.startswith("on")
                or (outside and not in_text)
                or (name == "src" and not value.startswith("data:"))
            ):
                yield f"{name}={value[:80]}"
    policies = [meta.attrib["content"] for meta in page.all("meta") if "http-equiv" in meta.attrib]
    if len(policies) != 1 or "default-src 'none'" not in policies[0] or "script-src" in policies[0]:
        yield f"policy {policies}"
    for style in page.all("style"):
        yield from (
            f"style loads {found}" for found in re.findall(r"(?i)url\(|@import|https?:", style.text or "")
        )
