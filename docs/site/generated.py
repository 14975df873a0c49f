"""The directive `{generated} NAME`: the part of a page that code writes."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs import import_graph
from docs.site import commands, diagram, gallery


def packages() -> str:
    """The picture of which packages import which."""
    graph = import_graph.reduced(import_graph.packages(import_graph.imports()))
    return diagram.svg(graph, "Packages of denoscope, each with arrows to those that it imports")


PAGES = {"commands": commands.page, "gallery": gallery.page, "packages": packages}


def setup(app: Sphinx) -> None:
    app.add_directive("generated", Generated)


class Generated(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # what it is written from is no file of the page
        return self.parse_text_to_nodes(PAGES[self.arguments[0]](), allow_section_headings=True)
