"""Which modules of denoscope import which, and the picture of its packages in docs/architecture.md.

`python docs/import_graph.py` draws the picture again, from the imports in the code.
"""

from __future__ import annotations

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "denoscope"
PAGE = Path(__file__).with_name("architecture.md")
BLOCK = re.compile(r"```mermaid\n.*?```\n", flags=re.S)
Graph = dict[str, set[str]]


def module_of(path: Path) -> str:
    """The name of a file below the package: "" for the package itself, "storage.plan" for storage/plan.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules() -> dict[str, Path]:
    """The file of every module."""
    return {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports() -> Graph:
    """The modules of the package that each module imports: at its top, in a function, or for types alone."""
    files = modules()
    return {module: _imports_of(path, files) - {module, ""} for module, path in files.items()}


@functools.cache
def import_statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """All import statements of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _imports_of(path: Path, files: dict[str, Path]) -> set[str]:
    found = set()
    for node in import_statements(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "denoscope":
            base = (node.module or "").removeprefix("denoscope").lstrip(".")
            inner = [f"{base}.{item.name}".lstrip(".") for item in node.names]
            found |= {name if name in files else base for name in inner}
        if isinstance(node, ast.Import):
            names = [item.name for item in node.names]
            found |= {name.removeprefix("denoscope.") for name in names if name.startswith("denoscope.")}
    return found


def packages(graph: Graph) -> Graph:
    """The entries of the package, each with the entries that it imports."""
    found: Graph = {}
    for module, others in graph.items():
        own = module.partition(".")[0]
        if own not in ("", "__main__"):
            found.setdefault(own, set()).update(other.partition(".")[0] for other in others)
    return {own: others - {own} for own, others in found.items()}


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that a longer path already implies."""
    below: Graph = {}
    for name in TopologicalSorter(graph).static_order():
        below[name] = set().union(*({other} | below[other] for other in graph[name]))
    return {name: others - set().union(*(below[other] for other in others)) for name, others in graph.items()}


def mermaid() -> str:
    """The packages as a Mermaid diagram: an arrow points from a package to one that it imports."""
    graph = reduced(packages(imports()))
    order = list(TopologicalSorter(graph).static_order())[::-1]
    lines = [f"    {name} --> {other}" for name in order for other in sorted(graph[name])]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: mermaid(), PAGE.read_text()))
