"""Files of the repository as pages of the site, where some of them lie elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docs import import_graph

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/perturbed_noise.ipynb": "perturbed_noise.ipynb",
    "examples/own_model.ipynb": "own_model.ipynb",
}
"""The pages of files outside of docs/."""
MODEL_CARD = re.compile(r"src/denoscope/models/bundled/([\w-]+)/README\.md")
LABEL = re.compile(r"\[[\w/]+\.md\](?=\()")
TARGET = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def setup(app: Any) -> None:
    app.connect("source-read", _read_page)
    app.connect("include-read", _read_included)


def _read_page(app: Any, name: str, content: list[str]) -> None:
    """Correct the links of a page, and draw its diagram while the site is built: Mermaid would need the network."""
    path = Path(app.env.doc2path(name))
    if path.parent == ROOT / "docs" and path.suffix == ".md":
        content[0] = import_graph.BLOCK.sub(
            "```{generated} packages\n```\n", at_site(content[0], path.parent)
        )


def _read_included(app: Any, path: Path, _page: str, content: list[str]) -> None:
    content[0] = at_site(content[0], (Path(app.srcdir) / path).parent)


def at_site(text: str, folder: Path) -> str:
    """A text in Markdown with links that are right in docs/; those named by a file are named by the title of its page.

    Args:
        folder: the folder of the file, from which its links start.
    """
    moved = TARGET.sub(lambda found: f"]({_moved(found[1], folder)}{found[2] or ''})", text)
    return LABEL.sub("[]", moved)


def _moved(target: str, folder: Path) -> str:
    path = Path(os.path.normpath(folder / target)).relative_to(ROOT).as_posix()
    if card := MODEL_CARD.fullmatch(path):
        return f"#model-{card[1]}"
    return PAGES.get(path) or os.path.relpath(path, "docs")
