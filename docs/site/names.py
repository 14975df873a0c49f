"""Public names on the pages: shown as `ds.record`, and linked to the reference wherever they occur."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_addname, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from denoscope import dynamics

SUBPACKAGES = ("noise", "basins", "dynamics", "figures", "figures.plots", "figures.images", "figures.style")
PACKAGES = ("denoscope", *(f"denoscope.{name}" for name in SUBPACKAGES))
NAMED = ("function", "class", "exception", "data")
"""What is found by its last name; a method is named with its class."""
CODE = re.compile(r"ds((?:\.[a-zA-Z]\w*)+)")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", _shorten)
    app.connect("doctree-read", _link)
    app.connect("missing-reference", _find)


def _shorten(_app: Sphinx, tree: nodes.document) -> None:
    """Write ds.record in place of denoscope.record, and the class of a result without its module, which is not public."""
    for node in tree.findall(desc_addname):
        package = node.astext().rstrip(".")
        node.children = [nodes.Text(f"ds{package.removeprefix('denoscope')}." if package in PACKAGES else "")]


def _link(app: Sphinx, tree: nodes.document) -> None:
    """Link `ds.NAME`, and the name of a measure alone, to the reference."""
    for code in list(tree.findall(nodes.literal)):
        name = code.astext()
        found = CODE.fullmatch(f"ds.dynamics.{name}" if name in dynamics.__all__ else name)
        linked = isinstance(code.parent, (nodes.reference, pending_xref, nodes.title))
        if found and not linked and f"denoscope{found[1]}" not in PACKAGES:
            link = pending_xref("", code.deepcopy(), refdomain="py", reftype="func", refdoc=app.env.docname)
            link["reftarget"] = f"denoscope{found[1]}"
            code.replace_self(link)


def _find(app: Sphinx, env: BuildEnvironment, link: pending_xref, text: nodes.Element) -> Any:
    """The link to a name that is written without its package, or with the module that defines it."""
    if link["refdomain"] != "py" or link["reftype"] == "func":
        return None
    python = env.domains.python_domain
    last = link["reftarget"].rpartition(".")[2]
    found = [
        name
        for name, entry in python.objects.items()
        if name.rpartition(".")[2] == last and entry.objtype in NAMED and not entry.aliased
    ]
    if len(found) != 1:
        return None
    return python.resolve_xref(env, link["refdoc"], app.builder, "obj", found[0], link, text)
