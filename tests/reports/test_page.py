"""The page of a report, read by other programs: a strict parser, a decoder of pictures, NumPy, and a browser."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from hypothesis import strategies as st
from random_examples import try_examples
from report_page import ReportPage, faults, text_of

import denoscope as ds
from denoscope.figures.reports import recorded_images


def test_a_reader_by_ear_or_keyboard_finds_everything_and_nothing_is_loaded(page):
    assert faults(page) == []
    assert page.titles == ["run.zarr", "pairs.zarr", "divergence.npz", "geometry.json", "commitment.npz"]


def test_every_number_of_a_file_of_json_is_on_the_page(page, stored):
    content = json.loads((stored / "geometry.json").read_text())
    shown = page.section("geometry.json")
    tables = shown.tables()
    compared = 0
    for part in ("path", "participation"):
        for name, values in content[part].items():
            if isinstance(values, list) and np.ndim(values) == 1 and values and isinstance(values[0], float):
                (table,) = [table for table in tables if name in table.headers]
                assert table.digits(name) == [[value] for value in values], name
                compared += 1
    assert compared >= 5
    intervals = next(table for table in tables if "intervals" in table.headers)
    assert intervals.digits("intervals") == content["participation"]["intervals"]
    step_lengths = np.array(content["path"]["step_lengths"])
    row = next(row for table in tables if table.caption.startswith("Larger") for row in table.rows
               if text_of(row[0]) == "step_lengths")  # fmt: skip
    ends = [float(cell.find("data").attrib["value"]) for cell in row[2:4]]
    assert ends == [step_lengths.min(), step_lengths.max()]
    for line in content["participation"]["warnings"]:
        assert f"participation: {line}" in shown.text


@pytest.fixture
def square(tiny, here):
    """A recording of as many samples as states, five, and the geometry of their trajectories."""
    ds.record(tiny, ds.noise.random(5, tiny.shape), here / "square.zarr", steps=4)
    call("dynamics geometry square.zarr --output square.json")
    return json.loads((here / "square.json").read_text())


def test_rows_are_named_by_samples_and_not_mixed_with_states(square):
    page = ReportPage.read(ds.report(["square.zarr", "square.json"], "page.html"))
    by_sample, by_state = (
        page.section("square.json").table("By sample"),
        page.section("square.json").table("By state"),
    )
    assert by_sample.column("sample") == [f"sample_{k:04d}" for k in range(5)]
    assert by_sample.digits("lengths") == [[value] for value in square["path"]["lengths"]]
    assert by_state.column("state") == list("01234") and "ratio" in by_state.headers
    assert "Kind of result: PathGeometry." in page.section("square.json").text


def test_a_file_without_names_of_samples_gets_those_of_its_recording(square, here):
    del square["samples"]
    (here / "square.json").write_text(json.dumps(square))
    alone = ReportPage.read(ds.report("square.json", "alone.html"))
    assert alone.table("By sample").column("sample") == list("01234")
    page = ReportPage.read(ds.report(["square.zarr", "square.json"], "page.html"))
    assert page.section("square.json").table("By sample").column("sample") == ds.open("square.zarr").samples
    square["computed_from"]["fingerprint"]["num_steps"] = 5
    (here / "square.json").write_text(json.dumps(square))
    other = ReportPage.read(ds.report(["square.zarr", "square.json"], "other.html"))
    assert other.section("square.json").table("By sample").column("sample") == list("01234")


def test_a_long_table_says_which_rows_it_has_and_where_all_are(here):
    result = ds.dynamics.covariance_spectrum(np.random.default_rng(0).normal(size=(70, 50)))
    (here / "long.json").write_text(result.to_json())
    table = ReportPage.read(ds.report("long.json", "long.html")).table("By eigenvector")
    assert table.caption == "By eigenvector: 24 of 50 rows, evenly spread; long.json has all"
    ranks = [int(rank) for rank in table.column("eigenvector")]
    assert (ranks[0], ranks[-1], len(ranks)) == (1, 50, 24) and set(np.diff(ranks)) <= {2, 3}
    assert table.digits("eigenvalues") == [[result.eigenvalues[rank - 1]] for rank in ranks]


def test_every_series_of_an_npz_file_is_on_the_page(page, stored):
    file = np.load(stored / "divergence.npz")
    tables = page.section("divergence.npz").tables()
    for name in ("growth_rate", "diverged_at", "survival", "survival_interval"):
        (table,) = [table for table in tables if name in table.headers]
        np.testing.assert_array_equal(np.squeeze(table.digits(name)), file[name])
    by_sample = next(table for table in tables if table.caption.startswith("By sample"))
    assert by_sample.column("sample") == file["sample"].tolist()
    assert not [table for table in tables if table.caption.startswith("By step")], "only coordinates"
    assert "step_sigma" in next(table for table in tables if table.caption.startswith("Larger")).column(
        "array"
    )


def test_shown_numbers_are_those_of_all_digits_rounded(page):
    numbers = [number for number in page.all("data") if text_of(number) != "NaN"]
    assert len(numbers) > 100
    for number in numbers:
        shown, exact = float(text_of(number).replace(",", "")), float(number.attrib["value"])
        assert math.isclose(shown, exact, rel_tol=5.1e-4)


def test_a_result_names_its_file_its_recording_and_its_fingerprint(page, stored):
    rec = ds.open(stored / "pairs.zarr")
    fingerprint = hashlib.sha256(json.dumps(rec.attrs["fingerprint"], sort_keys=True).encode()).hexdigest()
    shown = page.section("divergence.npz")
    digest = hashlib.sha256((stored / "divergence.npz").read_bytes()).hexdigest()
    assert shown.facts()["File, SHA-256"] == digest
    assert f"Fingerprint: {fingerprint}" in shown.text and fingerprint in page.section("pairs.zarr").text
    links = {text_of(link): link.attrib["href"] for link in shown.all("a")}
    assert links["pairs.zarr"] == f"#{page.section('pairs.zarr').root.attrib['aria-labelledby']}"


def test_the_provenance_of_a_recording_is_that_of_its_attributes(page, stored):
    attrs, facts = ds.open(stored / "run.zarr").attrs, page.section("run.zarr").facts()
    assert facts["Model"] == attrs["model"] and facts["Recorded"] == attrs["created"]
    assert facts["Weights, SHA-256"] == attrs["fingerprint"]["weights_sha256"]
    assert facts["Inputs, SHA-256"] == attrs["inputs_sha256"]
    for name, version in attrs["versions"].items():
        assert f"{name} {version}" in facts["Versions"]
    options = page.section("run.zarr").table("All options")
    listed = dict(zip(options.column("option"), options.column("value"), strict=True))
    assert listed["num_steps"] == "4" and listed["layers"] == "conv_in, mid_block"
    assert set(listed) == set(attrs["config"])


def test_the_pictures_hold_the_images_of_the_recording(page, stored):
    """8 × 8 pixels are stored without loss: with a gap of one pixel, tile (r, c) begins at (1 + 9 r, 1 + 9 c)."""
    rec = ds.open(stored / "run.zarr")
    sheet, sequences = page.section("run.zarr").pictures()
    for k in range(11):
        row, column = divmod(k, 8)
        tile = sheet[1 + 9 * row : 9 + 9 * row, 1 + 9 * column : 9 + 9 * column]
        np.testing.assert_array_equal(tile, shades(rec.final[k, 0].to_numpy()))
    assert sequences.shape == (4 * 9 + 1, 5 * 9 + 1, 3)
    tile = sequences[1 + 9 * 2 : 9 + 9 * 2, 1 + 9 * 1 : 9 + 9 * 1]
    np.testing.assert_array_equal(tile, shades(rec.sequence[2, 1, 0].to_numpy()))


def shades(image):
    image = image.astype(float)
    grey = np.round((image / max(1.0, np.abs(image).max()) + 1) * 127.5)
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


def test_the_counts_of_classes_are_those_of_the_classifier(page, stored):
    labels = ds.classify(ds.open(stored / "run.zarr").final).label
    table = page.section("run.zarr").table("Classes of 11 of 11 samples")
    found = dict(zip(table.column("class"), table.column("samples"), strict=True))
    assert found == {str(label): str((labels == label).sum()) for label in np.unique(labels)}
    assert f"Classes in this order: {' '.join(map(str, labels))}" in page.section("run.zarr").text
    assert "Classes" not in page.section("pairs.zarr").text, "no classifier takes these images"


def test_predictions_beside_a_recording_are_its_classes(digits, here, monkeypatch):
    """Also of samples that are not shown."""
    monkeypatch.setattr(recorded_images, "MOST_IMAGES", 1)
    rec = ds.record(digits, ds.noise.random(3, digits.shape), here / "own", steps=1)
    (here / "own/predictions.json").write_text(
        json.dumps({name: {"label": 7, "confidence": 0.5} for name in rec.samples[:2]})
    )
    table = ReportPage.read(ds.report("own", "own.html")).table(
        "Classes of 2 of 3 samples, by predictions.json"
    )
    assert table.column("class") == ["7"] and table.column("samples") == ["2"]


def test_recordings_and_results_in_memory(tiny, here):
    rec = ds.record(tiny, ds.noise.perturbed(2, tiny.shape, epsilon=0.5), steps=2, layers="conv_in")
    distances, dimension = ds.dynamics.divergence(rec), ds.dynamics.kaplan_yorke([0.5, -1.0])
    sources = {"pairs": rec, "divergence": distances, "dimension": dimension}
    page = ReportPage.read(ds.report(sources, here / "memory.html"))
    assert faults(page) == [] and page.notices() == [] and page.titles == list(sources)
    numbers = {text_of(row[0]): row[1] for row in page.section("dimension").table("Numbers").rows}
    (value,) = numbers["value"].iter("data")
    assert float(value.attrib["value"]) == float(dimension) == 1.5
    assert "Computed from the recording pairs on this page" in page.section("divergence").text
    untitled = ReportPage.read(ds.report([rec, dimension], here / "untitled.html"))
    assert untitled.titles == ["the recording in memory", type(dimension).__name__]


@pytest.mark.usefixtures("s3", "here")
def test_a_recording_in_a_bucket(tiny):
    url = "s3://bucket/run.zarr"
    rec = ds.record(tiny, ds.noise.random(2, tiny.shape), url, steps=1)
    page = ReportPage.read(ds.report(url, "page.html"))
    assert faults(page) == [] and page.titles == [url] and len(page.pictures()) == 2
    assert page.facts()["Inputs, SHA-256"] == rec.attrs["inputs_sha256"]


@pytest.mark.usefixtures("here")
def test_a_thousand_samples_fit_into_three_megabytes():
    """Of noise in three colours, which no format compresses."""
    rec = ds.record(denoiser_of_noise(3, 32), ds.noise.random(1000, (3, 32, 32)), steps=1, layers="zero")
    path = ds.report(rec, "large.html")
    sheet = ReportPage.read(path).pictures()[0]
    assert sheet.shape == (50 * 33 + 1, 20 * 33 + 1, 3) and path.stat().st_size < 3_000_000


@pytest.mark.usefixtures("here")
def test_of_more_samples_the_first_are_shown(monkeypatch):
    monkeypatch.setattr(recorded_images, "MOST_IMAGES", 5)
    rec = ds.record(denoiser_of_noise(1, 8), ds.noise.random(9, (1, 8, 8)), steps=1, layers="zero")
    page = ReportPage.read(ds.report(rec, "part.html"))
    (notice,) = page.notices()
    assert "first 5 of 9 finished samples" in notice
    assert page.pictures()[0].shape == (10, 46, 3)


def denoiser_of_noise(channels: int, side: int) -> ds.Denoiser:
    """A denoiser that leaves noise as it is, up to a factor."""

    class Nothing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.zero = torch.nn.Tanhshrink()

        def forward(self, x, timestep):  # noqa: ARG002
            return self.zero(0 * x)

    return ds.load(Nothing(), scheduler="ddim", shape=(channels, side, side), device="cpu", clip_sample=False)


FIXTURES = Path(__file__).parents[1] / "fixtures/b8ac056"
STORED = sorted([*FIXTURES.glob("measures/*/*.npz"), *FIXTURES.glob("numbers/*")])
"""Files of measures of an earlier version: finished ones, and unfinished ones."""


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_kind_of_file_has_a_page(path, here):
    page = ReportPage.read(ds.report(path, here / "page.html"))
    assert faults(page) == [] and page.titles[-1] == path.name and page.all("data")
    assert page.all("svg") or "No figure: " in page.text
    unfinished = [notice for notice in page.notices() if "are computed" in notice]
    if path.stem != "half":
        assert not unfinished
    elif path.parent.name.partition("_")[0] in ("basins", "commitment", "patch", "plane", "u"):
        assert unfinished


def test_of_many_results_the_first_panels_are_shown_and_the_others_named(here):
    rng = np.random.default_rng(0)
    content = {
        f"pair_{k:02d}": ds.dynamics.cka_matrix(rng.normal(size=(2, 9, 3))).to_dict() for k in range(15)
    }
    (here / "many.json").write_text(json.dumps(content))
    page = ReportPage.read(ds.report("many.json", "many.html"))
    (figure,) = page.all("svg")
    assert "pair_11" in text_of(figure) and "pair_12" not in text_of(figure)
    assert (
        "Not drawn: only the first 12 panels are drawn, and 3 panels left out: pair_12, pair_13" in page.text
    )


def test_a_figure_names_the_results_of_a_file_that_are_not_drawn(here):
    page = ReportPage.read(ds.report(FIXTURES / "numbers/geometry.json", here / "page.html"))
    assert page.all("svg") and "Not drawn: participation was written by another version" in page.text


TEXTS = st.text(max_size=20) | st.sampled_from(
    ["</style><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"><svg/onload=alert(1)>", "{{ 7 * 7 }}", "$x^", "\x00\x1b[2J", "\u202eabc"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.lists(st.floats(), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def test_whatever_a_file_holds_the_page_is_well_formed_and_safe(here):
    def check(content):
        (here / "random.json").write_text(json.dumps({"computed_from": content, **content}))
        page = ReportPage.read(ds.report("random.json", "random.html", overwrite=True))
        assert faults(page) == [] and page.titles == ["random.json"]

    try_examples(st.dictionaries(TEXTS, VALUES, max_size=5), 40, check)


def test_texts_of_files_are_shown_as_texts(here):
    evil = "</style></title><script>alert(1)</script>"
    content = {
        "computed_from": {"recording": evil, evil: evil},
        "warnings": [evil],
        "value": 0.5,
        "interval": [0.25, 1],
    }
    (here / "evil.json").write_text(json.dumps(content))
    page = ReportPage.read(ds.report("evil.json", "evil.html"))
    assert faults(page) == [] and page.text.count(evil) >= 4
    assert text_of(page.table("Numbers").rows[0][1]) == "0.5 [0.25, 1]"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_on_a_phone_in_both_schemes(written, browser, scheme):
    opened = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    troubles = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("console", lambda message: troubles.append(message.text))
    opened.on(
        "request", lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url)
    )
    opened.goto(written.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    assert opened.evaluate(LEAST_CONTRAST) >= 4.5
    assert opened.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)")
    tree = opened.locator("body").aria_snapshot()
    for landmark in ("banner", 'navigation "Contents"', "main", "contentinfo", 'region "run.zarr"'):
        assert f"- {landmark}" in tree, landmark
    opened.emulate_media(media="print")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate(
        "[...document.querySelectorAll('details table')].every((table) => table.checkVisibility())"
    )
    assert opened.pdf(format="A4").startswith(b"%PDF")
    opened.close()
    assert not troubles


LEAST_CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : color;
  };
  const texts = [...document.querySelectorAll("body *")].filter((element) => !element.closest("svg") &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return Math.min(...texts.map((element) => {
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
    return (other + 0.05) / (one + 0.05);
  }));
}"""
"""The least contrast of a text with what is behind it, as WCAG 2 defines it."""
