"""Imports point down the table of docs/architecture.md, and what is light stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "denoscope"
# Programs that train the bundled models stand beside what they made and use everything.
PROGRAMS = {
    "zoo.train", "zoo.train_unet", "zoo.train_lenet", "zoo.fit_likeness", "zoo.quality", "zoo.card", "zoo.mnist_data",
}  # fmt: skip
FRONTS = {"", "__main__"}
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py") if path.name != "config.py")


def module_of(path: Path) -> str:
    """The name below the package: "" for the package itself, "storage.plan" for a part of a part."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def table() -> dict[str, int]:
    """The rank of each module in the table, 0 at the top; a row such as `storage/` stands for its parts."""
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "architecture.md").read_text(), flags=re.M)
    return {name.rstrip("/"): rank for rank, row in enumerate(rows) for name in re.findall(r"`(.*?)`", row)}


RANK = table()


def rank(module: str) -> int | None:
    return RANK.get(module, RANK.get(module.partition(".")[0]))


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports when it runs, wherever the import stands."""
    tree = ast.parse(MODULES[module].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "denoscope":
            base = node.module.removeprefix("denoscope").lstrip(".")
            for item in node.names:
                inner = f"{base}.{item.name}".lstrip(".")
                found.add(inner if inner in MODULES else base)
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} imports relatively"
        if isinstance(node, ast.Import):
            found |= {
                item.name.removeprefix("denoscope.")
                for item in node.names
                if item.name.startswith("denoscope.")
            }
    return found - {module, ""}


def test_every_module_has_its_place_in_the_table():
    placeless = [module for module in MODULES if module not in FRONTS and rank(module) is None]
    gone = [name for name in RANK if name not in MODULES]
    assert not placeless and not gone, f"mend the table of docs/architecture.md: {placeless=}, {gone=}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - PROGRAMS - FRONTS))
def test_imports_point_down(module):
    own = rank(module)
    ranks = {other: rank(other) for other in imports(module)}
    upward = [other for other, at in ranks.items() if own is not None and at is not None and at < own]
    assert not upward, f"{module} imports {upward}, which stand above it in docs/architecture.md"
    assert not imports(module) & PROGRAMS


def test_no_module_imports_itself_by_a_detour():
    graph = {module: imports(module) for module in MODULES if module not in FRONTS}
    while leaves := [module for module, below in graph.items() if not below & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, f"among these is a circle: {sorted(graph)}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_root_script_is_docstring_import_and_call(name):
    tree = ast.parse((ROOT / name).read_text())
    assert ast.get_docstring(tree)
    kinds = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.If)
    assert all(isinstance(node, kinds) for node in tree.body)
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For) for node in ast.walk(tree))
    assert len(tree.body) <= 6


def loaded(code: str) -> set[str]:
    """The top-level modules that are imported after `code` ran in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('loaded:', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.rpartition("loaded:")[2].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import denoscope",
        "from denoscope.cli import main; main(['--help'])",
        "from denoscope.cli import main\ntry: main(['record', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    assert not loaded(code) & {"torch", "diffusers", "matplotlib", "numpy", "zarr", "xarray"}


def test_every_public_name_is_there():
    import denoscope as ds

    for name in ds.__all__:
        assert getattr(ds, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        ds.nothing_such  # noqa: B018


def test_the_extraction_system_exports_loading_denoising_and_recording():
    import runpy

    exported = runpy.run_path(str(ROOT / "extraction_system.py"))
    assert {"load", "Denoiser", "denoise", "sample", "record", "Recording"} <= set(exported["__all__"])
    assert all(name in exported for name in exported["__all__"])
