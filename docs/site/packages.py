"""The picture of which packages import which."""

from __future__ import annotations

from docs import import_graph
from docs.site import diagram


def picture() -> str:
    """The packages as SVG, each with arrows to those that it imports."""
    graph = import_graph.reduced(import_graph.packages(import_graph.imports()))
    return diagram.svg(graph, "Packages of denoscope, each with arrows to those that it imports")
