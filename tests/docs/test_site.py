"""The documentation site names everything public, builds without a warning, and answers what a newcomer asks."""

import ast
import html
import importlib
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import denoscope as ds
from denoscope.cli import registry
from docs import import_graph
from docs.site import commands, diagram, docstrings, gallery, links, packages
from docs.site.links import ROOT

DOCS = ROOT / "docs"
DIRECTIVE = re.compile(r"^\.\. auto(?:function|class|exception|data):: (\S+)$", flags=re.M)
SAME = {
    "denoscope.basins.PointLabels": "denoscope.dynamics.PointLabels",
    "denoscope.NoiseSet": "denoscope.noise.NoiseSet",
    "denoscope.noise.Shape": "denoscope.noise.noise_set.Shape",
}
"""Public names that are documented under another name."""
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def public_names() -> set[str]:
    """Every public function, class and type, as `denoscope.dynamics.orbit`."""
    places = [
        "",
        ".noise",
        ".basins",
        ".dynamics",
        ".figures",
        ".figures.plots",
        ".figures.images",
        ".figures.style",
    ]
    modules = [importlib.import_module(f"denoscope{place}") for place in places]
    names = {f"{module.__name__}.{name}" for module in modules for name in dir(module) if name[0] != "_"}
    return {name for name in names if not inspect.ismodule(named(name))}


def named(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def docstring_of(name: str) -> str | None:
    """The docstring of a function or class, or the text below the value of a name in its module."""
    if inspect.isroutine(named(name)) or inspect.isclass(named(name)):
        return inspect.getdoc(named(name))
    module, _, last = name.rpartition(".")
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for node, below in itertools.pairwise(body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == last for target in targets):
            return ast.literal_eval(below.value) if isinstance(below, ast.Expr) else None
    return None


def documented_names() -> list[str]:
    return [
        name for page in sorted(DOCS.glob("reference/*.md")) for name in DIRECTIVE.findall(page.read_text())
    ]


def test_every_public_name_is_documented_once():
    found = documented_names()
    assert len(found) == len(set(found))
    assert {SAME.get(name, name) for name in public_names()} <= set(found)
    for name in found:
        assert docstring_of(name), name


def test_the_table_of_contents_names_every_page():
    written = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    notebooks = {path.stem for path in NOTEBOOKS}
    toctrees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.S)
    listed = [line for tree in toctrees for line in tree.splitlines() if line and line[0] != ":"]
    assert sorted(listed) == sorted(written - {"index"} | notebooks)


def test_every_command_and_flag_is_listed():
    sections = dict(re.findall(r"^## denoscope (.+?)\n(.*?)(?=^## |\Z)", commands.page(), flags=re.M | re.S))
    assert list(sections) == list(registry.VERBS)
    for name, section in sections.items():
        listed = set(re.findall(r"^`(?:--|\[)?(\w+)", section, flags=re.M)) | {"verbose", "quiet"}
        verb = registry.verb(name)
        own = [item.name for item in verb.own_flags.__dataclass_fields__.values()] if verb.own_flags else []
        flags = {*(flag for _, _, flag in verb.fields()), *own}
        assert {flag.lower() for flag in flags} <= {flag.lower() for flag in listed}, name
        assert verb.help in section


def test_every_picture_stands_in_the_gallery_with_the_command_that_makes_it():
    sections = re.findall(
        r"^## (.+)\n\n!\[.+\]\(/images/(.+)\)\n\n.+\n\n```bash\n((?:.+\n)+?)```\n", gallery.page(), flags=re.M
    )
    pictures = sorted(path.name for path in gallery.IMAGES.iterdir())
    assert [picture for _, picture, _ in sections] == pictures
    assert {*gallery.COMMANDS, *gallery.TITLES} == set(pictures)
    titles = {title for title, *_ in sections}
    assert len(titles) == len(pictures) and not [title for title in titles if re.search(r"[._]", title)]
    for _, picture, command in sections:
        lines = command.splitlines()
        assert max(map(len, lines)) <= gallery.WIDTH
        words = shlex.split(command.replace("\\\n", " "))
        assert words == shlex.split(
            gallery.COMMANDS.get(picture, f"python examples/figures.py {Path(picture).stem}")
        )


