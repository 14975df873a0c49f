"""The directive `{generated} NAME`: the part of a page that code writes."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.site import commands, gallery, packages

PAGES = {"commands": commands.page, "gallery": gallery.page, "packages": packages.picture}


def setup(app: Sphinx) -> None:
    app.add_directive("generated", Generated)


class Generated(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # what it is written from is no file of the page
        return self.parse_text_to_nodes(PAGES[self.arguments[0]](), allow_section_headings=True)
