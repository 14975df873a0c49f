"""Sphinx's configuration of the documentation site: `make docs` writes it to docs/_build/html."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

project = html_title = "denoscope"
author = "The denoscope authors"
extensions = ["myst_nb", "sphinx.ext.autodoc"] + [
    f"docs.site.{name}" for name in ("docstrings", "generated", "links", "names")
]
exclude_patterns = ["_build", "site"]
smartquotes = False

html_theme = "furo"
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_favicon = "site/static/icon.svg"
html_search_scorer = str(DOCS / "site" / "scorer.js")

nitpicky = True
# Names in signatures and docstrings, most of which belong to other libraries: the site is built without network.
nitpick_ignore_regex = [("py:(class|obj|exc|data)", ".*")]
default_role = "py:obj"
autodoc_typehints_format = "short"
ALIASES = (
    "ArrayLike",
    "ClassifierSource",
    "ImageLike",
    "LabelOf",
    "NoiseKind",
    "NoiseLike",
    "Shape",
    "StateLike",
)
autodoc_type_aliases = {name: name for name in ALIASES}
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_merge_streams = True
# tqdm warns in notebooks without widgets, which would be loaded from another place.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
nb_ipywidgets_js: dict[str, Any] = {}

# Pages must lie in this folder; users look for examples in a folder of their own.
for notebook in (DOCS.parent / "examples").glob("*.ipynb"):
    shutil.copy2(notebook, DOCS)