def test_a_diagram_has_each_arrow_pointing_down_around_the_boxes():
    graph = {"a": {"b", "c", "e"}, "b": {"d"}, "c": {"d"}, "d": {"e"}, "e": set()}
    drawn = diagram.layout(graph)
    names = [{entry for entry in row if isinstance(entry, str)} for row in drawn.rows]
    assert names == [{"a"}, {"b", "c"}, {"d"}, {"e"}]
    assert sorted((arrow[0], arrow[-1]) for arrow in drawn.arrows) == [
        (name, other) for name in graph for other in sorted(graph[name])
    ]
    for arrow in drawn.arrows:
        rows = [next(row for row, entries in enumerate(drawn.rows) if entry in entries) for entry in arrow]
        assert rows == list(range(rows[0], rows[-1] + 1))
    assert drawn.rows[1].index(("a", "e", 1)) != 1, "the long arrow passes beside both boxes"


def test_the_diagram_of_the_packages_shows_each_of_them():
    graph = import_graph.reduced(import_graph.packages(import_graph.imports()))
    picture = ElementTree.fromstring(packages.picture())
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    paths = list(picture.iter("{http://www.w3.org/2000/svg}path"))
    assert sorted(texts) == sorted(graph) and len(paths) == sum(map(len, graph.values()))


def test_links_lead_to_pages_of_the_site():
    for text, moved in (
        ("[a](docs/guide.md#limits)", "[a](guide.md#limits)"),
        ("![a](docs/images/explorer.png)", "![a](images/explorer.png)"),
        (
            "[a](CHANGELOG.md) [b](https://example.org) [c](#d)",
            "[a](changelog.md) [b](https://example.org) [c](#d)",
        ),
        ("[a](src/denoscope/models/bundled/lenet/README.md)", "[a](#model-lenet)"),
        ("[a](LICENSE)", "[a](../LICENSE)"),
        ("[docs/guide.md](docs/guide.md)", "[](guide.md)"),
    ):
        assert links.at_site(text, ROOT) == moved
    assert links.at_site("[a](../README.md#the-scripts)", DOCS) == "[a](index.md#the-scripts)"


def test_sections_of_docstrings_become_fields():
    docstring = [
        "The entropy −Σ p ln|p| of A@B with `.sample`, of `x`. See `y`.", "", "Caveats: few labels, see docs/basins.md,", "are biased.", "", "Args:",
        "    x, y: the labels:", "        of images.", "", "        - -1 is none", "Raises: UserError if none", "    is given.",
    ]  # fmt: skip
    assert docstrings.as_rst(docstring) == [
        r"The entropy −Σ p ln\|p\| of A\@B with ``.sample``, of `x`. See `y`.", "", "", ":Caveats: few labels, see :doc:`/basins`,", "    are biased.", "", "", ":Args:",
        "    * **x**, **y**: the labels:", "      of images.", "", "      - -1 is none", "", ":Raises: UserError if none", "    is given.",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site, with both notebooks executed from top to bottom; a warning is an error."""
    pytest.importorskip("myst_nb", reason="make docs installs what builds the site")
    folder = tmp_path_factory.mktemp("site")
    program = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "trees",
        DOCS,
        folder / "html",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    source = str(Path(ds.__file__).parents[1])
    done = subprocess.run(
        program, env=environment | {"PYTHONPATH": source}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


@pytest.mark.slow
def test_the_search_index_has_every_public_name(site):
    text = (site / "searchindex.js").read_text()
    objects = json.loads(text.removeprefix("Search.setIndex(").rstrip(" ;\n").removesuffix(")"))["objects"]
    found = {f"{package}.{entry[4]}" for package, entries in objects.items() for entry in entries}
    assert {SAME.get(name, name) for name in public_names()} <= found


@pytest.mark.slow
def test_no_page_loads_anything_from_another_place(site):
    loaded = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//""")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40 and not [page.name for page in pages if loaded.search(page.read_text())]
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert styles and not any(re.search(r"@import|url\(.?https?:", style) for style in styles)


def types_of_denoscope() -> set[str]:
    """The names of all its classes and type aliases."""
    found = set()
    for path in import_graph.modules().values():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in found if re.fullmatch(r"(?:[A-Z]+[a-z]+)+[A-Z]*", name)}


@pytest.mark.slow
def test_every_type_of_denoscope_in_a_signature_is_a_link(site):
    known, unlinked = types_of_denoscope() - {"Axes"}, set()  # matplotlib's, which figures draw on
    assert {"NoiseLike", "Geometry", "DrivenMap"} <= known
    for page in site.glob("reference/*.html"):
        for signature in re.findall(r'<dt class="sig sig-object py".*?</dt>', page.read_text(), flags=re.S):
            types = re.sub(r"<a .*?</a>|<span class=\"sig-name.*?</span>", "", signature, flags=re.S)
            unlinked |= known & set(re.findall(r'<span class="pre">(\w+)</span>', types))
    assert not unlinked


@pytest.mark.slow
def test_every_picture_says_what_it_shows(site):
    for page in site.rglob("*.html"):
        for image in re.findall(r"<img\b[^>]*>", page.read_text()):
            text = re.search(r'alt="([^"]*)"', image)
            # Thumbnails in the table of a recording, whose rows say the same, have an empty one.
            assert text or "data:image" in image, f"{page.name}: {image[:200]}"
            assert not text or not re.search(r"\.(png|gif|svg)$", text[1]), f"{page.name}: {text[1]}"


def text_of(page: Path) -> str:
    """The text of a page, with what its notebook prints."""
    return html.unescape(re.sub("<[^>]+>", "", page.read_text()))


@pytest.mark.slow
def test_pairs_along_singular_directions_grow_by_their_exponents(site):
    text = text_of(site / "perturbed_noise.html")
    exponents, grown = re.search(r"^exponents +\[(.+)\]\npairs grow +\[(.+)\]$", text, flags=re.M).groups()
    np.testing.assert_allclose(np.fromstring(grown, sep=" "), np.fromstring(exponents, sep=" "), atol=0.02)


@pytest.mark.slow
def test_a_network_of_ones_own_has_the_bits_of_a_loop_of_diffusers(site):
    text = text_of(site / "own_model.html")
    assert re.search(r"^torch\.equal\(.+\n+True$", text, flags=re.M)
    assert "<Layer blocks.2: Sequential, [128] float32>" in text


@pytest.mark.slow
def test_a_newcomer_finds_the_page_by_a_word_or_a_question(site):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is missing; `make browser` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for asked, answer in (
            ("decided", "decided.html"),
            ("which function tells when the image is decided?", "decided.html"),
            ("own model", "own_model.html"),
            ("how do I record my own model?", "own_model.html"),
            ("what is stored and how do I open it in plain xarray?", "stored_format.html"),
            ("how do I map a plane, and how sure is each cell?", "maps.html"),
            ("how do I use several GPUs / SLURM?", "scaling.html"),
            ("map a plane", "maps.html"),
            ("stable diffusion", "pipelines.html"),
            ("activation patching", "interventions.html#activation-patching"),
            ("ds.dynamics.commitment", "reference/decisions.html#denoscope.dynamics.commitment"),
        ):
            page.goto((site / "search.html").as_uri())
            page.fill("form input[name=q] >> nth=0", asked)
            page.keyboard.press("Enter")
            page.wait_for_selector("#search-results .search-summary:has-text('found')")
            first = page.locator("#search-results ul.search > li > a").first
            assert first.get_attribute("href").partition("?")[0] == answer, asked
        browser.close()
